// A stable sort of keys with what belongs to them.
#pragma once

#include "launch.cuh"

namespace segnet::cuda {

/// sorted_keys = the keys in rising order of their lowest `bits` bits, sorted_values = the values that stood beside them; equal keys stay
/// in order.
void sort_pairs(const std::uint64_t* keys, std::uint64_t* sorted_keys, const index_t* values, index_t* sorted_values, index_t n, int bits);

/// How many bits the numbers below n need; at least 1.
[[nodiscard]] inline int bits_below(index_t n) {
  int bits = 1;
  while (bits < 63 && (index_t{1} << bits) < n) ++bits;
  return bits;
}

}  // namespace segnet::cuda
