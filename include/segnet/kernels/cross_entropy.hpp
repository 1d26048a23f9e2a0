// Cross entropy of logits, fused: one pass over the logits forward, one backward, no probabilities in memory.
//
// Notation, per row (pixel) of C logits x with label t:  m = max x, s = sum exp(x - m), p = exp(x - m) / s,
// nll = -log p_t = log s - (x_t - m). The rows' m and s are kept for the backward pass: 2 / C of the logits' memory.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/kernels/loss_sum.hpp"
#include "segnet/kernels/softmax.hpp"

namespace segnet::kernels {

/// Labels of rows, and what they weigh.
template <class T, class Label>
struct RowLabels {
  const Label* target;    // [rows]
  const T* class_weight;  // [C], or null: all 1
  index_t C;
  index_t ignore_index;

  SEGNET_HOST_DEVICE index_t label(index_t row) const { return static_cast<index_t>(target[row]); }
  SEGNET_HOST_DEVICE bool ignored(index_t row) const { return label(row) == ignore_index; }
  SEGNET_HOST_DEVICE bool valid(index_t row) const { return label(row) >= 0 && label(row) < C; }
  SEGNET_HOST_DEVICE T weight(index_t c) const { return class_weight ? class_weight[c] : T(1); }
};

/// The loss of one row as a function of its nll and of what label smoothing adds.
template <class T>
struct CrossEntropyTerms {
  T smoothing = 0;  ///< e: (1 - e) w_t nll + e / C sum_c w_c (-log p_c)
  T gamma = 0;      ///< focal loss, w_t (1 - p_t)^gamma nll (Lin et al., arXiv:1708.02002); without smoothing

