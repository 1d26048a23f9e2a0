// Random fills: the numbers that core/random.hpp defines.
#pragma once

#include "launch.cuh"
#include "segnet/core/random.hpp"

namespace segnet {

namespace cuda {

/// Elements 4 b ... 4 b + 3, of one Philox block.
template <class T, class F>
struct RandomBlock {
  std::uint64_t seed, stream;
  F transform;
  index_t n;
  T* to;
  __device__ void operator()(index_t b) const {
    const Philox p = Philox::block(seed, stream, static_cast<std::uint64_t>(b));
    double values[4];
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const double u = (p.r[k] + 1.0) * 0x1p-32, v = p.r[k + 1] * 0x1p-32;
      transform(u, v, values[k], values[k + 1]);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (b * 4 + k < n) to[b * 4 + k] = static_cast<T>(values[k]);
  }
};

}  // namespace cuda

namespace detail {
template <class T, class F>
void random_fill(View<T, Cuda> dst, Generator& generator, const F& transform) {
  const index_t n = dst.size();
  cuda::for_each((n + 3) / 4, cuda::RandomBlock<T, F>{generator.seed, generator.next(), transform, n, dst.data});
}
}  // namespace detail

}  // namespace segnet
