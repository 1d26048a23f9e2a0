// Dropout with the mask that kernels/dropout.hpp defines.
#pragma once

#include "elementwise.cuh"
#include "segnet/kernels/arithmetic.hpp"
#include "segnet/kernels/dropout.hpp"

namespace segnet {

namespace cuda {

/// A thread per `elements` neighbours: whole Philox blocks and whole packs. `aligned`: both pointers are.
template <class T>
__global__ void __launch_bounds__(256) dropout_kernel(kernels::DropoutMask mask, const T* x, index_t n, bool aligned, T* y) {
  constexpr int size = Pack<T>::size, elements = size < 4 ? 4 : size;
  const auto factor = static_cast<Master<T>>(mask.factor());
  const std::uint32_t threshold = mask.threshold();
  const index_t step = static_cast<index_t>(gridDim.x) * 256, groups = (n + elements - 1) / elements;
  for (index_t g = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x; g < groups; g += step) {
    const index_t first = g * elements;
    const bool whole = aligned && first + elements <= n;
    T values[elements];
    if (whole) {
#pragma unroll
      for (int k = 0; k < elements; k += size) {
        const auto pack = Pack<T>::load(x + first + k);
#pragma unroll
        for (int i = 0; i < size; ++i) values[k + i] = pack.values[i];
      }
    } else {
#pragma unroll
      for (int k = 0; k < elements; ++k) values[k] = first + k < n ? x[first + k] : T(0);
    }
#pragma unroll
    for (int k = 0; k < elements; k += 4) {
      const Philox random = Philox::block(mask.seed, mask.stream, static_cast<std::uint64_t>((first + k) / 4));
#pragma unroll
      for (int i = 0; i < 4; ++i) values[k + i] = random.r[i] >= threshold ? static_cast<T>(widened(values[k + i]) * factor) : T(0);
    }
    if (whole) {
#pragma unroll
      for (int k = 0; k < elements; k += size) {
        Pack<T> pack;
#pragma unroll
        for (int i = 0; i < size; ++i) pack.values[i] = values[k + i];
        pack.store(y + first + k);
      }
    } else {
#pragma unroll
      for (int k = 0; k < elements; ++k)
        if (first + k < n) y[first + k] = values[k];
    }
  }
}

}  // namespace cuda

namespace kernels {

template <class T>
void dropout(const DropoutMask& mask, ConstView<T, Cuda> x, View<T, Cuda> y) {
  constexpr int elements = std::max(4, cuda::Pack<T>::size);
  const index_t n = x.size();
  cuda::launch(cuda::dropout_kernel<T>, cuda::grid_for((n + elements - 1) / elements, 256), 256, 0, mask, x.data, n,
               cuda::aligned16(x.data) && cuda::aligned16(y.data), y.data);
}

template <class T>
void scale_channels(index_t P, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> factors, View<T, Cuda> y) {
  const index_t N = factors.dim(0), C = factors.dim(1);
  using M = Master<T>;
  map_broadcast(View<T, Cuda>{y.data, {N, P, C}}, Multiply{}, View<const T, Cuda>{x.data, {N, P, C}},
                View<const M, Cuda>{factors.data, {N, 1, C}});
}

}  // namespace kernels

}  // namespace segnet