  SEGNET_HOST_DEVICE T loss(T weight, T nll) const {
    if (gamma == T(0)) return (T(1) - smoothing) * weight * nll;
    return weight * std::pow(-std::expm1(-nll), gamma) * nll;
  }
  /// d loss / d nll
  SEGNET_HOST_DEVICE T slope(T weight, T nll) const {
    if (gamma == T(0)) return (T(1) - smoothing) * weight;
    const T p = std::exp(-nll), q = -std::expm1(-nll);
    // q^(gamma - 1) nll stays finite as q -> 0, where nll ~ q.
    const T ratio = q > T(0) ? nll / q : T(1);
    return weight * std::pow(q, gamma) * (T(1) + gamma * p * ratio);
  }
};

namespace detail {

/// Rows that a chunk of work holds: whole tiles, about 128 KiB of logits.
[[nodiscard]] inline index_t cross_entropy_chunk(index_t C) {
  return std::max<index_t>(1, 32768 / (std::max<index_t>(C, 1) * row_tile_width)) * row_tile_width;
}

/// m and s of `rows` <= row_tile_width rows. Logits before `end` may be read.
template <Isa isa, class T>
SEGNET_INLINE void exp_sum_rows(const T* x, index_t rows, index_t C, const T* end, T* tile, T* top, T* sum) {
  if (C <= forward_tile_channels) {
    load_row_tile<isa>(x, rows, C, end, tile);
    T tops[row_tile_width], sums[row_tile_width];
    exp_sum_columns(tile, C, row_tile_width, row_tile_width, tops, sums, static_cast<T*>(nullptr));
    for (index_t r = 0; r < rows; ++r) top[r] = tops[r], sum[r] = sums[r];
    return;
  }
  T tops[row_tile_width], sums[row_tile_width];
  RowBlocks<T> blocks(C);
  blocks.load(x, rows);
  max_of_rows<isa>(x, blocks, rows, tops);
  exp_sum_of_rows<isa>(x, blocks, rows, tops, sums, static_cast<T*>(nullptr));
  for (index_t r = 0; r < rows; ++r) top[r] = tops[r], sum[r] = sums[r];
}

/// dx = scale exp(x - top), for `rows` <= row_tile_width rows.
template <Isa isa, class T>
SEGNET_INLINE void scaled_exp_rows(const T* x, index_t rows, index_t C, const T* end, const T* top, const T* scale, T* tile, T* dx) {
  if (C <= forward_tile_channels) {
    T tops[row_tile_width] = {}, scales[row_tile_width] = {};
    for (index_t r = 0; r < rows; ++r) tops[r] = top[r], scales[r] = scale[r];
    load_row_tile<isa>(x, rows, C, end, tile);
    for (index_t c = 0; c < C; ++c) {
      T* column = tile + c * row_tile_width;
      SEGNET_SIMD
      for (index_t j = 0; j < row_tile_width; ++j) column[j] = scales[j] * math::exp(column[j] - tops[j]);
    }
    store_row_tile<isa>(tile, rows, C, dx);
    return;
  }
  RowBlocks<T> blocks(C);
  blocks.load(x, rows);
  for (index_t r = 0; r < rows; ++r) {
    const T m = top[r], a = scale[r];
    for (index_t c = 0; c < C; c += row_lanes) {
      const T* xc = blocks(x, r, c);
      T* yc = blocks(dx, r, c);
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) yc[j] = a * math::exp(xc[j] - m);
    }
  }
  blocks.store(dx, rows);
}

/// The sum of f(c) for c = 0 ... C - 1, in eight partial sums.
template <class T, class F>
SEGNET_INLINE T sum_over_classes(index_t C, const F& f) {
  T lane[8] = {};
  index_t c = 0;
  for (; c + 8 <= C; c += 8)
    for (index_t j = 0; j < 8; ++j) lane[j] += f(c + j);
  for (index_t j = 0; c < C; ++c, ++j) lane[j] += f(c);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

template <class T>
[[nodiscard]] T class_weight_sum(const T* class_weight, index_t C) {
  T sum = 0;
  for (index_t c = 0; c < C; ++c) sum += class_weight ? class_weight[c] : T(1);
  return sum;
}

}  // namespace detail

/// Forward. x [rows, C]; m, s [rows] are assigned; loss [rows] too, unless it is null. sum: of the losses and of the weights of all
/// labels that are not ignored, with the first bad label if there is one (then the rest is unspecified).
template <class T, class Label>
void cross_entropy(View<const T, Cpu> x, const RowLabels<T, Label>& labels, const CrossEntropyTerms<T>& terms, View<T, Cpu> m,
                   View<T, Cpu> s, View<T, Cpu> loss, View<LossSum, Cpu> sum) {
  const index_t rows = m.size(), C = labels.C;
  sum[0] = sum_losses(rows, detail::cross_entropy_chunk(C), [&](index_t begin, index_t end, LossSum& total) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      alignas(64) T tile[row_tile_max_channels * row_tile_width] = {};
      T log_s[row_tile_width];
      for (index_t first = begin; first < end; first += row_tile_width) {
        const index_t count = std::min(row_tile_width, end - first);
        detail::exp_sum_rows<isa.value>(x.data + first * C, count, C, x.data + rows * C, tile, m.data + first, s.data + first);
        SEGNET_SIMD
        for (index_t j = 0; j < count; ++j) log_s[j] = math::log(s.data[first + j]);
        for (index_t j = 0; j < count; ++j) {
          const index_t row = first + j;
          const T* xr = x.data + row * C;
          T value = 0;
          if (!labels.ignored(row)) {
            if (!labels.valid(row)) {
              if (total.bad_label < 0) total.bad_label = row;
              continue;
            }
            const index_t t = labels.label(row);
            const T nll = log_s[j] - (xr[t] - m[row]), weight = labels.weight(t);
            value = terms.loss(weight, nll);
            if (terms.smoothing != T(0)) {
              const T all = detail::sum_over_classes<T>(
                  C, [&](index_t c) SEGNET_INLINE_LAMBDA { return labels.weight(c) * (log_s[j] - (xr[c] - m[row])); });
              value += terms.smoothing / static_cast<T>(C) * all;
            }
            total.loss += static_cast<double>(value);
            total.weight += static_cast<double>(weight);
          }
          if (loss) loss[row] = value;
        }
      }
    });
  });
}

