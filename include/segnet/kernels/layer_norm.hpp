// Layer normalisation: each row by itself, its moments and sums taken while it is in cache.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/kernels/normalization.hpp"

namespace segnet::kernels {

namespace detail {

/// Sum of f(i) for i in [0, n), f giving T: lane by lane, 64 bytes at a time, then over the lanes in a fixed order.
template <class T, class F>
SEGNET_INLINE T sum_along(index_t n, const F& f) {
  constexpr int lanes = 64 / static_cast<int>(sizeof(T));
  T sums[lanes] = {};
  index_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int k = 0; k < lanes; ++k) sums[k] += f(i + k);
  T total = 0;
  for (; i < n; ++i) total += f(i);
  for (int k = 0; k < lanes / 2; ++k) sums[k] += sums[lanes / 2 + k];
  for (int k = 0; k < lanes / 4; ++k) sums[k] += sums[lanes / 4 + k];
  for (int k = 0; k < lanes / 4; ++k) total += sums[k];
  return total;
}

}  // namespace detail

/// y = (x - mean) / sqrt(variance + eps) * weight + bias over each row of x [rows, n], and (mean, rstd) of each row as statistics
/// [rows, 2]. weight and bias are [n], or have no data.
template <class T>
void layer_norm(ConstView<T> x, index_t n, ConstView<T> weight, ConstView<T> bias, double eps, View<T> statistics, View<T> y) {
  parallel_for(statistics.size() / 2, std::max<index_t>(1, (index_t{1} << 15) / std::max<index_t>(n, 1)), [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row) {
        const T* in = x.data + row * n;
        T* out = y.data + row * n;
        const T mean = detail::sum_along<T>(n, [&](index_t i) SEGNET_INLINE_LAMBDA { return in[i]; }) / static_cast<T>(n);
        const T squares = detail::sum_along<T>(n, [&](index_t i) SEGNET_INLINE_LAMBDA { return (in[i] - mean) * (in[i] - mean); });
        const T rstd = T(1) / std::sqrt(squares / static_cast<T>(n) + static_cast<T>(eps));
        for_channels<T>(n, [&](index_t i, auto count) SEGNET_INLINE_LAMBDA {
          T values[count()];
          for (int k = 0; k < count(); ++k) values[k] = (in[i + k] - mean) * rstd;
          if (weight)
            for (int k = 0; k < count(); ++k) values[k] *= weight.data[i + k];
          if (bias)
            for (int k = 0; k < count(); ++k) values[k] += bias.data[i + k];
          for (int k = 0; k < count(); ++k) out[i + k] = values[k];
        });
        statistics.data[2 * row] = mean;
        statistics.data[2 * row + 1] = rstd;
      }
    });
  });
}

/// With xhat = (x - mean) * rstd and u = dy * weight, for each row:
///
///   dx = rstd * (u - mean(u) - xhat * mean(u * xhat)),   dweight = sum over rows of dy * xhat,   dbias = sum over rows of dy
///
/// Outputs without data are not wanted.
template <class T>
void layer_norm_backward(ConstView<T> dy, ConstView<T> x, index_t n, ConstView<T> statistics, ConstView<T> weight, View<T> dx,
                         View<T> dweight, View<T> dbias) {
  const index_t rows = statistics.size() / 2;
  const NormGeometry chunks{1, rows, n};  // cuts the rows
  const bool sums = dweight || dbias;
  const Tensor<T> partial({sums ? chunks.chunks() : 0, 2, n});
  detail::for_norm_chunks(chunks, [&](index_t chunk, index_t, index_t first, index_t count_rows) {
    T *dw = partial.data() + (sums ? chunk * 2 * n : 0), *db = dw + n;
    for (index_t i = 0; sums && i < 2 * n; ++i) dw[i] = 0;
    const auto run = [&](auto weighted) SEGNET_INLINE_LAMBDA {
      for (index_t row = first; row < first + count_rows; ++row) {
        const T *in = x.data + row * n, *gradient = dy.data + row * n;
        const T mean = statistics.data[2 * row], rstd = statistics.data[2 * row + 1];
        const auto u = [&](index_t i) SEGNET_INLINE_LAMBDA {
          if constexpr (weighted()) return gradient[i] * weight.data[i];
          else return gradient[i];
        };
        if (dx) {
          T* out = dx.data + row * n;
          const T mean_u = detail::sum_along<T>(n, u) / static_cast<T>(n);
          const T mean_ux =
              detail::sum_along<T>(n, [&](index_t i) SEGNET_INLINE_LAMBDA { return u(i) * ((in[i] - mean) * rstd); }) / static_cast<T>(n);
          for_channels<T>(n, [&](index_t i, auto count) SEGNET_INLINE_LAMBDA {
            assign<count()>(out + i,
                            [&](int k) SEGNET_INLINE_LAMBDA { return rstd * (u(i + k) - mean_u - (in[i + k] - mean) * rstd * mean_ux); });
          });
        }
        if (sums)
          for_channels_once<T>(n, [&](index_t i, auto count) SEGNET_INLINE_LAMBDA {
            assign<count()>(dw + i, [&](int k) SEGNET_INLINE_LAMBDA { return dw[i + k] + gradient[i + k] * ((in[i + k] - mean) * rstd); });
            assign<count()>(db + i, [&](int k) SEGNET_INLINE_LAMBDA { return db[i + k] + gradient[i + k]; });
          });
      }
    };
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      if (weight) run(std::true_type{});
      else run(std::false_type{});
    });
  });
  if (!sums) return;
  const Tensor<double> totals({2, n});
  detail::add_chunks(chunks, 2 * n, partial.data(), totals.data());
  for (index_t i = 0; i < n; ++i) {
    if (dweight) dweight[i] = static_cast<T>(totals.data()[i]);
    if (dbias) dbias[i] = static_cast<T>(totals.data()[n + i]);
  }
}

// The same on the GPU: cuda/layer_norm.cuh.
template <class T>
void layer_norm(ConstView<T, Cuda> x, index_t n, ConstView<Master<T>, Cuda> weight, ConstView<Master<T>, Cuda> bias, double eps,
                View<Master<T>, Cuda> statistics, View<T, Cuda> y);
template <class T>
void layer_norm_backward(ConstView<T, Cuda> dy, ConstView<T, Cuda> x, index_t n, ConstView<Master<T>, Cuda> statistics,
                         ConstView<Master<T>, Cuda> weight, View<T, Cuda> dx, View<Master<T>, Cuda> dweight, View<Master<T>, Cuda> dbias);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_LAYER_NORM(TEMPLATE, T)                                                           \
  TEMPLATE void layer_norm(ConstView<T>, index_t, ConstView<T>, ConstView<T>, double, View<T>, View<T>); \
  TEMPLATE void layer_norm_backward(ConstView<T>, ConstView<T>, index_t, ConstView<T>, ConstView<T>, View<T>, View<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_LAYER_NORM)

}  // namespace segnet::kernels
