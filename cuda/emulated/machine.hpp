// A GPU in software: blocks run one after the other, the threads of a block as fibers that take turns on one core. A thread runs until it
// waits for others, so that a missing barrier shows: which thread is next is drawn at random (SEGNET_EMULATED_SEED repeats an order). With
// it cuda/*.cu compile as plain C++ (-DSEGNET_EMULATED_GPU, this folder before others for <cuda_runtime.h> and the like) and run where
// there is no GPU: under a debugger, under sanitizers, in the tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}  // NOLINT: numbers are grids
};

/// Of the thread that runs.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace segnet::emulated {

constexpr unsigned warp_size = 32;
constexpr std::size_t most_shared = 227 * 1024;  ///< bytes of shared memory that a block may ask for

/// kernel() once for each thread of each block of the grid, now. `shared` bytes of dynamic shared memory, new to each block, all bits set.
void run(dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& kernel);

/// What a stream is asked for: done at once, or kept for later while the calling thread records a graph.
void submit(std::function<void()> work);

// What follows is for the threads of a kernel.

/// A thread's number in its block, and in its warp.
[[nodiscard]] unsigned thread_number();
[[nodiscard]] inline unsigned lane() { return thread_number() % warp_size; }

/// Waits for all threads of the block (the warp) that have not returned.
void sync_block();
void sync_warp();
/// Waits until `threads` threads are at barrier number `barrier` < 16 (PTX: bar.sync).
void sync_some(unsigned barrier, unsigned threads);
/// Lets others run. Who polls something calls it between two looks.
void pause();
void note_progress();  // the polling had an end: nobody waits for ever
template <class Condition>
void wait_until(const Condition& holds) {
  while (!holds()) pause();
  note_progress();
}

/// The block's dynamic shared memory, a multiple of 1024 bytes away from 0. Its addresses in PTX are offsets into it.
[[nodiscard]] std::byte* dynamic_shared();

/// f(all) where all[i] points to the value of lane i, null if that has returned, while every lane of the warp stands here.
using Shown = const void* const (&)[warp_size];
void look(const void* mine, void (*f)(const void* closure, Shown), const void* closure);
template <class T, class F>
void exchange(const T& mine, const F& f) {
  look(
      &mine,
      [](const void* closure, Shown shown) { (*static_cast<const F*>(closure))(reinterpret_cast<const T* const(&)[warp_size]>(shown)); },
      &f);
}

/// `bytes` from `from` to shared memory, or zeros if `from` is null; done when the thread waits for it, as late as is allowed.
void copy_async(void* to, const void* from, std::size_t bytes);
void commit_copies();
/// Until at most `pending` of the thread's groups of copies, the last ones, are under way.
void wait_for_copies(std::size_t pending);

}  // namespace segnet::emulated