/// The same on the GPU (cuda/cross_entropy.cuh), where m, s, loss are of type Master<T>. The loss of a bad label is NaN.
template <class T, class Label>
void cross_entropy(View<const T, Cuda> x, const RowLabels<Master<T>, Label>& labels, const CrossEntropyTerms<Master<T>>& terms,
                   View<Master<T>, Cuda> m, View<Master<T>, Cuda> s, View<Master<T>, Cuda> loss, View<LossSum, Cuda> sum);

/// Backward. With a = d loss / d nll and g the row's upstream gradient:
///   dx_c = g ((a + e / C sum w) p_c - a [c = t] - e / C w_c);   0 in ignored rows, whatever their logits are.
template <class T, class Label>
void cross_entropy_grad(View<const T, Cpu> x, const RowLabels<T, Label>& labels, const CrossEntropyTerms<T>& terms, View<const T, Cpu> m,
                        View<const T, Cpu> s, const Upstream<T>& upstream, View<T, Cpu> dx) {
  const index_t rows = m.size(), C = labels.C;
  const T smooth = terms.smoothing / static_cast<T>(C), smooth_all = smooth * detail::class_weight_sum(labels.class_weight, C);
  parallel_for(rows, detail::cross_entropy_chunk(C), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      alignas(64) T tile[row_tile_max_channels * row_tile_width] = {};
      T a[row_tile_width], scale[row_tile_width];
      for (index_t first = begin; first < end; first += row_tile_width) {
        const index_t count = std::min(row_tile_width, end - first);
        for (index_t j = 0; j < count; ++j) {
          const index_t row = first + j;
          a[j] = scale[j] = 0;
          if (labels.ignored(row)) continue;
          const T g = upstream(row);
          const index_t t = labels.label(row);
          const T nll = terms.gamma == T(0) ? T(0) : math::log(s[row]) - (x[row * C + t] - m[row]);
          a[j] = g * terms.slope(labels.weight(t), nll);
          scale[j] = (a[j] + g * smooth_all) / s[row];
        }
        T* to = dx.data + first * C;
        detail::scaled_exp_rows<isa.value>(x.data + first * C, count, C, x.data + rows * C, m.data + first, scale, tile, to);
        for (index_t j = 0; j < count; ++j, to += C) {
          const index_t row = first + j;
          if (labels.ignored(row)) {
            for (index_t c = 0; c < C; ++c) to[c] = T(0);
            continue;
          }
          to[labels.label(row)] -= a[j];
          if (smooth != T(0)) {
            const T g = upstream(row) * smooth;
            for (index_t c = 0; c < C; ++c) to[c] -= g * labels.weight(c);
          }
        }
      }
    });
  });
}

template <class T, class Label>  // cuda/cross_entropy.cuh
void cross_entropy_grad(View<const T, Cuda> x, const RowLabels<Master<T>, Label>& labels, const CrossEntropyTerms<Master<T>>& terms,
                        View<const Master<T>, Cuda> m, View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream,
                        View<T, Cuda> dx);

/// Targets that are probabilities: with t' = (1 - e) t + e / C, the loss of a row is sum_c w_c t'_c (-log p_c).
template <class T>
struct RowProbabilities {
  using A = Master<T>;
  const T* target;        // [rows, C]
  const A* class_weight;  // [C], or null: all 1
  index_t C;
  A smoothing;  // e

  SEGNET_HOST_DEVICE A weight(index_t c) const { return class_weight ? class_weight[c] : A(1); }
  /// w_c t'_c of t_c
  SEGNET_HOST_DEVICE A smoothed(index_t c, A t) const { return weight(c) * ((A(1) - smoothing) * t + smoothing / static_cast<A>(C)); }
  SEGNET_HOST_DEVICE A weighted(index_t row, index_t c) const { return smoothed(c, target[row * C + c]); }
};

