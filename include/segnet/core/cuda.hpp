// The GPU as programs without nvcc see it: whether there is one, its memory, and copies. The code behind it is target segnet::cuda.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "segnet/core/device.hpp"

namespace segnet {

namespace cuda {

/// Whether there is a GPU that can be used. The first use of a Tensor<T, Cuda> where there is none throws DeviceError with the reason.
[[nodiscard]] bool available();
/// Why there is none: "no CUDA driver", "no device", ... Empty when there is one.
[[nodiscard]] std::string why_unavailable();

struct DeviceInfo {
  std::string name;            ///< "NVIDIA H200"
  int compute_capability = 0;  ///< 90 for 9.0
  int multiprocessors = 0;
  std::size_t memory = 0, l2_cache = 0;  ///< bytes
};
/// The GPU in use: the first one that CUDA shows (CUDA_VISIBLE_DEVICES chooses). @throws DeviceError: none
[[nodiscard]] DeviceInfo device_info();

/// Waits until everything that this thread asked of the GPU is done. @throws DeviceError: what went wrong in the meantime
void synchronize();

/// Whether convolutions and matrix products of float may round their operands to tf32 (10 bits of mantissa instead of 23), which
/// tensor cores multiply several times as fast. Sums stay float. Off until asked for; for all threads, from their next operation on.
void allow_tf32(bool allow);
[[nodiscard]] bool tf32_allowed();

/// What a function asks of the GPU, recorded once and asked for again at a stroke: the CPU no longer starts kernel after kernel.
///
///   y.copy_from(network(x));                                     // once as it is: libraries set themselves up at their first use
///   const cuda::Graph graph([&] { y.copy_from(network(x)); });   // records, computes nothing
///   x.copy_from(next), graph.replay();                           // y is that of the new x
///
/// Replaying reads and writes the tensors that were there when it was recorded, which must stay; those that the function makes itself
/// are its own and gone when it is done. Not possible are copies from and to the host, so `item()` and the checks of labels too.
/// @throws NotImplemented: the function did one of these;  DeviceError
class Graph {
 public:
  template <class F>
  explicit Graph(const F& f) {
    begin();
    try {
      f();
    } catch (...) {
      abandon();
      throw;
    }
    end();
  }
  Graph(Graph&& other) noexcept : recorded_(std::exchange(other.recorded_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(recorded_, other.recorded_);
    return *this;
  }
  ~Graph();
  /// On the calling thread's stream, behind what that was asked for before.
  void replay() const;

 private:
  static void begin();
  static void abandon() noexcept;
  void end();
  void* recorded_ = nullptr;
};

}  // namespace cuda

namespace detail {
enum class Copy { to_device, to_host, on_device };
void cuda_copy(void* to, const void* from, std::size_t bytes, Copy direction);  // in stream order; to_host waits for the bytes
void* cuda_allocate(std::size_t bytes);                                         // throws DeviceError
void cuda_deallocate(void* block, std::size_t bytes) noexcept;
}  // namespace detail

}  // namespace segnet
