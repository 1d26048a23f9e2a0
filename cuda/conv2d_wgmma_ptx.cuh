// What Hopper adds for matrix products, as C++ functions: barriers in shared memory that count bytes, copies of tensor tiles by a
// unit of their own (TMA), and products of 64 x N x 32 bytes by four warps that read both factors from shared memory (wgmma). All of
// them are asynchronous.
//
// Both factors lie in shared memory in rows of 128 bytes, eight rows forming an atom of 1024 bytes, whose address must be a multiple
// of 1024. Within an atom, the 16-byte unit u of row r lies in place u ^ r ("128-byte swizzle"), so that eight units of a column come
// from all banks. TMA writes that layout and wgmma reads it; descriptors of matrices say where and how:
//   bits  0-13  start address / 16                      bits 16-29  leading offset / 16
//   bits 32-45  stride offset / 16                      bits 62-63  1 = 128-byte swizzle
// K-major (a row holds consecutive k of one m or n): the stride offset leads from eight rows to the next eight, here 1024; the
// leading offset is unused. The next 32 bytes of k start 32 bytes further: the swizzle acts on address bits, so this stays right.
// MN-major (a row holds 64 consecutive m or n of one k; 16-bit types only): the stride offset leads from eight k to the next eight,
// here 1024, the leading offset from 64 m or n to the next 64. The next 16 k start 2048 bytes further.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "segnet/core/bfloat16.hpp"

// Bodies of kernels that use these functions stand between #if SEGNET_SM90A and #endif: other devices' code has no such instructions.
#if defined(SEGNET_EMULATED_GPU)
#include "emulated/sm90.hpp"  // all of them in software
#define SEGNET_SM90A 1
#elif !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SEGNET_SM90A 1
#else
#define SEGNET_SM90A 0
#endif

namespace segnet::cuda::sm90 {

using Address = std::uint32_t;  ///< in shared memory

/// See above. Address in shared memory; leading and stride offset in bytes.
__device__ inline std::uint64_t matrix(Address start, unsigned leading, unsigned stride) {
  return static_cast<std::uint64_t>((start & 0x3ffffu) >> 4) | static_cast<std::uint64_t>(leading >> 4) << 16 |
         static_cast<std::uint64_t>(stride >> 4) << 32 | std::uint64_t{1} << 62;
}
__device__ inline std::uint64_t k_major(Address start) { return matrix(start, 16, 1024); }

#if !defined(SEGNET_EMULATED_GPU)

__device__ inline Address shared_address(const void* p) { return static_cast<Address>(__cvta_generic_to_shared(p)); }

// ---- Barriers. A phase ends when `count` arrivals and all announced bytes have come; a wait names the parity of the phase. ----

__device__ inline void barrier_init(Address barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
/// Makes barriers known to the copy unit; a __syncthreads() must follow.
__device__ inline void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ inline void barrier_arrive(Address barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_arrive_expecting(Address barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_wait(Address barrier, unsigned parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

/// A barrier of the first or the second warpgroup. Constant numbers: the compiler reserves all barriers for others.
__device__ inline void warpgroup_sync() {
  if (threadIdx.x < 128) asm volatile("bar.sync 1, 128;" ::: "memory");
  else asm volatile("bar.sync 2, 128;" ::: "memory");
}

// ---- TMA: boxes of a tensor that a map describes, from global to shared memory. What lies outside of the tensor becomes zero. ----

__device__ inline void prefetch_map(const CUtensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
__device__ inline void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(to),
               "l"(map), "r"(barrier), "r"(c0), "r"(c1)
               : "memory");
}
__device__ inline void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
               "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2)
               : "memory");
}
__device__ inline void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
      "l"(map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
/// Consecutive pixels, from (n, h, w) on, moved by a tap's offset: as many as the map says, row after row and image after image.
__device__ inline void copy_pixels(Address to, const CUtensorMap* map, Address barrier, int c, int w, int h, int n, unsigned dw,
                                   unsigned dh) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::
          "r"(to),
      "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(static_cast<std::uint16_t>(dw)), "h"(static_cast<std::uint16_t>(dh))
      : "memory");
}

// ---- wgmma ----

/// Before the first product of a sequence: registers are as they should be.
__device__ inline void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// After its last.
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until at most that many sequences are under way.
template <int pending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// What is read of `d` behind this was not read before it.
template <int n>
__device__ inline void settle(float (&d)[n]) {
#pragma unroll
  for (int i = 0; i < n; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

#define SEGNET_R0                                                                                                                      \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31"
#define SEGNET_R32                                                                                                                     \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, " \
  "%58, %59, %60, %61, %62, %63"
#define SEGNET_R64                                                                                                                     \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, " \
  "%90, %91, %92, %93, %94, %95"
#define SEGNET_R96                                                                                                                         \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, " \
  "%119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SEGNET_D0                                                                                                                       \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]),  \
      "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
      "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), \
      "+f"(d[31])
#define SEGNET_D32                                                                                                                      \
  "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]),     \
      "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), \
      "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), \
      "+f"(d[62]), "+f"(d[63])
#define SEGNET_D64                                                                                                                      \
  "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]),     \
      "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), \
      "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), \
      "+f"(d[94]), "+f"(d[95])
#define SEGNET_D96                                                                                                                        \
  "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), \
      "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), "+f"(d[112]), "+f"(d[113]), "+f"(d[114]),       \
      "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]),       \
      "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

