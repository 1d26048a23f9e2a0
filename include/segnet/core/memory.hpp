// Memory: on the CPU a caching allocator, on the GPU CUDA's stream-ordered pool; both with statistics and a hard cap.
//
// On the CPU freed blocks are kept and handed out again, because the page faults of fresh memory cost as much as a light kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "segnet/core/cuda.hpp"
#include "segnet/core/error.hpp"

namespace segnet {

/// Bytes and counts since the program started (peak: since `reset_peak_memory`).
struct MemoryStats {
  std::size_t in_use = 0;       ///< bytes held by tensors
  std::size_t peak = 0;         ///< largest value of in_use
  std::size_t cached = 0;       ///< bytes that are free but kept for the next tensor
  std::size_t limit = 0;        ///< cap on in_use + cached; 0 = none
  std::size_t allocations = 0;  ///< blocks handed out
  std::size_t cache_hits = 0;   ///< of these, taken from the cache
};

namespace detail {

class CpuAllocator {
 public:
  static CpuAllocator& instance() {
    static CpuAllocator* allocator = new CpuAllocator;  // never destroyed: tensors with static lifetime may outlive it
    return *allocator;
  }

  /// Bytes that a request really takes: multiples of 64 up to 4 KiB, then eighths of a power of two, so that blocks of
  /// nearly equal tensors are exchangeable and at most 1/8 is wasted.
  static std::size_t rounded(std::size_t bytes) {
    std::size_t step = 64;
    while (step * 16 < bytes && bytes > 4096) step *= 2;
    return (bytes + step - 1) / step * step;
  }

  /// A block, and its size: `bytes`, or more where a free block may be `borrowed`, of which the rest counts as cached.
  std::pair<void*, std::size_t> allocate(std::size_t bytes, bool borrowed = false) {
    std::lock_guard lock(mutex_);
    const auto found = borrowed ? free_.lower_bound(bytes) : free_.find(bytes);
    void* block = nullptr;
    std::size_t size = bytes;
    if (found != free_.end()) {
      std::tie(size, block) = *found;
      free_.erase(found);
      stats_.cached -= bytes;
      ++stats_.cache_hits;
    } else {
      if (stats_.limit && stats_.in_use + stats_.cached + bytes > stats_.limit) release_locked();
      trim_locked(bytes);
      if (!stats_.limit || stats_.in_use + bytes <= stats_.limit) block = fresh(bytes);
      if (!block) {
        release_locked();
        if (!stats_.limit || stats_.in_use + bytes <= stats_.limit) block = fresh(bytes);
      }
      if (!block)
        throw DeviceError(Cpu::name, concat("out of memory: asked for ", bytes, " bytes with ", stats_.in_use, " in use and a limit of ",
                                            stats_.limit ? concat(stats_.limit) : std::string("none")));
    }
    ++stats_.allocations;
    stats_.in_use += bytes;
    if (stats_.in_use > stats_.peak) stats_.peak = stats_.in_use;
    if (stats_.in_use > most_) most_ = stats_.in_use;
    if (poison_) std::memset(block, 0xff, bytes);  // every float and double is a NaN
    return {block, size};
  }

  /// Takes back a block of that size, of which `bytes` were in use.
  void deallocate(void* block, std::size_t bytes, std::size_t size) {
    std::lock_guard lock(mutex_);
    stats_.in_use -= bytes;
    stats_.cached += bytes;
    free_.emplace(size, block);
  }

  MemoryStats stats() const {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    stats_.peak = stats_.in_use;
  }
  void set_limit(std::size_t bytes) {
    std::lock_guard lock(mutex_);
    stats_.limit = bytes;
  }
  void set_poison(bool on) {
    std::lock_guard lock(mutex_);
    poison_ = on;
  }
  void release() {
    std::lock_guard lock(mutex_);
    release_locked();
    most_ = stats_.in_use;
  }

 private:
  static constexpr std::size_t huge = std::size_t{2} << 20;

  /// Large blocks in huge pages, where the system has them: 512 times fewer faults and entries of the table of pages. A kernel that
  /// writes to dozens of places in turn waits for that table more than for the memory. They are the system's own, which `give_back` really
  /// returns; malloc would keep what lies between blocks in use.
  static void* fresh(std::size_t bytes) {
#if defined(__linux__)
    if (bytes >= huge) {
      void* room =
          bytes < SIZE_MAX - huge ? mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
      if (room == MAP_FAILED) return nullptr;
      const std::size_t before = (huge - reinterpret_cast<std::uintptr_t>(room) % huge) % huge;
      char* block = static_cast<char*>(room) + before;
      if (before > 0) munmap(room, before);
      munmap(block + bytes, huge - before);
      madvise(block, bytes, MADV_HUGEPAGE);  // a wish: no harm if refused
      return block;
    }
#endif
    return std::aligned_alloc(64, bytes);
  }
  static void give_back(void* block, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
    if (bytes >= huge) {
      munmap(block, bytes);
      return;
    }
#endif
    std::free(block);
  }

