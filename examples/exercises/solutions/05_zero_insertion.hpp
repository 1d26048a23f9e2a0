#pragma once

#include "exercise.hpp"

namespace exercise {

/// `stride - 1` zeros between neighbouring pixels, none around.
inline Grid insert_zeros(const Grid& image, int stride) {
  Grid result = zeros((height(image) - 1) * stride + 1, (width(image) - 1) * stride + 1);
  for (int h = 0; h < height(image); ++h)
    for (int v = 0; v < width(image); ++v) at(result, h * stride, v * stride) = at(image, h, v);
  return result;
}

/// Turned by 180 degrees: the last element comes first, along both axes.
inline Grid turned(const Grid& kernel) {
  Grid result = kernel;
  for (int u = 0; u < height(kernel); ++u)
    for (int v = 0; v < width(kernel); ++v) at(result, height(kernel) - 1 - u, width(kernel) - 1 - v) = at(kernel, u, v);
  return result;
}

}  // namespace exercise
