#pragma once

#include "exercise.hpp"

namespace exercise {

/// Stride 1; i + 2p - d(k - 1) elements.
inline Row dilated_convolution(const Row& x, const Row& kernel, int d, int p) {
  Row y = zeros(size(x) + 2 * p - d * (size(kernel) - 1));
  for (int o = 0; o < size(y); ++o)
    for (int t = 0; t < size(kernel); ++t) {
      const int i = o + t * d - p;
      if (i >= 0 && i < size(x)) at(y, o) += at(kernel, t) * at(x, i);
    }
  return y;
}

}  // namespace exercise
