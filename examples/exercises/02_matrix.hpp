#pragma once

#include "exercise.hpp"

namespace exercise {

/// X with X ã = the convolution of ã with the kernel: [(length - k) / stride + 1, length], length being that of the padded data ã.
inline Grid convolution_matrix(const Row& kernel, int length, int stride) {
  Grid X = zeros((length - size(kernel)) / stride + 1, length);
  // GAP: row r has kernel element t in column ...
  return X;
}

}  // namespace exercise