/// Forward. x [rows, C]; m, s [rows] are assigned; loss [rows] too, unless it is null. sum: of the losses, and the number of rows.
template <class T>
void cross_entropy_probabilities(View<const T, Cpu> x, const RowProbabilities<T>& targets, View<T, Cpu> m, View<T, Cpu> s,
                                 View<T, Cpu> loss, View<LossSum, Cpu> sum) {
  const index_t rows = m.size(), C = targets.C;
  sum[0] = sum_losses(rows, detail::cross_entropy_chunk(C), [&](index_t begin, index_t end, LossSum& total) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      alignas(64) T tile[row_tile_max_channels * row_tile_width] = {};
      for (index_t first = begin; first < end; first += row_tile_width) {
        const index_t count = std::min(row_tile_width, end - first);
        detail::exp_sum_rows<isa.value>(x.data + first * C, count, C, x.data + rows * C, tile, m.data + first, s.data + first);
        for (index_t row = first; row < first + count; ++row) {
          const T *xr = x.data + row * C, log_s = math::log(s[row]);
          const T value = detail::sum_over_classes<T>(
              C, [&](index_t c) SEGNET_INLINE_LAMBDA { return targets.weighted(row, c) * (log_s - (xr[c] - m[row])); });
          total.loss += static_cast<double>(value);
          if (loss) loss[row] = value;
        }
      }
    });
  });
  sum[0].weight = static_cast<double>(rows);
}
template <class T>  // cuda/cross_entropy.cuh
void cross_entropy_probabilities(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<Master<T>, Cuda> m,
                                 View<Master<T>, Cuda> s, View<Master<T>, Cuda> loss, View<LossSum, Cuda> sum);

/// Backward to the logits: dx_c = g (p_c sum(w t') - w_c t'_c), g as in `cross_entropy_grad`.
template <class T>
void cross_entropy_probabilities_grad(View<const T, Cpu> x, const RowProbabilities<T>& targets, View<const T, Cpu> m, View<const T, Cpu> s,
                                      const Upstream<T>& upstream, View<T, Cpu> dx) {
  const index_t rows = m.size(), C = targets.C;
  parallel_for(rows, detail::cross_entropy_chunk(C), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      alignas(64) T tile[row_tile_max_channels * row_tile_width] = {};
      T scale[row_tile_width];
      for (index_t first = begin; first < end; first += row_tile_width) {
        const index_t count = std::min(row_tile_width, end - first);
        for (index_t j = 0; j < count; ++j) {
          const index_t row = first + j;
          const T all = detail::sum_over_classes<T>(C, [&](index_t c) SEGNET_INLINE_LAMBDA { return targets.weighted(row, c); });
          scale[j] = upstream(row) * all / s[row];
        }
        T* to = dx.data + first * C;
        detail::scaled_exp_rows<isa.value>(x.data + first * C, count, C, x.data + rows * C, m.data + first, scale, tile, to);
        for (index_t row = first; row < first + count; ++row, to += C) {
          const T g = upstream(row);
          SEGNET_SIMD
          for (index_t c = 0; c < C; ++c) to[c] -= g * targets.weighted(row, c);
        }
      }
    });
  });
}

template <class T>  // cuda/cross_entropy.cuh
void cross_entropy_probabilities_grad(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<const Master<T>, Cuda> m,
                                      View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream, View<T, Cuda> dx);

