// Products of fragments in the precisions that implicit-GEMM convolutions offer; see conv2d_implicit_gemm_ptx.cuh.
#pragma once

#include "conv2d_implicit_gemm.cuh"
#include "conv2d_implicit_gemm_ptx.cuh"

namespace segnet::cuda::mma {

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
    for (int i = 0; i < rows; ++i) multiply_bf16(c[i], a[i], b);
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
    for (int i = 0; i < rows; ++i) multiply_tf32(c[i], a[i], b);
  } else {
    unsigned b_low[columns][2];
#pragma unroll
    for (int j = 0; j < columns; ++j)
#pragma unroll
      for (int k = 0; k < 2; ++k) split_tf32(b[j][k], b[j][k], b_low[j][k]);
    // Tensor cores round towards zero, so long sums drift there (Ootomo and Yokota, 2022). Theirs are of 8 products each, from zero and
    // the small ones first; ordinary additions, which round to nearest, join them.
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      unsigned a_low[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) split_tf32(a[i][k], a[i][k], a_low[k]);
      float sum[columns][4] = {};
      multiply_split_tf32(sum, a[i], a_low, b, b_low);
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 4; ++k) c[i][j][k] += sum[j][k];
    }
  }
}

}  // namespace segnet::cuda::mma
