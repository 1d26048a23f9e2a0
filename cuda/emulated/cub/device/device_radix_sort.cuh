// CUB's radix sort as cuda/radix_sort.cu uses it.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <numeric>

namespace cub {

struct DeviceRadixSort {
  /// Sorts by the bits first_bit <= b < end_bit of the keys, stable. Without `space`, only says how many bytes of it are needed.
  template <class Value>
  static cudaError_t SortPairs(void* space, std::size_t& bytes, const std::uint64_t* keys, std::uint64_t* sorted_keys, const Value* values,
                               Value* sorted_values, std::ptrdiff_t n, int first_bit, int end_bit, cudaStream_t) {
    if (!space) {
      bytes = static_cast<std::size_t>(n) * sizeof(std::ptrdiff_t);
      return cudaSuccess;
    }
    segnet::emulated::submit([=] {
      const std::uint64_t mask = (~std::uint64_t{0} >> (64 - (end_bit - first_bit))) << first_bit;
      auto* const order = static_cast<std::ptrdiff_t*>(space);
      std::iota(order, order + n, std::ptrdiff_t{0});
      std::sort(order, order + n, [&](std::ptrdiff_t a, std::ptrdiff_t b) {
        const std::uint64_t x = keys[a] & mask, y = keys[b] & mask;
        return x != y ? x < y : a < b;
      });
      for (std::ptrdiff_t i = 0; i < n; ++i) sorted_keys[i] = keys[order[i]], sorted_values[i] = values[order[i]];
    });
    return cudaSuccess;
  }
};

}  // namespace cub
