#include "cublas_v2.h"

#include <algorithm>
#include <vector>

#include "mma.hpp"
#include "segnet/core/bfloat16.hpp"
#include "segnet/core/isa.hpp"

struct EmulatedCublas {};

namespace {

using segnet::bfloat16;
using Index = std::int64_t;

/// to [depth, width] from a column-major matrix, or from its transpose.
template <class T, class Sum>
void unpack(const T* from, Index stride, bool transposed, Index depth, Index width, bool tf32, Sum* to) {
  for (Index k = 0; k < depth; ++k)
    for (Index i = 0; i < width; ++i) {
      const Sum value = static_cast<Sum>(transposed ? from[k + i * stride] : from[i + k * stride]);
      if constexpr (std::is_same_v<T, float>)
        to[k * width + i] = tf32 ? __uint_as_float(segnet::cuda::mma::rounded_tf32(__float_as_uint(value))) : value;
      else to[k * width + i] = value;
    }
}

template <class T>
struct Operand {
  const T* data;
  Index stride, step;
  bool transposed;
};

/// Sums over `most` terms at a time: they stay in the cache, and long sums of floats lose fewer digits.
template <class T, class To, class Sum>
void multiply(Index m, Index n, Index k, Sum alpha, const Operand<T>& a, const Operand<T>& b, Sum beta, To* c, Index c_stride, bool tf32) {
  constexpr Index most = 256, tile = 64;
  std::vector<Sum> sums(static_cast<std::size_t>(m * n)), rows(static_cast<std::size_t>(std::min(k, most) * m)),
      columns(static_cast<std::size_t>(std::min(k, most) * n));
  for (Index first = 0; first < k; first += most) {
    const Index depth = std::min(most, k - first);
    unpack(a.data + first * (a.transposed ? 1 : a.stride), a.stride, a.transposed, depth, m, tf32, rows.data());
    unpack(b.data + first * (b.transposed ? b.stride : 1), b.stride, !b.transposed, depth, n, tf32, columns.data());
    segnet::vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (Index i = 0; i < m; i += tile)
        for (Index j = 0; j < n; ++j) {
          const Index count = std::min(tile, m - i);
          Sum part[tile] = {};
          for (Index p = 0; p < depth; ++p) {
            const Sum factor = columns[static_cast<std::size_t>(p * n + j)];
            const Sum* const row = rows.data() + p * m + i;
            SEGNET_SIMD
            for (Index e = 0; e < count; ++e) part[e] += factor * row[e];
          }
          for (Index e = 0; e < count; ++e) sums[static_cast<std::size_t>(j * m + i + e)] += part[e];
        }
    });
  }
  for (Index j = 0; j < n; ++j)
    for (Index i = 0; i < m; ++i) {
      To& to = c[i + j * c_stride];
      const Sum sum = alpha * sums[static_cast<std::size_t>(j * m + i)];
      to = static_cast<To>(beta == Sum(0) ? sum : sum + beta * static_cast<Sum>(to));
    }
}

}  // namespace

const char* cublasGetStatusString(cublasStatus_t code) {
  switch (code) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}
cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new EmulatedCublas;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t, cublasOperation_t a_op, cublasOperation_t b_op, Index m, Index n, Index k,
                                             const void* alpha, const void* a, cudaDataType_t a_type, Index a_stride, long long a_step,
                                             const void* b, cudaDataType_t b_type, Index b_stride, long long b_step, const void* beta,
                                             void* c, cudaDataType_t c_type, Index c_stride, long long c_step, Index batch,
                                             cublasComputeType_t compute, cublasGemmAlgo_t) {
  const bool a_turned = a_op == CUBLAS_OP_T, b_turned = b_op == CUBLAS_OP_T;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || a_stride < std::max<Index>(1, a_turned ? k : m) ||
      b_stride < std::max<Index>(1, b_turned ? n : k) || c_stride < std::max<Index>(1, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  const auto start = [&]<class T, class To, class Sum>(T, To, Sum) {
    const Operand<T> left{static_cast<const T*>(a), a_stride, a_step, a_turned},
        right{static_cast<const T*>(b), b_stride, b_step, b_turned};
    const Sum times = *static_cast<const Sum*>(alpha), keep = *static_cast<const Sum*>(beta);
    segnet::emulated::submit([=, to = static_cast<To*>(c)] {
      for (Index i = 0; i < batch; ++i) {
        Operand<T> x = left, y = right;
        x.data += i * x.step, y.data += i * y.step;
        multiply(m, n, k, times, x, y, keep, to + i * c_step, c_stride, compute == CUBLAS_COMPUTE_32F_FAST_TF32);
      }
    });
    return CUBLAS_STATUS_SUCCESS;
  };
  if (a_type != b_type || (compute == CUBLAS_COMPUTE_64F) != (a_type == CUDA_R_64F)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a_type == CUDA_R_64F && c_type == CUDA_R_64F) return start(double{}, double{}, double{});
  if (a_type == CUDA_R_32F && c_type == CUDA_R_32F) return start(float{}, float{}, float{});
  if (a_type == CUDA_R_16BF && c_type == CUDA_R_16BF) return start(bfloat16{}, bfloat16{}, float{});
  if (a_type == CUDA_R_16BF && c_type == CUDA_R_32F) return start(bfloat16{}, float{}, float{});
  return CUBLAS_STATUS_NOT_SUPPORTED;
}
