#pragma once

#include "exercise.hpp"

namespace exercise {

inline Grid nearest(const Grid& x) {
  Grid y = zeros(2 * height(x), 2 * width(x));
  for (int h = 0; h < height(y); ++h)
    for (int v = 0; v < width(y); ++v) at(y, h, v) = at(x, h / 2, v / 2);
  return y;
}

/// The gradient of x, where dy is that of nearest(x).
inline Grid nearest_backward(const Grid& dy) {
  Grid dx = zeros(height(dy) / 2, width(dy) / 2);
  for (int h = 0; h < height(dy); ++h)
    for (int v = 0; v < width(dy); ++v) at(dx, h / 2, v / 2) += at(dy, h, v);
  return dx;
}

inline Grid bed_of_nails(const Grid& x) {
  Grid y = zeros(2 * height(x), 2 * width(x));
  for (int h = 0; h < height(x); ++h)
    for (int v = 0; v < width(x); ++v) at(y, 2 * h, 2 * v) = at(x, h, v);
  return y;
}

/// Pixel (h, v) goes to position indices(h, v) of the result, which counts row by row.
inline Grid max_unpool(const Grid& x, const Grid& indices) {
  Grid y = zeros(2 * height(x), 2 * width(indices));
  for (int h = 0; h < height(x); ++h)
    for (int v = 0; v < width(x); ++v) {
      const int position = static_cast<int>(at(indices, h, v));
      at(y, position / width(y), position % width(y)) = at(x, h, v);
    }
  return y;
}

}  // namespace exercise
