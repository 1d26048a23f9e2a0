// The instructions of implicit-GEMM convolutions as C++ functions: asynchronous copies, fragments of matrices, and their products.
//
// Fragments are those of mma.sync (PTX ISA, "Matrix fragments for mma.m16n8k16" and ".m16n8k8"), with g = lane / 4, t = lane % 4. In
// bytes those of bfloat16 and tf32 are the same: 16 rows of 32 bytes times 8 columns of 32 bytes, word t of the first or second half.
//   A: a0 = (row g, first half), a1 = (row g + 8, first), a2 = (row g, second), a3 = (row g + 8, second)
//   B: b0 = (column g, first half), b1 = (column g, second half)
//   C: c0, c1 = (row g, columns 2t and 2t + 1), c2, c3 = (row g + 8, the same columns)
// All of this begins with Ampere (sm_80): for older chips the kernels' bodies, between #if SEGNET_TENSOR_CORES and #endif, are empty, and
// nobody starts them.
#pragma once

#include "launch.cuh"

#if defined(SEGNET_EMULATED_GPU)
#include "emulated/mma.hpp"  // all of them in software
#define SEGNET_TENSOR_CORES 1
#else

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define SEGNET_TENSOR_CORES 1
#else
#define SEGNET_TENSOR_CORES 0
#endif

namespace segnet::cuda::mma {

__device__ inline unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

/// Addresses as numbers: those that nothing is read from may point anywhere.
__device__ inline index_t global_address(const void* p) { return static_cast<index_t>(__cvta_generic_to_global(p)); }

/// 16 bytes from device memory to shared memory, or, without reading, zeros. Addresses are multiples of 16.
__device__ inline void copy16(unsigned to, index_t from, bool exists) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(exists ? 16 : 0) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of the groups that this thread committed last are under way.
template <int pending>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Four 8 x 16-byte matrices whose rows lanes 8i ... 8i + 7 point to: word i of a lane is word lane % 4 of row lane / 4 of matrix i.
__device__ inline void load_matrices(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(row)
               : "memory");
}
/// The same of the transposed 8 x 8 matrices of 16-bit elements.
__device__ inline void load_matrices_transposed(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(row)
               : "memory");
}

/// c[j] += a * b[j], 16 x 8 elements each.
template <int columns>
__device__ void multiply_bf16(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&b)[columns][2]) {
#pragma unroll
  for (int j = 0; j < columns; ++j)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[j][0]), "r"(b[j][1]));
}
template <int columns>
__device__ void multiply_tf32(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&b)[columns][2]) {
#pragma unroll
  for (int j = 0; j < columns; ++j)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[j][0]), "r"(b[j][1]));
}

/// c[j] += a_low * b[j] + a * b_low[j] + a * b[j], in this order; no two products in a row go into the same sum.
template <int columns>
__device__ void multiply_split_tf32(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&a_low)[4],
                                    const unsigned (&b)[columns][2], const unsigned (&b_low)[columns][2]) {
  multiply_tf32(c, a_low, b);
  multiply_tf32(c, a, b_low);
  multiply_tf32(c, a, b);
}

/// The nearest number with 11 bits, as a float's bits.
__device__ inline unsigned rounded_tf32(unsigned bits) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

}  // namespace segnet::cuda::mma
#endif
