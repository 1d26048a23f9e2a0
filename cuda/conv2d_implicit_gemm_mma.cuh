// What implicit-GEMM convolutions say to the hardware: asynchronous copies, fragments of matrices, and their products.
//
// Fragments are those of mma.sync (PTX ISA, "Matrix fragments for mma.m16n8k16" and ".m16n8k8"), with g = lane / 4, t = lane % 4. In
// bytes those of bfloat16 and tf32 are the same: 16 rows of 32 bytes times 8 columns of 32 bytes, word t of the first or second half.
//   A: a0 = (row g, first half), a1 = (row g + 8, first), a2 = (row g, second), a3 = (row g + 8, second)
//   B: b0 = (column g, first half), b1 = (column g, second half)
//   C: c0, c1 = (row g, columns 2t and 2t + 1), c2, c3 = (row g + 8, the same columns)
// All of this begins with Ampere (sm_80): for older chips the kernels' bodies are empty, and nobody starts them.
#pragma once

#include "conv2d_implicit_gemm.cuh"
#include "launch.cuh"

namespace segnet::cuda {

namespace mma {

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

/// c += a * b
__device__ inline void multiply_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The nearest number with 11 bits, as a float's bits.
__device__ inline unsigned rounded_tf32(unsigned bits) {
  unsigned rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}
/// value = high + low up to a float's last bit. high is the nearest number with 11 bits; the rest has 12 at most, of which tensor cores
/// drop the last. Rounding it, up or down by as much, would gain nothing. What is not finite is all low: times low parts of other factors,
/// which are often zero or of the other sign, infinity would become NaN.
__device__ inline void split_tf32(unsigned value, unsigned& high, unsigned& low) {
  const float nearest = __uint_as_float((value + 0x1000u) & 0xffffe000u), taken = fabsf(nearest) < INFINITY ? nearest : 0.0f;
  high = __float_as_uint(taken);
  low = __float_as_uint(__uint_as_float(value) - taken);
}

/// c[i][j] += a[i] * b[j]: 16 x 8 elements each, over 32 bytes of the inner dimension.
template <class T, Precision precision, int rows, int columns>
__device__ void multiply_fragments(float (&c)[rows][columns][4], unsigned (&a)[rows][4], unsigned (&b)[columns][2]) {
  if constexpr (std::is_same_v<T, bfloat16>) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_bf16(c[i][j], a[i], b[j]);
  } else if constexpr (precision == Precision::tf32) {
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int k = 0; k < 4; ++k) a[i][k] = rounded_tf32(a[i][k]);
#pragma unroll
    for (int j = 0; j < columns; ++j)
#pragma unroll
      for (int k = 0; k < 2; ++k) b[j][k] = rounded_tf32(b[j][k]);
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_tf32(c[i][j], a[i], b[j]);
  } else {
    unsigned b_low[columns][2];
#pragma unroll
    for (int j = 0; j < columns; ++j)
#pragma unroll
      for (int k = 0; k < 2; ++k) split_tf32(b[j][k], b[j][k], b_low[j][k]);
    // Tensor cores round towards zero, so long sums drift there (Ootomo and Yokota, 2022). Theirs are of 8 products each, from zero and
    // the small ones first; ordinary additions, which round to nearest, join them. No two products in a row go into the same sum.
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      unsigned a_low[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) split_tf32(a[i][k], a[i][k], a_low[k]);
      float sum[columns][4] = {};
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_tf32(sum[j], a_low, b[j]);
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_tf32(sum[j], a[i], b_low[j]);
#pragma unroll
      for (int j = 0; j < columns; ++j) multiply_tf32(sum[j], a[i], b[j]);
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) c[i][j][k] += sum[j][k];
    }
  }
}

}  // namespace mma
}  // namespace segnet::cuda
