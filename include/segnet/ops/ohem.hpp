// Online hard example mining: the loss of those pixels that the network is not sure of.
#pragma once

#include <algorithm>
#include <cmath>

#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/reduction.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/sort.hpp"

namespace segnet {

struct OhemOptions {
  double threshold = 0.7;     ///< pixels whose label has a probability of at least this are easy
  index_t min_kept = 100000;  ///< pixels of the batch that are kept, however easy
};

namespace detail {

/// Where pixels are easy or ignored, from h = -log p[t] of each (0 where it is ignored), which tells apart what p rounds to 1.
/// NaN is not easy, so that it shows. Nothing waits for the GPU.
template <class T, class D, class Label>
[[nodiscard]] Tensor<bool, D> easy_pixels(const Tensor<T, D>& h, const Tensor<Label, D>& target, index_t ignore_index,
                                          const OhemOptions& hard) {
  // The last one kept, or where fewer are labelled, the easiest of these: ignored pixels come last in order.
  const index_t last = std::min(hard.min_kept, h.numel() - 1);
  Tensor<T, D> enough = reshape(narrow(topk(reshape(h, {h.numel()}), last + 1).values, 0, last, 1), {});
  const auto ignored = static_cast<Label>(ignore_index);
  const bool can_ignore = static_cast<index_t>(ignored) == ignore_index;
  enough = maximum(enough, amin(can_ignore ? masked_fill(h, equal_to(target, ignored), static_cast<T>(INFINITY)) : h));
  return less_equal(h, minimum(enough, static_cast<T>(-std::log(hard.threshold))));
}

}  // namespace detail

/// Cross entropy of the hard pixels, as HRNet is trained on Cityscapes (HRNet-Semantic-Segmentation, OhemCrossEntropy, after Shrivastava et
/// al., arXiv:1604.03540): with p the probabilities of the labelled pixels' classes in rising order, those with
///
///   p < max(threshold, p[min(min_kept, n - 1)])
///
/// of n, so that the easiest is left out where there are not enough, and equals of the last are.
///
/// @param logits [N, ..., C]   @param target [N, ...], integers   @param options as for `cross_entropy`; neither class weights nor label
/// smoothing change which pixels are hard
/// @return  `none`: [N, ...], 0 where easy or ignored; `sum`: a scalar; `mean`: the sum divided by the number of hard pixels, whatever they
///          weigh. When there are none that is NaN (and its gradient 0), or 0 with `zero_if_all_ignored`.
/// @throws  ValueError: threshold outside [0, 1], min_kept below 1; and what `cross_entropy` throws
/// Gradient to the logits. Same bits for any number of threads.
template <class T, class D, class Label>
  requires std::is_integral_v<Label>
[[nodiscard]] Tensor<Master<T>, D> ohem_cross_entropy(const Tensor<T, D>& logits, const Tensor<Label, D>& target,
                                                      const OhemOptions& hard = {}, CrossEntropyOptions<T, D> options = {}) {
  using A = Master<T>;
  if (!(hard.threshold >= 0 && hard.threshold <= 1))
    throw ValueError("ohem_cross_entropy", "threshold", "a probability in [0, 1]", concat(hard.threshold));
  if (hard.min_kept < 1) throw ValueError("ohem_cross_entropy", "min_kept", "at least 1", concat(hard.min_kept));
  if (target.numel() == 0) return cross_entropy(logits, target, options);
  const Reduction reduction = std::exchange(options.reduction, Reduction::none);
  const Tensor<A, D> losses = cross_entropy(logits, target, options);
  Tensor<A, D> h = losses.detach();
  if (options.class_weight || options.label_smoothing != 0)
    h = cross_entropy(logits.detach(), target, {.ignore_index = options.ignore_index, .reduction = Reduction::none, .check_labels = false});
  const Tensor<bool, D> easy = detail::easy_pixels(h, target, options.ignore_index, hard);
  const Tensor<A, D> kept = masked_fill(losses, easy, A(0));
  if (reduction == Reduction::none) return kept;
  if (reduction == Reduction::sum) return sum(kept);
  const Tensor<A, D> count = sum(masked_fill(ones<A, D>(h.shape()), easy, A(0)));
  const Tensor<A, D> mean = sum(kept) / maximum(count, A(1));
  return options.zero_if_all_ignored ? mean : mean + A(0) / count;
}

}  // namespace segnet
