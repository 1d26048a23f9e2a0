// Normalisation, channels last. Everything here waits for memory, so each kernel is one pass, and passes are what to count:
//
//   batch, group, instance   forward   x -> moments;  x -> y                      2 reads, 1 write
//                            backward  dy, x -> sums;  dy, x -> dx                4 reads, 1 write
//   layer                    forward   x -> y (a row's moments in cache)          1 read,  1 write
//                            backward  dy, x -> dx and sums                       2 reads, 1 write
//
// Batch, group and instance norm are one thing: x seen as [S, P, C], S sets of P pixels (S = 1 for the batch, else one per image),
// and for each set and channel a centre, a factor and an offset. What is small, [S, C], is done in double.
//
// Sums run over chunks of rows cut by the shape alone, in T inside a chunk and in double over the chunks, in order: the bits do
// not depend on the threads. A chunk's variance takes two passes over the chunk, the second in cache (Chan, Golub, LeVeque,
// "Algorithms for computing the sample variance", 1983), so that a mean far from zero costs no accuracy.
#pragma once

#include <cmath>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

/// x seen as [S, P, C]; see the head of this file.
struct NormGeometry {
  index_t S, P, C;  ///< sets, pixels of each, channels

  [[nodiscard]] index_t chunk_rows() const { return std::max<index_t>(64, (index_t{1} << 15) / std::max<index_t>(C, 1)); }
  [[nodiscard]] index_t chunks() const { return (P + chunk_rows() - 1) / chunk_rows(); }  ///< of one set
};

/// Rows of the coefficients [S, 5, C] that `normalize_channels` reads: y = (x - centre) * factor + offset with factor = weight * rstd.
/// The centre is the mean rounded to T; `rest` = centre - mean makes up for that, in offset = bias + rest * factor and on the way back,
/// so that a mean far from zero costs nothing: x - centre is exact there.
enum NormRow : int { norm_centre, norm_rest, norm_rstd, norm_factor, norm_offset, norm_rows };

namespace detail {

/// f(chunk, s, first row, rows) for every chunk of every set; a row is C elements, and row 0 the first of the tensor.
template <class F>
void for_norm_chunks(const NormGeometry& g, const F& f) {
  const index_t chunks = g.chunks(), size = g.chunk_rows();
  parallel_chunks(g.S * chunks, [&](index_t chunk) {
    const index_t s = chunk / std::max<index_t>(chunks, 1), first = chunk % std::max<index_t>(chunks, 1) * size;
    f(chunk, s, s * g.P + first, std::min(size, g.P - first));
  });
}

/// Calls f(row, rows, c, count) over `rows` rows in groups of four (the last ones one by one), rows an integral_constant: four rows
/// added up before they reach the accumulators cost a quarter of the loads and stores.
template <class T, class F>
SEGNET_INLINE void for_row_groups(index_t rows, index_t C, const F& f) {
  index_t r = 0;
  for (; r + 4 <= rows; r += 4)
    for_channels_once<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA { f(r, std::integral_constant<int, 4>{}, c, count); });
  for (; r < rows; ++r)
    for_channels_once<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA { f(r, std::integral_constant<int, 1>{}, c, count); });
}

/// Calls f(s, c, count) for blocks of up to 16 of the `n` numbers that each set has in every chunk, to be joined over the chunks: a
/// block is a cache line of floats, so that a walk from chunk to chunk uses whole lines. Few sums go to few threads.
template <class F>
void for_joint_blocks(const NormGeometry& g, index_t n, const F& f) {
  constexpr index_t block = 16;
  const index_t blocks = (n + block - 1) / block;
  parallel_for(g.S * blocks, std::max<index_t>(1, 512 / std::max<index_t>(g.chunks(), 1)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) f(i / blocks, i % blocks * block, std::min(block, n - i % blocks * block));
  });
}

/// totals[s, i] = sum over the chunks of set s of partial[chunk, i], i < n, in order.
template <class T>
void add_chunks(const NormGeometry& g, index_t n, const T* partial, double* totals) {
  for_joint_blocks(g, n, [&](index_t s, index_t first, index_t count) {
    double total[16] = {};
    for (index_t chunk = 0; chunk < g.chunks(); ++chunk) {
      const T* from = partial + (s * g.chunks() + chunk) * n + first;
      for (index_t i = 0; i < count; ++i) total[i] += static_cast<double>(from[i]);
    }
    for (index_t i = 0; i < count; ++i) totals[s * n + first + i] = total[i];
  });
}

}  // namespace detail

