#pragma once

namespace exercise {

/// Elements of a convolution's result: input i, kernel k, stride s, padding p on both sides, dilation d. 0 where the kernel does not fit.
inline int output_size(int i, int k, int s, int p, int d) {
  return 0;  // GAP
}

}  // namespace exercise
