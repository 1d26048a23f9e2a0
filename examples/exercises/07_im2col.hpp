#pragma once

#include "exercise.hpp"

namespace exercise {

/// [k k, OH OW] with OH = H - k + 1, OW alike: row u k + v, column r OW + c holds pixel (r + u, c + v).
inline Grid im2col(const Grid& image, int k) {
  const int OH = height(image) - k + 1, OW = width(image) - k + 1;
  Grid col = zeros(k * k, OH * OW);
  // GAP
  return col;
}

/// [H, W]: each element of col added to the pixel that im2col takes it from.
inline Grid col2im(const Grid& col, int H, int W, int k) {
  Grid image = zeros(H, W);
  // GAP
  return image;
}

}  // namespace exercise