/// moments[s, 0, c] = mean and moments[s, 1, c] = sum of squared deviations of x [S, P, C] over P.
template <class T>
void channel_moments(const NormGeometry& g, ConstView<T> x, View<double> moments) {
  const index_t C = g.C, chunks = g.chunks(), size = g.chunk_rows();
  // Of each chunk: a centre (its mean, rounded), and the sums of deviations from it and of their squares.
  const Tensor<T> partial({g.S * chunks, 3, C});
  detail::for_norm_chunks(g, [&](index_t chunk, index_t, index_t first, index_t rows) {
    const T* in = x.data + first * C;
    T *centre = partial.data() + chunk * 3 * C, *sum = centre + C, *squares = sum + C;
    for (index_t c = 0; c < 3 * C; ++c) centre[c] = 0;
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      detail::for_row_groups<T>(rows, C, [&](index_t r, auto group, index_t c, auto count) SEGNET_INLINE_LAMBDA {
        const T* p = in + r * C + c;
        for (int k = 0; k < group(); ++k) prefetch_ahead(p + k * C);
        assign<count()>(centre + c, [&](int i) SEGNET_INLINE_LAMBDA {
          if constexpr (group() == 4) return centre[c + i] + ((p[i] + p[C + i]) + (p[2 * C + i] + p[3 * C + i]));
          else return centre[c + i] + p[i];
        });
      });
      for (index_t c = 0; c < C; ++c) centre[c] /= static_cast<T>(rows);
      detail::for_row_groups<T>(rows, C, [&](index_t r, auto group, index_t c, auto count) SEGNET_INLINE_LAMBDA {
        const T* p = in + r * C + c;
        T mean[count()], deviations[count()] = {}, squared[count()] = {};
        for (int i = 0; i < count(); ++i) mean[i] = centre[c + i];
        for (int k = 0; k < group(); ++k)
          for (int i = 0; i < count(); ++i) {
            const T d = p[k * C + i] - mean[i];
            deviations[i] += d;
            squared[i] += d * d;
          }
        assign<count()>(sum + c, [&](int i) SEGNET_INLINE_LAMBDA { return sum[c + i] + deviations[i]; });
        assign<count()>(squares + c, [&](int i) SEGNET_INLINE_LAMBDA { return squares[c + i] + squared[i]; });
      });
    });
  });
  // The chunks of a set are joined around their common mean, in order.
  detail::for_joint_blocks(g, C, [&](index_t s, index_t first, index_t count) {
    const auto each_chunk = [&](const auto& f) {  // f(i, rows, mean, squared deviations)
      for (index_t chunk = 0; chunk < chunks; ++chunk) {
        const T *centre = partial.data() + (s * chunks + chunk) * 3 * C + first, *sum = centre + C, *squares = sum + C;
        const double rows = static_cast<double>(std::min(size, g.P - chunk * size));
        for (index_t i = 0; i < count; ++i) {
          const double left = static_cast<double>(sum[i]) / rows;
          f(i, rows, static_cast<double>(centre[i]) + left, static_cast<double>(squares[i]) - rows * left * left);
        }
      }
    };
    double mean[16] = {}, squares[16] = {};
    each_chunk([&](index_t i, double rows, double m, double) { mean[i] += rows * m; });
    for (double& m : mean) m /= static_cast<double>(std::max<index_t>(g.P, 1));
    each_chunk([&](index_t i, double rows, double m, double q) { squares[i] += q + rows * (m - mean[i]) * (m - mean[i]); });
    for (index_t i = 0; i < count; ++i) {
      moments.data[s * 2 * C + first + i] = mean[i];
      moments.data[(s * 2 + 1) * C + first + i] = squares[i];
    }
  });
}

namespace detail {
template <class T>
SEGNET_HOST_DEVICE void put_norm_coefficients(double mean, double variance, double eps, const T* weight, const T* bias, index_t c,
                                              index_t C, T* rows) {
  const T centre = static_cast<T>(mean);
  const double rest = static_cast<double>(centre) - mean, rstd = 1 / std::sqrt(variance + eps);
  const double factor = weight ? static_cast<double>(weight[c]) * rstd : rstd;
  rows[norm_centre * C + c] = centre;
  rows[norm_rest * C + c] = static_cast<T>(rest);
  rows[norm_rstd * C + c] = static_cast<T>(rstd);
  rows[norm_factor * C + c] = static_cast<T>(factor);
  rows[norm_offset * C + c] = static_cast<T>((bias ? static_cast<double>(bias[c]) : 0) + rest * factor);
}
}  // namespace detail

