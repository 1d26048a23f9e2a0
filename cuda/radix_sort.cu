#include "radix_sort.cuh"

#include <cub/device/device_radix_sort.cuh>

namespace segnet::cuda {

void sort_pairs(const std::uint64_t* keys, std::uint64_t* sorted_keys, const index_t* values, index_t* sorted_values, index_t n, int bits) {
  if (n == 0) return;
  std::size_t bytes = 0;
  SEGNET_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, sorted_keys, values, sorted_values, n, 0, bits, stream()));
  const Scratch<std::uint8_t> space(static_cast<index_t>(bytes) + 1);  // a null pointer would ask for the size again
  SEGNET_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(space.data(), bytes, keys, sorted_keys, values, sorted_values, n, 0, bits, stream()));
}

}  // namespace segnet::cuda
