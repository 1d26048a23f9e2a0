#pragma once

#include "exercise.hpp"

namespace exercise {

/// The transposed convolution of `data`: s(i - 1) + k - 2p + q elements.
inline Row transposed_convolution(const Row& kernel, const Row& data, int s, int p, int q) {
  Row result = zeros(s * (size(data) - 1) + size(kernel) - 2 * p + q);
  for (int i = 0; i < size(data); ++i)
    for (int t = 0; t < size(kernel); ++t) {
      const int position = i * s + t - p;
      if (position >= 0 && position < size(result)) at(result, position) += at(data, i) * at(kernel, t);
    }
  return result;
}

}  // namespace exercise