/// Coefficients [S, 5, C] from moments [S, 2, C] over P pixels, `groups` groups of C / groups channels sharing theirs.
/// weight and bias are [C], or have no data.
template <class T>
void norm_coefficients(const NormGeometry& g, View<const double> moments, index_t groups, ConstView<T> weight, ConstView<T> bias,
                       double eps, View<T> coefficients) {
  const index_t C = g.C, size = C / groups;
  for (index_t i = 0; i < g.S * groups; ++i) {
    const index_t s = i / groups, c0 = i % groups * size;
    const double *means = moments.data + s * 2 * C + c0, *squares = means + C;
    double mean = 0, square = 0;
    for (index_t c = 0; c < size; ++c) mean += means[c] / static_cast<double>(size);
    for (index_t c = 0; c < size; ++c) square += squares[c] + (means[c] - mean) * (means[c] - mean) * static_cast<double>(g.P);
    const double variance = square / static_cast<double>(std::max<index_t>(g.P * size, 1));
    for (index_t c = c0; c < c0 + size; ++c)
      detail::put_norm_coefficients(mean, variance, eps, weight.data, bias.data, c, C, coefficients.data + s * norm_rows * C);
  }
}

/// The same from given statistics [C], as in inference: one set.
template <class T>
void norm_coefficients(ConstView<T> mean, ConstView<T> variance, ConstView<T> weight, ConstView<T> bias, double eps, View<T> coefficients) {
  const index_t C = mean.size();
  for (index_t c = 0; c < C; ++c)
    detail::put_norm_coefficients(static_cast<double>(mean[c]), static_cast<double>(variance[c]), eps, weight.data, bias.data, c, C,
                                  coefficients.data);
}

/// running = (1 - momentum) * running + momentum * (mean over the sets of their mean, and of their unbiased variance).
template <class T>
void update_running_statistics(const NormGeometry& g, View<const double> moments, double momentum, View<T> running_mean,
                               View<T> running_var) {
  const index_t C = g.C;
  for (index_t c = 0; c < C; ++c) {
    double mean = 0, variance = 0;
    for (index_t s = 0; s < g.S; ++s) {
      mean += moments[s * 2 * C + c] / static_cast<double>(g.S);
      variance += moments[(s * 2 + 1) * C + c] / static_cast<double>(g.S * (g.P - 1));
    }
    running_mean[c] = static_cast<T>((1 - momentum) * static_cast<double>(running_mean[c]) + momentum * mean);
    running_var[c] = static_cast<T>((1 - momentum) * static_cast<double>(running_var[c]) + momentum * variance);
  }
}

/// y = (x - centre) * factor + offset; with `relu`, max(0, that).
template <class T>
void normalize_channels(const NormGeometry& g, ConstView<T> x, ConstView<T> coefficients, bool relu, View<T> y) {
  const index_t C = g.C;
  detail::for_norm_chunks(g, [&](index_t, index_t s, index_t first, index_t rows) {
    const T *centre = coefficients.data + s * norm_rows * C, *factor = centre + norm_factor * C, *offset = centre + norm_offset * C;
    const auto run = [&](auto clip) SEGNET_INLINE_LAMBDA {
      for (index_t r = first; r < first + rows; ++r)
        for_channels<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          const T* in = x.data + r * C + c;
          assign<count()>(y.data + r * C + c, [&](int i) SEGNET_INLINE_LAMBDA {
            const T z = (in[i] - centre[c + i]) * factor[c + i] + offset[c + i];
            return clip() && z <= 0 ? T(0) : z;
          });
        });
    };
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      if (relu) run(std::true_type{});
      else run(std::false_type{});
    });
  });
}

