#pragma once

#include "exercise.hpp"

namespace exercise {

/// [k k, OH OW] with OH = H - k + 1, OW alike: row u k + v, column r OW + c holds pixel (r + u, c + v).
inline Grid im2col(const Grid& image, int k) {
  const int OH = height(image) - k + 1, OW = width(image) - k + 1;
  Grid col = zeros(k * k, OH * OW);
  for (int u = 0; u < k; ++u)
    for (int v = 0; v < k; ++v)
      for (int r = 0; r < OH; ++r)
        for (int c = 0; c < OW; ++c) at(col, u * k + v, r * OW + c) = at(image, r + u, c + v);
  return col;
}

/// [H, W]: each element of col added to the pixel that im2col takes it from.
inline Grid col2im(const Grid& col, int H, int W, int k) {
  const int OH = H - k + 1, OW = W - k + 1;
  Grid image = zeros(H, W);
  for (int u = 0; u < k; ++u)
    for (int v = 0; v < k; ++v)
      for (int r = 0; r < OH; ++r)
        for (int c = 0; c < OW; ++c) at(image, r + u, c + v) += at(col, u * k + v, r * OW + c);
  return image;
}

}  // namespace exercise
