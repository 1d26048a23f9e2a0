// The device, its memory and its errors: what include/segnet/core/cuda.hpp and memory.hpp declare.
#include <atomic>
#include <mutex>

#include "launch.cuh"
#include "segnet/core/memory.hpp"

namespace segnet {

namespace {

/// The device in use, found once.
struct Device {
  std::string problem;  ///< why there is none
  int index = 0;
  cuda::DeviceInfo info;
  cudaMemPool_t pool = nullptr;

  Device() {
    int count = 0;
    if (const cudaError_t code = cudaGetDeviceCount(&count); code != cudaSuccess || count == 0) {
      problem = code == cudaErrorInsufficientDriver                ? "no CUDA driver is installed, or it is older than this program's CUDA"
                : code == cudaErrorNoDevice || code == cudaSuccess ? "no GPU is visible to CUDA"
                                                                   : cudaGetErrorString(code);
      return;
    }
    cudaDeviceProp properties;
    int pools = 0;
    cudaError_t code = cudaGetDevice(&index);
    if (code == cudaSuccess) code = cudaGetDeviceProperties(&properties, index);
    if (code == cudaSuccess) code = cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, index);
    if (code == cudaSuccess && pools) code = cudaDeviceGetDefaultMemPool(&pool, index);
    if (code != cudaSuccess) problem = cudaGetErrorString(code);
    else if (!pools) problem = concat(properties.name, " has no stream-ordered memory pools");
    if (!problem.empty()) return;
    info = {properties.name, properties.major * 10 + properties.minor, properties.multiProcessorCount, properties.totalGlobalMem,
            static_cast<std::size_t>(properties.l2CacheSize)};
    std::uint64_t keep = ~std::uint64_t{0};  // freed blocks stay in the pool for the next tensor
    cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
  }
};

Device& device() {
  static Device* instance = new Device;  // never destroyed: tensors with static lifetime may outlive it
  if (!instance->problem.empty()) throw DeviceError(Cuda::name, instance->problem);
  return *instance;
}

struct Statistics {
  std::mutex mutex;
  MemoryStats now;
  bool poison = false;
};
Statistics& statistics() {
  static Statistics* instance = new Statistics;
  return *instance;
}

/// Bytes that the pool holds beyond those in use.
std::size_t cached(std::size_t in_use) {
  std::uint64_t reserved = 0;
  if (cudaMemPoolGetAttribute(device().pool, cudaMemPoolAttrReservedMemCurrent, &reserved) != cudaSuccess) return 0;
  return reserved > in_use ? reserved - in_use : 0;
}

}  // namespace

namespace cuda {

void check(cudaError_t code, const char* call, const char* file, int line) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick must not be reported twice
  std::string name = file;
  if (const auto slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  throw DeviceError(Cuda::name, concat(device().info.name, ": ", cudaGetErrorString(code), " in ", call, " (", name, ":", line, ")"));
}

/// Before a call that would spoil the recording of a Graph.
static void refuse_while_recording(const char* what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  SEGNET_CUDA_CHECK(cudaStreamIsCapturing(stream(), &status));
  if (status != cudaStreamCaptureStatusNone) throw NotImplemented("cuda::Graph", concat("recording of ", what));
}

bool available() { return why_unavailable().empty(); }

std::string why_unavailable() {
  try {
    device();
    return {};
  } catch (const DeviceError& e) {
    return e.what();
  }
}

DeviceInfo device_info() { return device().info; }
int multiprocessors() { return device().info.multiprocessors; }
void synchronize() {
  refuse_while_recording("waiting for the GPU");
  SEGNET_CUDA_CHECK(cudaStreamSynchronize(stream()));
}

}  // namespace cuda

namespace detail {

void cuda_copy(void* to, const void* from, std::size_t bytes, Copy direction) {
  device();
  if (direction != Copy::on_device) cuda::refuse_while_recording("copies from and to the host");
  const cudaMemcpyKind kind = direction == Copy::to_host     ? cudaMemcpyDeviceToHost
                              : direction == Copy::to_device ? cudaMemcpyHostToDevice
                                                             : cudaMemcpyDeviceToDevice;
  SEGNET_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, kind, cuda::stream()));
  if (direction == Copy::to_host) cuda::synchronize();
}

void* cuda_allocate(std::size_t bytes) {
  const Device& gpu = device();
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  void* block = nullptr;
  cudaError_t code = cudaErrorMemoryAllocation;
  if (!s.now.limit || s.now.in_use + bytes <= s.now.limit) {
    code = cudaMallocAsync(&block, bytes, cuda::stream());
    if (code == cudaErrorMemoryAllocation) {  // what other streams freed may come back when they are done
      cudaGetLastError();
      cudaDeviceSynchronize();
      cudaMemPoolTrimTo(gpu.pool, 0);
      code = cudaMallocAsync(&block, bytes, cuda::stream());
    }
  }
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError(Cuda::name,
                      concat(gpu.info.name, ": out of memory: asked for ", bytes, " bytes with ", s.now.in_use, " of ", gpu.info.memory,
                             " in use by tensors and a limit of ", s.now.limit ? concat(s.now.limit) : std::string("none")));
  }
  SEGNET_CUDA_CHECK(code);
  ++s.now.allocations;
  s.now.in_use += bytes;
  if (s.now.in_use > s.now.peak) s.now.peak = s.now.in_use;
  if (s.poison) SEGNET_CUDA_CHECK(cudaMemsetAsync(block, 0xff, bytes, cuda::stream()));
  return block;
}

void cuda_deallocate(void* block, std::size_t bytes) noexcept {
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  s.now.in_use -= bytes;
  cudaFreeAsync(block, cuda::stream());  // fails only when the process or the device is going down
}

MemoryStats MemoryControl<Cuda>::stats() {
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  MemoryStats now = s.now;
  now.cached = cached(now.in_use);
  return now;
}
void MemoryControl<Cuda>::reset_peak() {
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  s.now.peak = s.now.in_use;
}
void MemoryControl<Cuda>::set_limit(std::size_t bytes) {
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  s.now.limit = bytes;
}
void MemoryControl<Cuda>::release() {
  cuda::synchronize();
  SEGNET_CUDA_CHECK(cudaMemPoolTrimTo(device().pool, 0));
}
void MemoryControl<Cuda>::poison(bool on) {
  Statistics& s = statistics();
  std::lock_guard lock(s.mutex);
  s.poison = on;
}

}  // namespace detail

}  // namespace segnet