#define SEGNET_WGMMA(SHAPE, D, A, B, P, FLAGS, ...)                                                                                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\nwgmma.mma_async.sync.aligned." SHAPE " {" D "}, " A ", " B ", p, 1, 1" FLAGS \
               ";\n}\n"                                                                                                                  \
               : __VA_ARGS__                                                                                                             \
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
#define SEGNET_WGMMAS(K_TYPE, FLAGS)                                                                                                    \
  static_assert(n == 64 || n == 128 || n == 192 || n == 256);                                                                           \
  if constexpr (n == 64) {                                                                                                              \
    SEGNET_WGMMA("m64n64" K_TYPE, SEGNET_R0, "%32", "%33", "%34", FLAGS, SEGNET_D0)                                                     \
  } else if constexpr (n == 128) {                                                                                                      \
    SEGNET_WGMMA("m64n128" K_TYPE, SEGNET_R0 ", " SEGNET_R32, "%64", "%65", "%66", FLAGS, SEGNET_D0, SEGNET_D32)                        \
  } else if constexpr (n == 192) {                                                                                                      \
    SEGNET_WGMMA("m64n192" K_TYPE, SEGNET_R0 ", " SEGNET_R32 ", " SEGNET_R64, "%96", "%97", "%98", FLAGS, SEGNET_D0, SEGNET_D32,        \
                 SEGNET_D64)                                                                                                            \
  } else {                                                                                                                              \
    SEGNET_WGMMA("m64n256" K_TYPE, SEGNET_R0 ", " SEGNET_R32 ", " SEGNET_R64 ", " SEGNET_R96, "%128", "%129", "%130", FLAGS, SEGNET_D0, \
                 SEGNET_D32, SEGNET_D64, SEGNET_D96)                                                                                    \
  }

/// d = a b^T, or d += a b^T if `add`, for a [64, K] and b [n, K], 32 bytes of K, both K-major or, 16-bit types
/// only, MN-major. Of d, lane l of warp v of the warpgroup holds
/// d[4j + 2h + i] = row 16 v + 8 h + l / 4, column 8 j + 2 (l % 4) + i.
template <class T, bool a_mn_major, bool b_mn_major, int half>
__device__ inline void wgmma(float (&d)[half], std::uint64_t a, std::uint64_t b, bool add) {
  constexpr int n = 2 * half;
  if constexpr (std::is_same_v<T, float>) {
    static_assert(!a_mn_major && !b_mn_major);
    SEGNET_WGMMAS("k8.f32.tf32.tf32", "")
  } else if constexpr (a_mn_major && b_mn_major) {
    SEGNET_WGMMAS("k16.f32.bf16.bf16", ", 1, 1")
  } else if constexpr (a_mn_major) {
    SEGNET_WGMMAS("k16.f32.bf16.bf16", ", 1, 0")
  } else {
    static_assert(!b_mn_major);
    SEGNET_WGMMAS("k16.f32.bf16.bf16", ", 0, 0")
  }
}

#undef SEGNET_WGMMAS
#undef SEGNET_WGMMA
#undef SEGNET_R0
#undef SEGNET_R32
#undef SEGNET_R64
#undef SEGNET_R96
#undef SEGNET_D0
#undef SEGNET_D32
#undef SEGNET_D64
#undef SEGNET_D96

/// Four 8 x 8 matrices of 16-bit elements, each in the layout of wgmma's results, to shared memory, transposed: lane 8 m + k gives
/// the place of column k of matrix m.
__device__ inline void store_transposed(Address to, std::uint32_t m0, std::uint32_t m1, std::uint32_t m2, std::uint32_t m3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(m0), "r"(m1), "r"(m2), "r"(m3)
               : "memory");
}

__device__ inline void store_shared(Address to, float value) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(value) : "memory"); }
__device__ inline uint4 load_shared(Address from) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from) : "memory");
  return v;
}

#endif  // !defined(SEGNET_EMULATED_GPU)

}  // namespace segnet::cuda::sm90
