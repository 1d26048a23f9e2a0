// y[i] = f(a[i], b[i], ...) with broadcasting, in packs of up to 16 bytes per operand.
#pragma once

#include <algorithm>

#include "launch.cuh"
#include "segnet/kernels/elementwise.hpp"

namespace segnet {

namespace cuda {

/// An element as functions take it: bfloat16 as float.
template <class T>
__device__ Master<T> widened(T x) {
  return static_cast<Master<T>>(x);
}

/// out[k] = f(in[k]...)
template <class T, int size, class F, class... In>
__device__ Pack<T, size> map_pack(const F& f, const Pack<In, size>&... in) {
  Pack<T, size> out;
#pragma unroll
  for (int k = 0; k < size; ++k) out.values[k] = static_cast<T>(f(widened(in.values[k])...));
  return out;
}

/// Elements that a thread takes at once: 16 bytes of the widest type.
template <class... T>
constexpr int common_pack = 16 / static_cast<int>(std::max({sizeof(T)...}));

template <class T>
[[nodiscard]] bool aligned_to(const T* p, int elements) {
  return reinterpret_cast<std::uintptr_t>(p) % (static_cast<std::size_t>(elements) * sizeof(T)) == 0;
}

// Both kernels: `packs` packs, then the elements behind them one by one, which are all of them where a pointer is not aligned.
// y may be one of the operands: a thread has read what it overwrites.

template <int size, class T, class F, class... In>
__global__ void __launch_bounds__(256) map_kernel(T* y, F f, index_t packs, index_t n, const In*... x) {
  const index_t thread = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x, threads = static_cast<index_t>(gridDim.x) * 256;
  for (index_t p = thread; p < packs; p += threads) map_pack<T, size>(f, Pack<In, size>::load(x + p * size)...).store(y + p * size);
  for (index_t i = packs * size + thread; i < n; i += threads) y[i] = static_cast<T>(f(widened(x[i])...));
}

/// One operand alone would keep too few loads in flight: two packs at once.
template <int size, class T, class F, class In>
__global__ void __launch_bounds__(256) map_one_kernel(T* y, F f, index_t packs, index_t n, const In* x) {
  const index_t thread = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x, threads = static_cast<index_t>(gridDim.x) * 256;
  for (index_t p = static_cast<index_t>(blockIdx.x) * 512 + threadIdx.x; p < packs; p += 2 * threads) {
    const index_t q = p + 256 < packs ? p + 256 : p;
    const auto a = Pack<In, size>::load(x + p * size), b = Pack<In, size>::load(x + q * size);
    map_pack<T, size>(f, a).store(y + p * size);
    if (q != p) map_pack<T, size>(f, b).store(y + q * size);
  }
  for (index_t i = packs * size + thread; i < n; i += threads) y[i] = static_cast<T>(f(widened(x[i])));
}

/// A broadcast operand, and how `size` of its elements are read that meet neighbours of the result. Read::scattered: one by one.
template <class T, int size>
struct Operand {
  enum class Read { contiguous, constant, row, repeated, scattered };

  const T* data;
  kernels::BroadcastIndex index;
  bool narrow;  ///< the result has fewer than 2^31 elements, so that `divide` can be used
  Read read;
  Divider<std::uint32_t> divide[Shape::max_rank];

  Operand(const T* elements, const kernels::BroadcastIndex& i, index_t n) : data(elements), index(i), narrow(n < (index_t{1} << 31)) {
    const bool whole = i.rank > 0 && i.size[0] % size == 0;  // no pack crosses a row
    if (i.rank == 0 || (i.rank == 1 && i.stride[0] == 0)) read = Read::constant;
    else if (i.identity()) read = aligned_to(elements, size) ? Read::contiguous : Read::scattered;
    else if (whole && i.stride[0] == 0) read = Read::repeated;
    else if (whole && aligned_to(elements, size)) read = Read::row;
    else read = Read::scattered;
    for (int d = 0; narrow && d < i.rank; ++d) divide[d] = Divider<std::uint32_t>(i.size[d]);
  }

  bool packed() const { return read != Read::scattered; }

  __device__ index_t offset(index_t i) const {
    if (!narrow) return index(i);
    auto rest = static_cast<std::uint32_t>(i);
    index_t at = 0;
#pragma unroll 1
    for (int d = 0; d + 1 < index.rank; ++d) at += divide[d].split(rest) * index.stride[d];
    return at + rest * index.stride[index.rank - 1];
  }

  __device__ T element(index_t i) const { return data[read == Read::contiguous ? i : read == Read::constant ? 0 : offset(i)]; }

  /// Elements i, i + 1, ...; i is a multiple of `size`.
  __device__ Pack<T, size> load(index_t i) const {
    if (read == Read::contiguous) return Pack<T, size>::load(data + i);
    if (read == Read::row) return Pack<T, size>::load(data + offset(i));
    const T value = element(i);
    Pack<T, size> pack;
#pragma unroll
    for (int k = 0; k < size; ++k) pack.values[k] = value;
    return pack;
  }
};

template <int size, class T, class F, class... In>
__global__ void __launch_bounds__(256) map_broadcast_kernel(T* y, F f, index_t packs, index_t n, Operand<In, size>... x) {
  const index_t thread = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x, threads = static_cast<index_t>(gridDim.x) * 256;
  for (index_t p = thread; p < packs; p += threads) map_pack<T, size>(f, x.load(p * size)...).store(y + p * size);
  for (index_t i = packs * size + thread; i < n; i += threads) y[i] = static_cast<T>(f(widened(x.element(i))...));
}

}  // namespace cuda

namespace kernels {

template <class T, class F, class... In>
void map(View<T, Cuda> y, const F& f, const View<In, Cuda>&... x) {
  constexpr int size = cuda::common_pack<T, In...>;
  constexpr bool one = sizeof...(In) == 1 && sizeof(T) <= 4;
  const index_t n = y.size();
  const bool aligned = (cuda::aligned_to(y.data, size) && ... && cuda::aligned_to(x.data, size));
  const index_t packs = aligned ? n / size : 0, threads = packs > 0 ? std::max(one ? (packs + 1) / 2 : packs, n - packs * size) : n;
  if constexpr (one)
    cuda::launch(cuda::map_one_kernel<size, T, F, std::remove_const_t<In>...>, cuda::grid_for(threads, 256), 256, 0, y.data, f, packs, n,
                 x.data...);
  else
    cuda::launch(cuda::map_kernel<size, T, F, std::remove_const_t<In>...>, cuda::grid_for(threads, 256), 256, 0, y.data, f, packs, n,
                 x.data...);
}

template <class T, class F, class... In>
void map_broadcast(View<T, Cuda> y, const F& f, const View<In, Cuda>&... x) {
  constexpr int size = cuda::common_pack<T, In...>;
  const index_t n = y.size();
  if (n == 0) return;
  const auto run = [&](const auto&... operand) {
    const bool packed = cuda::aligned_to(y.data, size) && (operand.packed() && ...);
    const index_t packs = packed ? n / size : 0, threads = std::max(packs, n - packs * size);
    cuda::launch(cuda::map_broadcast_kernel<size, T, F, std::remove_const_t<In>...>, cuda::grid_for(threads, 256), 256, 0, y.data, f, packs,
                 n, operand...);
  };
  run(cuda::Operand<std::remove_const_t<In>, size>(x.data, BroadcastIndex(x.shape, y.shape), n)...);
}

}  // namespace kernels

}  // namespace segnet
