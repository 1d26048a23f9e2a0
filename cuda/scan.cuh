// Running sums along a dimension.
#pragma once

#include "launch.cuh"
#include "segnet/kernels/scan.hpp"

namespace segnet {

namespace cuda {

/// What running sums of T are kept in: double for everything real.
template <class T>
using RunningSum = kernels::Accumulator<Master<T>>;

/// Where step s of line i of [outer, reduced, inner] is.
struct RunningLine {
  index_t at, step;
  SEGNET_HOST_DEVICE RunningLine(const kernels::ReducedExtents& e, index_t line, bool from_behind)
      : at((line / e.inner * e.reduced + (from_behind ? e.reduced - 1 : 0)) * e.inner + line % e.inner),
        step(from_behind ? -e.inner : e.inner) {}
  SEGNET_HOST_DEVICE index_t operator[](index_t s) const { return at + s * step; }
};

/// Many lines: a thread for each.
template <class T>
struct SumLine {
  kernels::ReducedExtents e;
  const T* x;
  T* y;
  bool from_behind;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const RunningLine line(e, i, from_behind);
    RunningSum<T> sum = 0;
    for (index_t s = 0; s < e.reduced; ++s) {
      sum += static_cast<RunningSum<T>>(x[line[s]]);
      y[line[s]] = static_cast<T>(sum);
    }
  }
};

/// Few lines, or neighbours within a line: a block for each, which goes along it in chunks.
template <class T>
__global__ void __launch_bounds__(256) sum_lines_kernel(kernels::ReducedExtents e, const T* x, T* y, bool from_behind) {
  using A = RunningSum<T>;
  constexpr int own = 4, chunk = 256 * own;
  __shared__ A of_warp[8];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (index_t i = blockIdx.x; i < e.outer * e.inner; i += gridDim.x) {
    const RunningLine line(e, i, from_behind);
    A carry = 0;  // everything in front of the chunk
    for (index_t first = 0; first < e.reduced; first += chunk) {
      const index_t s = first + static_cast<index_t>(threadIdx.x) * own;
      A sums[own], sum = 0;
#pragma unroll
      for (int u = 0; u < own; ++u) {
        if (s + u < e.reduced) sum += static_cast<A>(x[line[s + u]]);
        sums[u] = sum;
      }
#pragma unroll
      for (int distance = 1; distance < 32; distance *= 2) {
        const A other = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += other;
      }
      if (lane == 31) of_warp[warp] = sum;
      A before = __shfl_up_sync(0xffffffffu, sum, 1);
      if (lane == 0) before = 0;
      __syncthreads();
      A whole = 0, warps = 0;  // of the chunk; in front of this warp
#pragma unroll
      for (int w = 0; w < 8; ++w) {
        if (w == warp) warps = whole;
        whole += of_warp[w];
      }
      before += carry + warps;
#pragma unroll
      for (int u = 0; u < own; ++u)
        if (s + u < e.reduced) y[line[s + u]] = static_cast<T>(before + sums[u]);
      carry += whole;
      __syncthreads();  // of_warp has been read
    }
  }
}

}  // namespace cuda

namespace kernels {

template <class T>
void cumsum(const ReducedExtents& e, ConstView<T, Cuda> x, bool from_behind, View<T, Cuda> y) {
  const index_t lines = e.outer * e.inner;
  if (lines * e.reduced == 0) return;
  if (e.reduced <= 32 || (lines >= 8192 && e.inner >= 8)) return cuda::for_each(lines, cuda::SumLine<T>{e, x.data, y.data, from_behind});
  cuda::launch(cuda::sum_lines_kernel<T>, cuda::grid_for(lines, 1), 256, 0, e, x.data, y.data, from_behind);
}

}  // namespace kernels

}  // namespace segnet
