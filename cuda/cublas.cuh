// cuBLAS as segnet uses it: row-major products of float, double and bfloat16, each thread with a handle of its own.
#pragma once

#include <cublas_v2.h>

#include "launch.cuh"

namespace segnet::cuda {

/// Throws DeviceError with the call, the place, and the device unless `code` is CUBLAS_STATUS_SUCCESS.
void check(cublasStatus_t code, const char* call, const char* file, int line);
#define SEGNET_CUBLAS_CHECK(call) ::segnet::cuda::check((call), #call, __FILE__, __LINE__)

/// The calling thread's handle, made at its first use (so not while a graph is captured). It works on the thread's stream and in
/// memory of its own: equal products give equal bits, whatever other threads do, and graphs may replay them.
[[nodiscard]] cublasHandle_t cublas_handle();

/// Row-major matrices in device memory, rows `stride` elements apart, one matrix `step` elements behind the other (0: always the
/// same one), read as they are or as their transposes.
template <class T>
struct Matrices {
  const T* data;
  index_t stride, step = 0;
  bool transposed = false;
};

/// c[i] [m, n] = a[i] [m, k] b[i] [k, n], or += that if `add`, for 0 <= i < batch. Rows of c lie c_stride apart, matrices c_step.
/// Sums in float (double in double), once rounded to what c is made of: T, or float for a and b of bfloat16.
template <class T, class To>
void gemm(index_t m, index_t n, index_t k, const Matrices<T>& a, const Matrices<T>& b, To* c, index_t c_stride, bool add = false,
          index_t batch = 1, index_t c_step = 0);

/// to[i, j] = row[j] for i < rows, rows of `columns` elements.
template <class T>
struct RepeatRow {
  T* to;
  const T* row;
  unsigned columns;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    to[i] = row[i >> 32 ? static_cast<unsigned>(i % columns) : static_cast<unsigned>(i) % columns];
  }
};
/// A product's bias goes into c first, for the product to be added to: one pass over c less than adding it last, and no rounding more.
template <class T>
void repeat_row(index_t rows, index_t columns, const T* row, T* to) {
  constexpr index_t lanes = Pack<T>::size;
  if (columns % lanes == 0 && aligned16(row) && aligned16(to))
    for_each(rows * columns / lanes,
             RepeatRow<uint4>{reinterpret_cast<uint4*>(to), reinterpret_cast<const uint4*>(row), static_cast<unsigned>(columns / lanes)});
  else for_each(rows * columns, RepeatRow<T>{to, row, static_cast<unsigned>(columns)});
}

/// Sums of bfloat16 are kept in float until the last term is in: to[i] = from[i].
template <class To, class From>
struct CopyElements {
  To* to;
  const From* from;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = static_cast<To>(from[i]); }
};

}  // namespace segnet::cuda
