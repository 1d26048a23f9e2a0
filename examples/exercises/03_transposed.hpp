#pragma once

#include "exercise.hpp"

namespace exercise {

/// The transposed convolution of `data`: s(i - 1) + k - 2p + q elements.
inline Row transposed_convolution(const Row& kernel, const Row& data, int s, int p, int q) {
  Row result = zeros(s * (size(data) - 1) + size(kernel) - 2 * p + q);
  // GAP: data element i meets kernel element t at ...; elements in front of the result and behind it are dropped.
  return result;
}

}  // namespace exercise
