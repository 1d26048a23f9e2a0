#pragma once

#include "exercise.hpp"

namespace exercise {

/// Stride 1; i + 2p - d(k - 1) elements.
inline Row dilated_convolution(const Row& x, const Row& kernel, int d, int p) {
  Row y = zeros(size(x) + 2 * p - d * (size(kernel) - 1));
  // GAP
  return y;
}

}  // namespace exercise
