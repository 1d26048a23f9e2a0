// What cuda/ uses of the CUDA runtime, for machines without it: see machine.hpp. Streams do at once what they are asked for.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "machine.hpp"

#define CUDART_VERSION 13000

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after the other

/// Of what is read and written as a whole: not trivial to copy, so that the sanitizer checks its alignment.
struct EmulatedVector {
  EmulatedVector() = default;
  EmulatedVector(const EmulatedVector&) {}
  EmulatedVector& operator=(const EmulatedVector&) { return *this; }
};
struct alignas(8) float2 : EmulatedVector {
  float x, y;
};
struct alignas(16) uint4 : EmulatedVector {
  unsigned x, y, z, w;
};
[[nodiscard]] inline float2 make_float2(float x, float y) { return {{}, x, y}; }

// ---- for kernels ----

inline void __syncthreads() { segnet::emulated::sync_block(); }
inline void __syncwarp() { segnet::emulated::sync_warp(); }
template <class T>
[[nodiscard]] T __shfl_xor_sync(unsigned, T value, int mask) {
  T got = value;
  segnet::emulated::exchange(value, [&, from = segnet::emulated::lane() ^ static_cast<unsigned>(mask)](auto& all) {
    if (all[from]) got = *all[from];
  });
  return got;
}
template <class T>
[[nodiscard]] T __shfl_up_sync(unsigned, T value, unsigned delta) {
  T got = value;
  segnet::emulated::exchange(value, [&, lane = segnet::emulated::lane()](auto& all) {
    if (lane >= delta && all[lane - delta]) got = *all[lane - delta];
  });
  return got;
}
namespace segnet::emulated {
/// *at = f(*at) in one step, which orders nothing else. What was there before.
template <class T, class F>
T atomically(T* at, const F& f) {
  T before, after;
  __atomic_load(at, &before, __ATOMIC_RELAXED);
  do after = f(before);
  while (!__atomic_compare_exchange(at, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}
}  // namespace segnet::emulated
template <class T>
T atomicAdd(T* at, T value) {
  return segnet::emulated::atomically(at, [&](T v) { return static_cast<T>(v + value); });
}
template <class T>
T atomicMin(T* at, T value) {
  return segnet::emulated::atomically(at, [&](T v) { return value < v ? value : v; });
}
template <class T>
T atomicMax(T* at, T value) {
  return segnet::emulated::atomically(at, [&](T v) { return v < value ? value : v; });
}
template <class T>
T atomicOr(T* at, T value) {
  return segnet::emulated::atomically(at, [&](T v) { return static_cast<T>(v | value); });
}
template <class A, class B>
[[nodiscard]] constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
[[nodiscard]] constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}
[[nodiscard]] inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
[[nodiscard]] inline unsigned __float_as_uint(float value) { return __builtin_bit_cast(unsigned, value); }

// ---- for those who start them ----

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorMemoryAllocation,
  cudaErrorInvalidConfiguration,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorStreamCaptureUnsupported
};
using cudaStream_t = struct EmulatedStream*;
inline constexpr cudaStream_t cudaStreamPerThread = nullptr;

const char* cudaGetErrorString(cudaError_t code);
/// The calling thread's last error, which is then forgotten.
cudaError_t cudaGetLastError();

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount, l2CacheSize;
  std::size_t totalGlobalMem;
};
enum cudaDeviceAttr { cudaDevAttrMemoryPoolsSupported };
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamSynchronize(cudaStream_t stream);

using cudaMemPool_t = struct EmulatedPool*;
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold, cudaMemPoolAttrReservedMemCurrent };
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value);
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, std::size_t bytes);

cudaError_t cudaMalloc(void** memory, std::size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream);
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream);

using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* recorded, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recorded);
cudaError_t cudaGraphLaunch(cudaGraphExec_t recorded, cudaStream_t stream);

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int bytes) {
  return bytes >= 0 && static_cast<std::size_t>(bytes) <= segnet::emulated::most_shared ? cudaSuccess : cudaErrorInvalidValue;
}

namespace segnet::emulated {

/// cudaErrorInvalidConfiguration for what no GPU starts.
[[nodiscard]] cudaError_t launch_error(dim3 grid, dim3 block, std::size_t shared);
void set_last_error(cudaError_t code);

/// kernel<<<grid, block, shared>>>(arguments...)
template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared, std::type_identity_t<Parameters>... arguments) {
  if (const cudaError_t code = launch_error(grid, block, shared); code != cudaSuccess) return set_last_error(code);
  submit([=] { run(grid, block, shared, [&] { kernel(arguments...); }); });
}

}  // namespace segnet::emulated
