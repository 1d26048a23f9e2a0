#pragma once

#include "exercise.hpp"

namespace exercise {

/// X with X ã = the convolution of ã with the kernel: [(length - k) / stride + 1, length], length being that of the padded data ã.
inline Grid convolution_matrix(const Row& kernel, int length, int stride) {
  Grid X = zeros((length - size(kernel)) / stride + 1, length);
  for (int r = 0; r < height(X); ++r)
    for (int t = 0; t < size(kernel); ++t) at(X, r, r * stride + t) = at(kernel, t);
  return X;
}

}  // namespace exercise
