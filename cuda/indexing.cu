#include "indexing.cuh"

#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_select.cuh>

namespace segnet {

namespace cuda {
namespace {

/// The first index outside, by position: a minimum of integers is the same in any order.
struct FirstOutside {
  const index_t* index;
  index_t low, high;
  unsigned long long* first;
  __device__ void operator()(index_t i) const {
    if (index[i] < low || index[i] >= high) atomicMin(first, static_cast<unsigned long long>(i));
  }
};
struct WrapIndex {
  const index_t* index;
  index_t n;
  index_t* y;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { y[i] = index[i] < 0 ? index[i] + n : index[i]; }
};
__global__ void __launch_bounds__(256) count_kernel(const bool* mask, index_t n, unsigned long long* total) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  unsigned long long sum = 0;
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) sum += mask[i];
  sum = block_reduce(sum, 0ull, Plus{});
  if (threadIdx.x == 0) atomicAdd(total, sum);
}
struct Coordinates {
  const index_t* positions;
  index_t* y;  // [count, rank]
  Shape shape;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    index_t rest = positions[i];
    for (int d = shape.rank(); d-- > 0; rest /= shape[d]) y[i * shape.rank() + d] = rest % shape[d];
  }
};
struct Triangle {
  bool* mask;
  index_t W, k;
  SEGNET_HOST_DEVICE void operator()(index_t p) const { mask[p] = p % W - p / W >= k; }
};

/// One number on the device, and back.
struct DeviceNumber {
  Scratch<unsigned long long> memory{1};
  explicit DeviceNumber(unsigned long long value) { segnet::detail::copy_bytes<Cuda, Cpu>(memory.data(), &value, sizeof value); }
  [[nodiscard]] unsigned long long get() const {
    unsigned long long value;
    segnet::detail::copy_bytes<Cpu, Cuda>(&value, memory.data(), sizeof value);
    return value;
  }
};

}  // namespace
}  // namespace cuda

namespace kernels {

index_t first_outside(ConstView<index_t, Cuda> index, index_t low, index_t high) {
  if (index.size() == 0) return -1;
  const cuda::DeviceNumber first(~0ull);
  cuda::for_each(index.size(), cuda::FirstOutside{index.data, low, high, first.memory.data()});
  return static_cast<index_t>(first.get());  // -1 if nothing came
}

void wrap_indices(ConstView<index_t, Cuda> index, index_t n, View<index_t, Cuda> y) {
  cuda::for_each(index.size(), cuda::WrapIndex{index.data, n, y.data});
}

index_t count(ConstView<bool, Cuda> mask) {
  const index_t n = mask.size();
  if (n == 0) return 0;
  const cuda::DeviceNumber total(0);
  cuda::launch(cuda::count_kernel, std::min(cuda::grid_for(n, 256), static_cast<unsigned>(cuda::multiprocessors()) * 8), 256, 0, mask.data,
               n, total.memory.data());
  return static_cast<index_t>(total.get());
}

void nonzero(ConstView<bool, Cuda> mask, View<index_t, Cuda> y) {
  const index_t n = mask.size(), found = y.dim(0);
  if (found == 0) return;
  const cuda::Scratch<index_t> positions(found);
  const cuda::DeviceNumber selected(0);
  const thrust::counting_iterator<index_t> numbers(0);
  std::size_t bytes = 0;
  SEGNET_CUDA_CHECK(
      cub::DeviceSelect::Flagged(nullptr, bytes, numbers, mask.data, positions.data(), selected.memory.data(), n, cuda::stream()));
  const cuda::Scratch<std::uint8_t> space(static_cast<index_t>(bytes) + 1);
  SEGNET_CUDA_CHECK(
      cub::DeviceSelect::Flagged(space.data(), bytes, numbers, mask.data, positions.data(), selected.memory.data(), n, cuda::stream()));
  cuda::for_each(found, cuda::Coordinates{positions.data(), y.data, mask.shape});
}

void triangle(index_t k, View<bool, Cuda> mask) { cuda::for_each(mask.size(), cuda::Triangle{mask.data, mask.dim(1), k}); }

}  // namespace kernels

#define SEGNET_INSTANTIATE_MOVES(T)                                                                                            \
  template void kernels::index_select(View<const T, Cuda>, const index_t*, index_t, index_t, index_t, index_t, View<T, Cuda>); \
  template void kernels::gather(View<const T, Cuda>, View<const index_t, Cuda>, int, View<T, Cuda>);                           \
  template void kernels::one_hot(View<const index_t, Cuda>, index_t, View<T, Cuda>);
#define SEGNET_INSTANTIATE(T)                                                                                                       \
  SEGNET_INSTANTIATE_MOVES(T)                                                                                                       \
  template void kernels::index_add(View<const T, Cuda>, View<const T, Cuda>, const index_t*, index_t, index_t, index_t, index_t, T, \
                                   View<T, Cuda>);                                                                                  \
  template void kernels::scatter_add(View<const T, Cuda>, View<const index_t, Cuda>, int, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)
SEGNET_INSTANTIATE_MOVES(bool)

}  // namespace segnet