/// Backward to the targets: dt_c = g (1 - e) w_c (-log p_c)
template <class T>
void cross_entropy_target_grad(View<const T, Cpu> x, const RowProbabilities<T>& targets, View<const T, Cpu> m, View<const T, Cpu> s,
                               const Upstream<T>& upstream, View<T, Cpu> dt) {
  const index_t rows = m.size(), C = targets.C;
  parallel_for(rows, detail::cross_entropy_chunk(C), [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row) {
        const T g = upstream(row) * (T(1) - targets.smoothing), log_s = math::log(s[row]), top = m[row];
        const T* xr = x.data + row * C;
        T* to = dt.data + row * C;
        SEGNET_SIMD
        for (index_t c = 0; c < C; ++c) to[c] = g * targets.weight(c) * (log_s - (xr[c] - top));
      }
    });
  });
}

template <class T>  // cuda/cross_entropy.cuh
void cross_entropy_target_grad(View<const T, Cuda> x, const RowProbabilities<T>& targets, View<const Master<T>, Cuda> m,
                               View<const Master<T>, Cuda> s, const Upstream<Master<T>>& upstream, View<T, Cuda> dt);

/// Loss of log-probabilities [rows, C]: -w_t log_p_t per row. loss [rows] is assigned, unless it is null; sum as in `cross_entropy`.
template <class T, class Label>
void nll_loss(View<const T, Cpu> log_p, const RowLabels<T, Label>& labels, index_t rows, View<T, Cpu> loss, View<LossSum, Cpu> sum) {
  sum[0] = sum_losses(rows, 16384, [&](index_t begin, index_t end, LossSum& total) {
    for (index_t row = begin; row < end; ++row) {
      T value = 0;
      if (!labels.ignored(row)) {
        if (!labels.valid(row)) {
          if (total.bad_label < 0) total.bad_label = row;
          continue;
        }
        const index_t t = labels.label(row);
        value = -labels.weight(t) * log_p[row * labels.C + t];
        total.loss += static_cast<double>(value);
        total.weight += static_cast<double>(labels.weight(t));
      }
      if (loss) loss[row] = value;
    }
  });
}

template <class T, class Label>  // cuda/cross_entropy.cuh
void nll_loss(View<const T, Cuda> log_p, const RowLabels<Master<T>, Label>& labels, index_t rows, View<Master<T>, Cuda> loss,
              View<LossSum, Cuda> sum);

/// d log_p: -g w_t at the label, 0 elsewhere.
template <class T, class Label>
void nll_loss_grad(const RowLabels<T, Label>& labels, index_t rows, const Upstream<T>& upstream, View<T, Cpu> dx) {
  parallel_for(rows, detail::cross_entropy_chunk(labels.C), [&](index_t begin, index_t end) {
    for (index_t i = begin * labels.C; i < end * labels.C; ++i) dx[i] = T(0);
    for (index_t row = begin; row < end; ++row)
      if (!labels.ignored(row)) dx[row * labels.C + labels.label(row)] = -upstream(row) * labels.weight(labels.label(row));
  });
}
template <class T, class Label>  // cuda/cross_entropy.cuh
void nll_loss_grad(const RowLabels<Master<T>, Label>& labels, index_t rows, const Upstream<Master<T>>& upstream, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_CROSS_ENTROPY(TEMPLATE, T)                                                                                       \
  TEMPLATE void cross_entropy(View<const T>, const RowLabels<T, std::int64_t>&, const CrossEntropyTerms<T>&, View<T>, View<T>, View<T>, \
                              View<LossSum>);                                                                                           \
  TEMPLATE void cross_entropy_grad(View<const T>, const RowLabels<T, std::int64_t>&, const CrossEntropyTerms<T>&, View<const T>,        \
                                   View<const T>, const Upstream<T>&, View<T>);                                                         \
  TEMPLATE void cross_entropy_probabilities(View<const T>, const RowProbabilities<T>&, View<T>, View<T>, View<T>, View<LossSum>);       \
  TEMPLATE void cross_entropy_probabilities_grad(View<const T>, const RowProbabilities<T>&, View<const T>, View<const T>,               \
                                                 const Upstream<T>&, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_CROSS_ENTROPY)

}  // namespace segnet::kernels
