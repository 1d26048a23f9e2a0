#pragma once

#include "exercise.hpp"

namespace exercise {

/// C [OH OW, H W] of a convolution with stride 1 and no padding; OH = H - kh + 1, OW = W - kw + 1.
inline Grid image_matrix(const Grid& kernel, int H, int W) {
  const int OH = H - height(kernel) + 1, OW = W - width(kernel) + 1;
  Grid C = zeros(OH * OW, H * W);
  for (int r = 0; r < OH; ++r)
    for (int c = 0; c < OW; ++c)
      for (int u = 0; u < height(kernel); ++u)
        for (int v = 0; v < width(kernel); ++v) at(C, r * OW + c, (r + u) * W + c + v) = at(kernel, u, v);
  return C;
}

}  // namespace exercise
