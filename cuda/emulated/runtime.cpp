// The emulated GPU as the CUDA runtime shows it: its memory is the host's, its streams do at once what they are asked for, its graphs are
// lists.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cuda_runtime.h"

/// Work to be done again and again, and the memory that was taken meanwhile, which stays as long.
struct EmulatedGraph {
  std::vector<std::function<void()>> work;
  std::vector<void*> freed;
  int owners = 1;
};

namespace segnet::emulated {
namespace {

constexpr std::size_t device_memory = std::size_t{8} << 30;
thread_local cudaError_t last_error = cudaSuccess;
thread_local EmulatedGraph* recording = nullptr;

struct Memory {
  std::mutex mutex;
  std::unordered_map<void*, std::size_t> blocks;
  std::size_t in_use = 0;
};
Memory& memory() {
  static Memory* const instance = new Memory;
  return *instance;
}

cudaError_t note(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

cudaError_t allocate(void** block, std::size_t bytes) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  if (bytes > device_memory - m.in_use) return note(cudaErrorMemoryAllocation);
  *block = nullptr;
  if (posix_memalign(block, 256, bytes ? bytes : 1) != 0) return note(cudaErrorMemoryAllocation);
  m.blocks[*block] = bytes;
  m.in_use += bytes;
  return cudaSuccess;
}
cudaError_t release(void* block) {
  if (!block) return cudaSuccess;
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto it = m.blocks.find(block);
  if (it == m.blocks.end()) return note(cudaErrorInvalidValue);
  m.in_use -= it->second;
  m.blocks.erase(it);
  std::free(block);
  return cudaSuccess;
}
cudaError_t drop(EmulatedGraph* graph) {
  if (--graph->owners > 0) return cudaSuccess;
  for (void* block : graph->freed) release(block);
  delete graph;
  return cudaSuccess;
}

}  // namespace

void submit(std::function<void()> work) {
  if (recording) recording->work.push_back(std::move(work));
  else work();
}

cudaError_t launch_error(dim3 grid, dim3 block, std::size_t shared) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const bool fits = threads > 0 && threads <= 1024 && block.z <= 64 && grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu &&
                    grid.y <= 65535 && grid.z <= 65535 && shared <= most_shared;
  return fits ? cudaSuccess : cudaErrorInvalidConfiguration;
}
void set_last_error(cudaError_t code) { last_error = code; }

}  // namespace segnet::emulated

using namespace segnet::emulated;

const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown error";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
// Few multiprocessors, so that blocks take more than one tile each.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const char* wish = std::getenv("SEGNET_EMULATED_CAPABILITY");
  const int capability = wish ? std::atoi(wish) : 90;
  *properties = {"emulated GPU", capability / 10, capability % 10, 4, 1 << 20, device_memory};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return recording ? note(cudaErrorStreamCaptureUnsupported) : cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  const std::lock_guard lock(memory().mutex);
  *static_cast<std::uint64_t*>(value) = memory().in_use;
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  return recording ? note(cudaErrorStreamCaptureUnsupported) : allocate(block, bytes);
}
cudaError_t cudaFree(void* block) { return release(block); }
cudaError_t cudaMallocAsync(void** block, std::size_t bytes, cudaStream_t) { return allocate(block, bytes); }
cudaError_t cudaFreeAsync(void* block, cudaStream_t) {
  if (!recording) return release(block);
  recording->freed.push_back(block);  // the graph will write to it
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  submit([=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* block, int value, std::size_t bytes, cudaStream_t) {
  submit([=] { std::memset(block, value, bytes); });
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = recording ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (recording) return note(cudaErrorStreamCaptureUnsupported);
  recording = new EmulatedGraph;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(recording, nullptr);
  return *graph ? cudaSuccess : note(cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* recorded, cudaGraph_t graph, unsigned long long) {
  ++graph->owners;
  *recorded = graph;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return drop(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recorded) { return drop(recorded); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t recorded, cudaStream_t) {
  for (const auto& work : recorded->work) submit(work);
  return cudaSuccess;
}
