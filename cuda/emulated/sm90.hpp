// Hopper's instructions of conv2d_wgmma_ptx.cuh in software, by the names that it gives them; PTX ISA, chapters "mbarrier",
// "cp.async.bulk.tensor" and "wgmma". Addresses in shared memory are offsets into the block's dynamic part.
//
// Copies and products happen as late as is allowed: when somebody waits for them. Who reads a buffer that is not full yet, or gives one
// back that is still read, computes with what was or comes there.
#pragma once

#include <cuda.h>

#include "mma.hpp"
#include "segnet/core/bfloat16.hpp"

namespace segnet::cuda::sm90 {

using Address = std::uint32_t;
using mma::shared_address;

void barrier_init(Address barrier, unsigned count);
inline void barrier_init_fence() {}
void barrier_arrive(Address barrier);
void barrier_arrive_expecting(Address barrier, unsigned bytes);
void barrier_wait(Address barrier, unsigned parity);

inline void warpgroup_sync() { emulated::sync_some(threadIdx.x < 128 ? 1 : 2, 128); }

inline void prefetch_map(const CUtensorMap*) {}
void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1);
void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2);
void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2, int c3);
void copy_pixels(Address to, const CUtensorMap* map, Address barrier, int c, int w, int h, int n, unsigned dw, unsigned dh);

/// Factors of a product: tf32, or bfloat16 with a, b, both or none of them MN-major.
struct Factors {
  bool tf32, a_mn_major, b_mn_major;
  bool operator==(const Factors&) const = default;
};
void wgmma_begin();
void wgmma(float* d, unsigned columns, std::uint64_t a, std::uint64_t b, bool add, Factors factors);
void wgmma_commit();
void wgmma_wait(unsigned pending);
template <int pending>
void wgmma_wait() {
  wgmma_wait(pending);
}
template <int n>
void settle(float (&)[n]) {}
template <class T, bool a_mn_major, bool b_mn_major, int half>
void wgmma(float (&d)[half], std::uint64_t a, std::uint64_t b, bool add) {
  wgmma(d, 2 * half, a, b, add, {std::is_same_v<T, float>, a_mn_major, b_mn_major});
}

void store_transposed(Address to, std::uint32_t m0, std::uint32_t m1, std::uint32_t m2, std::uint32_t m3);
void store_shared(Address to, float value);
[[nodiscard]] uint4 load_shared(Address from);

}  // namespace segnet::cuda::sm90
