// How losses add up: fixed chunks, partial sums in double, combined in order. Same bits for any number of threads. The sum, and what is
// computed from it, stay on the device of the losses.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"

namespace segnet {

/// What becomes of the losses of single elements.
enum class Reduction {
  mean,  ///< their (weighted) average, a scalar
  sum,   ///< their sum, a scalar
  none   ///< each by itself
};

namespace kernels {

struct LossSum {
  double loss = 0;
  double weight = 0;       ///< what `mean` divides by
  index_t bad_label = -1;  ///< position of the first label that is no class
};

/// Calls f(begin, end, sum) over chunks of [0, n) and adds up what they leave in their `sum`.
template <class F>
[[nodiscard]] LossSum sum_losses(index_t n, index_t chunk, const F& f) {
  std::vector<LossSum> partial(static_cast<std::size_t>((n + chunk - 1) / chunk));
  parallel_for(n, chunk, [&](index_t begin, index_t end) { f(begin, end, partial[static_cast<std::size_t>(begin / chunk)]); });
  LossSum total;
  for (const LossSum& p : partial) {
    total.loss += p.loss;
    total.weight += p.weight;
    if (total.bad_label < 0) total.bad_label = p.bad_label;
  }
  return total;
}

/// What a sum of losses becomes, and its derivative with respect to the loss of one element.
struct ReducedLoss {
  double value, slope;
};
/// `mean` over nothing is 0/0 = NaN as in PyTorch, or 0 with `zero_if_empty`. A bad label makes both NaN.
[[nodiscard]] SEGNET_HOST_DEVICE inline ReducedLoss reduced_loss(const LossSum& sum, Reduction reduction, bool zero_if_empty) {
  if (sum.bad_label >= 0) return {NAN, NAN};
  if (reduction != Reduction::mean) return {sum.loss, 1};
  if (zero_if_empty && sum.weight == 0) return {0, 0};
  return {sum.loss / sum.weight, 1 / sum.weight};
}

/// value and slope: one element each.
template <class T>
void reduce_loss(View<const LossSum, Cpu> sum, Reduction reduction, bool zero_if_empty, View<T, Cpu> value, View<T, Cpu> slope) {
  const ReducedLoss reduced = reduced_loss(sum[0], reduction, zero_if_empty);
  value[0] = static_cast<T>(reduced.value);
  slope[0] = static_cast<T>(reduced.slope);
}
template <class T>  // cuda/loss_sum.cuh
void reduce_loss(View<const LossSum, Cuda> sum, Reduction reduction, bool zero_if_empty, View<T, Cuda> value, View<T, Cuda> slope);

/// The gradient that reaches the loss of element i: its own, or, behind a sum or mean, the only one times the slope.
template <class T>
struct Upstream {
  const T* dy;
  const T* slope;  ///< null: dy has one element per loss

  SEGNET_HOST_DEVICE bool same_for_all() const { return slope != nullptr; }
  SEGNET_HOST_DEVICE T operator()(index_t i) const { return slope ? dy[0] * slope[0] : dy[i]; }
};

/// found.bad_label = the first label that is neither a class nor ignore_index, or -1.
template <class Label>
void find_bad_label(View<const Label, Cpu> labels, index_t C, index_t ignore_index, View<LossSum, Cpu> found) {
  found[0] = sum_losses(labels.size(), 65536, [=](index_t begin, index_t end, LossSum& sum) {
    for (index_t i = begin; i < end && sum.bad_label < 0; ++i) {
      const index_t label = static_cast<index_t>(labels[i]);
      if ((label < 0 || label >= C) && label != ignore_index) sum.bad_label = i;
    }
  });
}
template <class Label>  // cuda/loss_sum.cuh
void find_bad_label(View<const Label, Cuda> labels, index_t C, index_t ignore_index, View<LossSum, Cuda> found);

}  // namespace kernels
}  // namespace segnet
