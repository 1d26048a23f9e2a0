// What the kernels behind conv2d_wgmma.cuh share. In all of them one warp keeps a ring of shared memory filled and the others, in
// warpgroups of four, multiply. Blocks stay and take one tile after the other, so the ring is filled for the next tile while one is stored.
#pragma once

#include "conv2d_wgmma_ptx.cuh"
#include "launch.cuh"

namespace segnet::cuda::sm90 {

/// Kernels of up to so many taps, whose places are parameters of the launch.
constexpr int most_taps = 64;

/// A ring of `stages` buffers between one thread that fills and warpgroups that drain.
template <int warpgroups, int stages>
struct Ring {
  Address full, empty;  // `stages` barriers each
  unsigned stage = 0, parity = 0;

  static constexpr int bytes = 2 * stages * 8;
  __device__ explicit Ring(Address barriers) : full(barriers), empty(barriers + stages * 8) {}
  __device__ void init() const {
    for (int s = 0; s < stages; ++s) {
      barrier_init(full + s * 8, 1);
      barrier_init(empty + s * 8, 4 * warpgroups);  // one of each warp
    }
    barrier_init_fence();
  }
  __device__ void advance() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
  /// The barrier that the copies into the current stage report to.
  __device__ Address begin_fill(unsigned bytes_coming) const {
    barrier_wait(empty + stage * 8, parity ^ 1);  // passes at once in the first round
    barrier_arrive_expecting(full + stage * 8, bytes_coming);
    return full + stage * 8;
  }
  __device__ void wait_full() const { barrier_wait(full + stage * 8, parity); }
  __device__ void release(unsigned s) const {
    if (threadIdx.x % 32 == 0) barrier_arrive(empty + s * 8);
  }
};

}  // namespace segnet::cuda::sm90
