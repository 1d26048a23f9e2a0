#pragma once

#include "exercise.hpp"

namespace exercise {

/// `stride - 1` zeros between neighbouring pixels, none around.
inline Grid insert_zeros(const Grid& image, int stride) {
  Grid result = zeros((height(image) - 1) * stride + 1, (width(image) - 1) * stride + 1);
  // GAP
  return result;
}

/// Turned by 180 degrees: the last element comes first, along both axes.
inline Grid turned(const Grid& kernel) {
  Grid result = kernel;
  // GAP
  return result;
}

}  // namespace exercise