  void release_locked() { trim_locked(0, 0); }

  /// Before fresh memory for `bytes`: what is kept must not make the program larger than its tensors ever were at once (since `release`),
  /// as blocks of ever different sizes would; but for 4 MiB. Gives back free blocks, the largest first.
  void trim_locked(std::size_t bytes) { trim_locked(bytes, std::max(most_, stats_.in_use + bytes) + (std::size_t{4} << 20)); }
  void trim_locked(std::size_t bytes, std::size_t most) {
    while (!free_.empty() && stats_.in_use + stats_.cached + bytes > most) {
      const auto largest = std::prev(free_.end());
      give_back(largest->second, largest->first);
      stats_.cached -= largest->first;
      free_.erase(largest);
    }
  }

  mutable std::mutex mutex_;
  std::multimap<std::size_t, void*> free_;
  MemoryStats stats_;
  std::size_t most_ = 0;  // largest value of in_use since `release`
  bool poison_ = false;
};

/// One block of memory on device D, freed with its last owner. May also stand for memory that somebody else keeps.
template <class D>
class Buffer;

template <>
class Buffer<Cpu> {
 public:
  /// `scratch`: it lives for one operation, and takes any free block that is large enough, so that large scratch memory of many
  /// sizes adds nothing to what a program holds.
  explicit Buffer(std::size_t bytes, bool scratch = false) : bytes_(CpuAllocator::rounded(bytes ? bytes : 1)) {
    std::tie(data_, size_) = CpuAllocator::instance().allocate(bytes_, scratch);
  }
  Buffer(void* data, std::shared_ptr<const void> owner) : data_(data), owner_(std::move(owner)) {}
  ~Buffer() {
    if (bytes_) CpuAllocator::instance().deallocate(data_, bytes_, size_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  std::size_t bytes_ = 0, size_ = 0;  // 0: not ours
  void* data_;
  std::shared_ptr<const void> owner_;
};

template <>
class Buffer<Cuda> {
 public:
  explicit Buffer(std::size_t bytes) : bytes_(bytes ? bytes : 1), data_(cuda_allocate(bytes_)) {}
  Buffer(void* data, std::shared_ptr<const void> owner) : data_(data), owner_(std::move(owner)) {}
  ~Buffer() {
    if (bytes_) cuda_deallocate(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  std::size_t bytes_ = 0;  // 0: not ours
  void* data_;
  std::shared_ptr<const void> owner_;
};

/// What the functions below do, for each device.
template <class D>
struct MemoryControl;
template <>
struct MemoryControl<Cpu> {
  static MemoryStats stats() { return CpuAllocator::instance().stats(); }
  static void reset_peak() { CpuAllocator::instance().reset_peak(); }
  static void set_limit(std::size_t bytes) { CpuAllocator::instance().set_limit(bytes); }
  static void release() { CpuAllocator::instance().release(); }
  static void poison(bool on) { CpuAllocator::instance().set_poison(on); }
};
template <>
struct MemoryControl<Cuda> {  // cuda/runtime.cu
  static MemoryStats stats();
  static void reset_peak();
  static void set_limit(std::size_t bytes);
  static void release();
  static void poison(bool on);
};

}  // namespace detail

/// What tensors on device D use now: `memory_stats()`, `memory_stats<Cuda>()`.
template <class D = Cpu>
[[nodiscard]] MemoryStats memory_stats() {
  return detail::MemoryControl<D>::stats();
}
/// Lets `peak` start again from what is in use now.
template <class D = Cpu>
void reset_peak_memory() {
  detail::MemoryControl<D>::reset_peak();
}
/// Hard cap in bytes, 0 for none. A tensor that does not fit under it throws DeviceError; nothing is freed behind your back.
template <class D = Cpu>
void set_memory_limit(std::size_t bytes) {
  detail::MemoryControl<D>::set_limit(bytes);
}
/// Gives cached blocks back to the system. What is kept from then on is bounded by what tensors use at once from then on.
template <class D = Cpu>
void release_cached_memory() {
  detail::MemoryControl<D>::release();
}
/// For tests: fills fresh tensors with NaN, so that a kernel that forgets an element is seen.
template <class D = Cpu>
void poison_fresh_memory(bool on) {
  detail::MemoryControl<D>::poison(on);
}

}  // namespace segnet