/// What the backward pass needs to know of dy: sums[s, 0, c] = sum over P of dy, sums[s, 1, c] = sum over P of dy * (x - centre). With
/// `relu`, dy counts only where the forward pass was positive, which is computed again from x.
template <class T>
void channel_gradient_sums(const NormGeometry& g, ConstView<T> dy, ConstView<T> x, ConstView<T> coefficients, bool relu,
                           View<double> sums) {
  const index_t C = g.C;
  const Tensor<T> partial({g.S * g.chunks(), 2, C});
  detail::for_norm_chunks(g, [&](index_t chunk, index_t s, index_t first, index_t rows) {
    const T *centre = coefficients.data + s * norm_rows * C, *factor = centre + norm_factor * C, *offset = centre + norm_offset * C;
    T *plain = partial.data() + chunk * 2 * C, *weighted = plain + C;
    for (index_t c = 0; c < 2 * C; ++c) plain[c] = 0;
    const auto run = [&](auto clip) SEGNET_INLINE_LAMBDA {
      detail::for_row_groups<T>(rows, C, [&](index_t r, auto group, index_t c, auto count) SEGNET_INLINE_LAMBDA {
        const T *in = x.data + (first + r) * C + c, *gradient = dy.data + (first + r) * C + c;
        for (int k = 0; k < group(); ++k) {
          prefetch_ahead(in + k * C);
          prefetch_ahead(gradient + k * C);
        }
        T a[count()] = {}, b[count()] = {};
        for (int k = 0; k < group(); ++k)
          for (int i = 0; i < count(); ++i) {
            const T d = in[k * C + i] - centre[c + i];
            T u = gradient[k * C + i];
            if constexpr (clip()) u = math::select(d * factor[c + i] + offset[c + i] > 0, u, T(0));
            a[i] += u;
            b[i] += u * d;
          }
        assign<count()>(plain + c, [&](int i) SEGNET_INLINE_LAMBDA { return plain[c + i] + a[i]; });
        assign<count()>(weighted + c, [&](int i) SEGNET_INLINE_LAMBDA { return weighted[c + i] + b[i]; });
      });
    };
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      if (relu) run(std::true_type{});
      else run(std::false_type{});
    });
  });
  detail::add_chunks(g, 2 * C, partial.data(), sums.data);
}

/// Gradients of weight and bias, and the rows (a, b, k) of dx = a * dy + b * (x - centre) + k as `dx_coefficients` [S, 3, C]. For each
/// set and group of n = P * C / groups elements, with u = dy * weight and xhat = (x - centre) * rstd:
///
///   dx = rstd * (u - mean(u) - xhat * mean(u * xhat))
///
/// Outputs without data are not wanted.
template <class T>
void norm_backward_coefficients(const NormGeometry& g, View<const double> sums, ConstView<T> coefficients, index_t groups,
                                ConstView<T> weight, View<T> dweight, View<T> dbias, View<T> dx_coefficients) {
  const index_t C = g.C, size = C / groups;
  const double n = static_cast<double>(std::max<index_t>(g.P * size, 1));
  const auto coefficient = [&](index_t s, NormRow row, index_t c) {
    return static_cast<double>(coefficients[(s * norm_rows + row) * C + c]);
  };
  const auto sum = [&](index_t s, index_t c) { return sums[s * 2 * C + c]; };
  const auto sum_x = [&](index_t s, index_t c) {  // of dy * (x - mean)
    return sums[(s * 2 + 1) * C + c] + coefficient(s, norm_rest, c) * sum(s, c);
  };
  for (index_t c = 0; c < C; ++c) {
    double dw = 0, db = 0;
    for (index_t s = 0; s < g.S; ++s) {
      db += sum(s, c);
      dw += sum_x(s, c) * coefficient(s, norm_rstd, c);
    }
    if (dweight) dweight[c] = static_cast<T>(dw);
    if (dbias) dbias[c] = static_cast<T>(db);
  }
  if (!dx_coefficients) return;
  for (index_t i = 0; i < g.S * groups; ++i) {
    const index_t s = i / groups, c0 = i % groups * size;
    const double rstd = coefficient(s, norm_rstd, c0);
    double u = 0, u_x = 0;
    for (index_t c = c0; c < c0 + size; ++c) {
      const double w = weight ? static_cast<double>(weight[c]) : 1;
      u += w * sum(s, c);
      u_x += w * sum_x(s, c);
    }
    T *a = dx_coefficients.data + s * 3 * C, *b = a + C, *k = b + C;
    for (index_t c = c0; c < c0 + size; ++c) {
      const double slope = -rstd * rstd * rstd * u_x / n;
      a[c] = coefficients[(s * norm_rows + norm_factor) * C + c];
      b[c] = static_cast<T>(slope);
      k[c] = static_cast<T>(slope * coefficient(s, norm_rest, c) - rstd * u / n);
    }
  }
}

