#pragma once

#include <vector>

namespace exercise {

/// Every input size of at least 1 that a convolution (kernel k, stride s, padding p) maps to o, the smallest first.
inline std::vector<int> inputs_of(int o, int k, int s, int p) {
  std::vector<int> sizes;
  const int smallest = s * (o - 1) + k - 2 * p;
  for (int i = smallest; i < smallest + s; ++i)
    if (i >= 1) sizes.push_back(i);
  return sizes;
}

/// The output padding with which its transpose leads back to i.
inline int output_padding_for(int i, int k, int s, int p) { return (i + 2 * p - k) % s; }

}  // namespace exercise
