// How kernels are started and what their bodies share. The only place that knows grid limits, streams and error codes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <type_traits>

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/cuda.hpp"
#include "segnet/core/error.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/divider.hpp"

namespace segnet::cuda {

/// Throws DeviceError with the call, the place, and the device unless `code` is cudaSuccess.
void check(cudaError_t code, const char* call, const char* file, int line);
#define SEGNET_CUDA_CHECK(call) ::segnet::cuda::check((call), #call, __FILE__, __LINE__)

/// The stream of the calling thread: everything that it asks for happens in order.
[[nodiscard]] inline cudaStream_t stream() { return cudaStreamPerThread; }

/// Multiprocessors of the device in use.
[[nodiscard]] int multiprocessors();

/// Starts kernel<<<grid, block, shared>>>(args...) on this thread's stream; nothing for an empty grid.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared > 48 * 1024)
    SEGNET_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
#if defined(SEGNET_EMULATED_GPU)
  emulated::launch(kernel, grid, block, shared, static_cast<Parameters>(arguments)...);
#else
  // clang-format off
  kernel<<<grid, block, shared, stream()>>>(static_cast<Parameters>(arguments)...);
  // clang-format on
#endif
  SEGNET_CUDA_CHECK(cudaGetLastError());
}

/// Blocks of `block` threads for n pieces of work: enough to fill the device a few times, and never more than grids can have.
[[nodiscard]] inline unsigned grid_for(index_t n, int block) {
  const index_t blocks = (n + block - 1) / block, most = index_t{1} << 20;
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

template <class F>
__global__ void __launch_bounds__(256) for_each_kernel(F f, index_t n) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}
/// f(i) for 0 <= i < n, in any order. f is a functor whose operator() is SEGNET_HOST_DEVICE: the same one runs in the CPU's tests.
template <class F>
void for_each(index_t n, const F& f) {
  launch(for_each_kernel<F>, grid_for(n, 256), 256, 0, f, n);
}

/// Device memory of one launch sequence, given back (in stream order) at its end.
template <class T>
class Scratch {
 public:
  explicit Scratch(index_t count)
      : bytes_(count > 0 ? static_cast<std::size_t>(count) * sizeof(T) : 0),
        data_(bytes_ ? static_cast<T*>(segnet::detail::cuda_allocate(bytes_)) : nullptr) {}
  ~Scratch() {
    if (data_) segnet::detail::cuda_deallocate(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] T* data() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

/// The dynamic shared memory that a kernel was launched with; behind its static one, at a multiple of 128 bytes.
template <class T>
__device__ T* dynamic_shared() {
#if defined(SEGNET_EMULATED_GPU)
  return reinterpret_cast<T*>(emulated::dynamic_shared());
#else
  extern __shared__ __align__(128) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
#endif
}

/// *at as atomics leave it, without waiting for them: a read that races with none (PTX: ld.volatile is ld.relaxed).
template <class T>
__device__ T load_relaxed(const T* at) {
#if defined(SEGNET_EMULATED_GPU)
  return __atomic_load_n(at, __ATOMIC_RELAXED);
#else
  return *static_cast<const volatile T*>(at);
#endif
}

/// 16 bytes of elements (or another power of two of them), loaded and stored at once. The pointer must be a multiple of the pack's size
/// (`aligned16`).
template <class T, int count = 16 / static_cast<int>(sizeof(T))>
struct alignas(count * sizeof(T)) Pack {
  static constexpr int size = count;
  T values[size];
  // By references, whose alignment the sanitizer checks, as it does not for whole copies.
  SEGNET_HOST_DEVICE static Pack load(const T* p) {
    const Pack& there = *reinterpret_cast<const Pack*>(p);
    return there;
  }
  SEGNET_HOST_DEVICE void store(T* p) const {
    Pack& there = *reinterpret_cast<Pack*>(p);
    there = *this;
  }
};
[[nodiscard]] inline bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

/// `combine` over the lanes of a warp, in every lane, always in the same order.
template <class T, class F>
__device__ T warp_reduce(T value, const F& combine) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  return value;
}
/// `combine` over a block of up to 1024 threads (a multiple of 32), in every thread, always in the same order.
template <class T, class F>
__device__ T block_reduce(T value, T identity, const F& combine) {
  __shared__ T partial[32];
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  value = warp_reduce(value, combine);
  __syncthreads();  // those before may still read
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? partial[lane] : identity, combine);
}

using kernels::Divider;

struct Plus {
  template <class T>
  SEGNET_HOST_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};

}  // namespace segnet::cuda