/// dx = a * dy + b * (x - centre) + k, dy counting as in `channel_gradient_sums`; or, where the statistics were given and
/// `dx_coefficients` has no data, dx = factor * dy, which without `relu` does not read x. dx may be dy.
template <class T>
void normalize_channels_backward(const NormGeometry& g, ConstView<T> dy, ConstView<T> x, ConstView<T> coefficients,
                                 ConstView<T> dx_coefficients, bool relu, View<T> dx) {
  const index_t C = g.C;
  detail::for_norm_chunks(g, [&](index_t, index_t s, index_t first, index_t rows) {
    const T *centre = coefficients.data + s * norm_rows * C, *factor = centre + norm_factor * C, *offset = centre + norm_offset * C;
    const T *a = dx_coefficients ? dx_coefficients.data + s * 3 * C : factor, *b = a + C, *k = b + C;
    const auto run = [&](auto clip, auto constant) SEGNET_INLINE_LAMBDA {
      for (index_t r = first; r < first + rows; ++r)
        for_channels_once<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          const T *in = x.data + r * C + c, *gradient = dy.data + r * C + c;
          prefetch_ahead(gradient);
          if constexpr (clip() || !constant()) prefetch_ahead(in);
          assign<count()>(dx.data + r * C + c, [&](int i) SEGNET_INLINE_LAMBDA {
            T u = gradient[i];
            if constexpr (clip()) u = math::select((in[i] - centre[c + i]) * factor[c + i] + offset[c + i] > 0, u, T(0));
            if constexpr (constant()) return factor[c + i] * u;
            else return a[c + i] * u + (b[c + i] * (in[i] - centre[c + i]) + k[c + i]);
          });
        });
    };
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      if (relu && dx_coefficients) run(std::true_type{}, std::false_type{});
      else if (relu) run(std::true_type{}, std::true_type{});
      else if (dx_coefficients) run(std::false_type{}, std::false_type{});
      else run(std::false_type{}, std::true_type{});
    });
  });
}

// The same on the GPU: cuda/normalization.cuh. Coefficients are of the type that is computed with, float for bfloat16.
template <class T>
void channel_moments(const NormGeometry& g, ConstView<T, Cuda> x, View<double, Cuda> moments);
template <class T>
void norm_coefficients(const NormGeometry& g, View<const double, Cuda> moments, index_t groups, ConstView<T, Cuda> weight,
                       ConstView<T, Cuda> bias, double eps, View<T, Cuda> coefficients);
template <class T>
void norm_coefficients(ConstView<T, Cuda> mean, ConstView<T, Cuda> variance, ConstView<T, Cuda> weight, ConstView<T, Cuda> bias, double eps,
                       View<T, Cuda> coefficients);
template <class T>
void update_running_statistics(const NormGeometry& g, View<const double, Cuda> moments, double momentum, View<T, Cuda> running_mean,
                               View<T, Cuda> running_var);
template <class T>
void normalize_channels(const NormGeometry& g, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> coefficients, bool relu, View<T, Cuda> y);
template <class T>
void channel_gradient_sums(const NormGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> coefficients,
                           bool relu, View<double, Cuda> sums);
template <class T>
void norm_backward_coefficients(const NormGeometry& g, View<const double, Cuda> sums, ConstView<T, Cuda> coefficients, index_t groups,
                                ConstView<T, Cuda> weight, View<T, Cuda> dweight, View<T, Cuda> dbias, View<T, Cuda> dx_coefficients);
template <class T>
void normalize_channels_backward(const NormGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x,
                                 ConstView<Master<T>, Cuda> coefficients, ConstView<Master<T>, Cuda> dx_coefficients, bool relu,
                                 View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_NORMALIZATION(TEMPLATE, T)                                                                            \
  TEMPLATE void channel_moments<T>(const NormGeometry&, ConstView<T>, View<double>);                                         \
  TEMPLATE void normalize_channels(const NormGeometry&, ConstView<T>, ConstView<T>, bool, View<T>);                          \
  TEMPLATE void channel_gradient_sums<T>(const NormGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, bool, View<double>); \
  TEMPLATE void normalize_channels_backward(const NormGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, bool, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_NORMALIZATION)

}  // namespace segnet::kernels
