#pragma once

#include <cmath>

#include "exercise.hpp"

namespace exercise {

/// The k weights along one axis.
inline Row tent(int k) {
  Row v = zeros(k);
  const double f = (k + 1) / 2, c = k % 2 ? f - 1 : f - 0.5;  // the division of integers rounds down
  for (int t = 0; t < k; ++t) at(v, t) = 1 - std::abs(t - c) / f;
  return v;
}

struct Upsampling {
  int kernel, stride, padding;
};
/// The transposed convolution that makes an image `factor` times as large.
inline Upsampling upsampling(int factor) { return {2 * factor - factor % 2, factor, factor / 2}; }

}  // namespace exercise
