#pragma once

#include "exercise.hpp"

namespace exercise {

/// C [OH OW, H W] of a convolution with stride 1 and no padding; OH = H - kh + 1, OW = W - kw + 1.
inline Grid image_matrix(const Grid& kernel, int H, int W) {
  const int OH = H - height(kernel) + 1, OW = W - width(kernel) + 1;
  Grid C = zeros(OH * OW, H * W);
  // GAP: output (r, c) reads pixel ... through tap (u, v).
  return C;
}

}  // namespace exercise
