// Losses that compare class scores with labels: cross entropy, its focal variant, and the loss of log-probabilities.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/cross_entropy.hpp"
#include "segnet/ops/loss_support.hpp"

namespace segnet {

template <class T, class D = Cpu>
struct CrossEntropyOptions {
  Tensor<Master<T>, D> class_weight = {};  ///< w [C]; undefined: all 1
  index_t ignore_index = -100;             ///< targets of this value count nowhere: no loss, no gradient, no weight
  double label_smoothing = 0;              ///< e in [0, 1): (1 - e) of the target plus e / C for every class
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;  ///< mean over no target at all: 0 instead of the NaN of 0/0
  bool check_labels = true;          ///< GPU: wait for the labels to be seen; false: a wrong one turns loss and gradient into NaN instead
};

template <class T, class D = Cpu>
struct FocalLossOptions {
  double gamma = 2;                        ///< how much less the easy pixels count; 0 is cross entropy
  Tensor<Master<T>, D> class_weight = {};  ///< alpha [C]; undefined: all 1
  index_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;
  bool check_labels = true;
};

template <class T, class D = Cpu>
struct NllLossOptions {
  Tensor<Master<T>, D> class_weight = {};  ///< w [C]; undefined: all 1
  index_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;
  bool check_labels = true;
};

namespace detail {

template <class T, class D>
void check_scores(const char* op, const char* name, const Tensor<T, D>& x, const Tensor<Master<T>, D>& class_weight) {
  if (x.rank() < 1 || x.dim(-1) < 1) throw ShapeError(op, name, "[N, ..., C] with at least one class", x.shape());
  if (class_weight && class_weight.shape() != Shape{x.dim(-1)})
    throw ShapeError(op, "class_weight", concat("[", x.dim(-1), "] for ", name, " ", x.shape()), class_weight.shape());
}
/// Labels that the CPU's kernels saw are always checked: it costs nothing there.
template <class T, class D, class Label, class Options>
void check_seen_labels(const char* op, const LossValue<Master<T>, D>& loss, const Tensor<T, D>& scores, const Tensor<Label, D>& target,
                       const Options& options) {
  if (std::is_same_v<D, Cpu> || options.check_labels) check_bad_label(op, loss.total(), target, scores.dim(-1), options.ignore_index);
}

/// What the losses below have in common: one value per row or one in all, the rows' statistics kept for the backward pass.
template <class T, class D, class Label, class Options>
Tensor<Master<T>, D> cross_entropy(const char* op, const Tensor<T, D>& logits, const Tensor<Label, D>& target, const Options& options,
                                   const kernels::CrossEntropyTerms<Master<T>>& terms) {
  using A = Master<T>;
  check_scores(op, "logits", logits, options.class_weight);
  check_label_shape(op, "logits", logits.shape(), target.shape());
  const Shape rows = target.shape();
  const Tensor<A, D> top(rows), sum(rows);
  const LossValue<A, D> loss(rows, options.reduction);
  const auto labels = [C = logits.dim(-1), ignore = options.ignore_index](const Tensor<Label, D>& t, const Tensor<A, D>& w) {
    return kernels::RowLabels<A, Label>{t.data(), w.data(), C, ignore};
  };
  kernels::cross_entropy<T>(logits.view(), labels(target, options.class_weight), terms, top.view(), sum.view(), loss.each_view(),
                            loss.total().view());
  check_seen_labels(op, loss, logits, target, options);
  return record(
      op, loss.reduce(options.zero_if_all_ignored), {logits},
      [=, x = logits.detach(), w = options.class_weight.detach(), slope = loss.slope()](const Tensor<A, D>& dy, Gradients<A, D>& grad) {
        const Tensor<T, D> dx(x.shape());
        kernels::cross_entropy_grad<T>(x.view(), labels(target, w), terms, top.view(), sum.view(), upstream(dy, slope), dx.view());
        grad.set_other(0, dx);
      });
}

}  // namespace detail

/// Cross entropy of logits x and labels t, the loss of semantic segmentation:
///
///   loss[n, ...] = (1 - e) w[t] (-log p[t]) + e / C sum_c w[c] (-log p[c]),   p = softmax(x) over the last dimension
///
/// @param logits  x [N, ..., C]   @param target  t [N, ...], integers (std::int32_t, std::int64_t, std::uint8_t)
/// @return  `none`: [N, ...], 0 where ignored; `sum`: a scalar; `mean`: the sum divided by the sum of w[t], over targets that are not
///          ignored, as PyTorch does. When all are ignored that is NaN (and its gradient 0), or 0 with `zero_if_all_ignored`.
/// @throws  ShapeError: target is not logits' shape without the channels, class_weight is not [C]; ValueError: a label that is neither
///          a class nor ignore_index (with its value and position), label_smoothing outside [0, 1)
/// Gradient to the logits. bfloat16 logits are computed with, and their loss is returned, in float. Sums over rows run in double; same bits
/// for any number of threads. Memory: 2 / C of the logits' elements besides the logits, no probabilities. Label smoothing: Szegedy et al.,
/// arXiv:1512.00567, section 7.
template <class T, class D, class Label>
  requires std::is_integral_v<Label>
[[nodiscard]] Tensor<Master<T>, D> cross_entropy(const Tensor<T, D>& logits, const Tensor<Label, D>& target,
                                                 const CrossEntropyOptions<T, D>& options = {}) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw ValueError("cross_entropy", "label_smoothing", "a number in [0, 1)", concat(options.label_smoothing));
  return detail::cross_entropy("cross_entropy", logits, target, options, {static_cast<Master<T>>(options.label_smoothing), 0});
}

/// The same for targets that are probabilities (mixed or distilled labels):
///
///   loss[n, ...] = sum_c w[c] t'[c] (-log p[c]),   t' = (1 - e) t + e / C
///
/// @param target  t [N, ..., C], shaped like the logits. `mean` divides by the number of rows, whatever they weigh; ignore_index does
/// not apply. Gradients to the logits and to the target.
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> cross_entropy(const Tensor<T, D>& logits, const Tensor<T, D>& target,
                                                 const CrossEntropyOptions<T, D>& options = {}) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw ValueError("cross_entropy", "label_smoothing", "a number in [0, 1)", concat(options.label_smoothing));
  detail::check_scores("cross_entropy", "logits", logits, options.class_weight);
  if (target.shape() != logits.shape())
    throw ShapeError("cross_entropy", "target", concat(logits.shape(), " like the logits, or integer labels"), target.shape());
  using A = Master<T>;
  const Shape rows = detail::rows_of(logits.shape());
  const Tensor<A, D> top(rows), sum(rows);
  const detail::LossValue<A, D> loss(rows, options.reduction);
  const auto targets = [C = logits.dim(-1), e = static_cast<A>(options.label_smoothing)](const Tensor<T, D>& t, const Tensor<A, D>& w) {
    return kernels::RowProbabilities<T>{t.data(), w.data(), C, e};
  };
  kernels::cross_entropy_probabilities<T>(logits.view(), targets(target, options.class_weight), top.view(), sum.view(), loss.each_view(),
                                          loss.total().view());
  return record("cross_entropy", loss.reduce(options.zero_if_all_ignored), {logits, target},
                [=, x = logits.detach(), t = target.detach(), w = options.class_weight.detach(), slope = loss.slope()](
                    const Tensor<A, D>& dy, Gradients<A, D>& grad) {
                  const auto g = detail::upstream(dy, slope);
                  if (grad.wanted(0)) {
                    const Tensor<T, D> dx(x.shape());
                    kernels::cross_entropy_probabilities_grad<T>(x.view(), targets(t, w), top.view(), sum.view(), g, dx.view());
                    grad.set_other(0, dx);
                  }
                  if (grad.wanted(1)) {
                    const Tensor<T, D> dt(x.shape());
                    kernels::cross_entropy_target_grad<T>(x.view(), targets(t, w), top.view(), sum.view(), g, dt.view());
                    grad.set_other(1, dt);
                  }
                });
}

/// Focal loss over classes, for pixels of many easy kinds (Lin et al., arXiv:1708.02002, with softmax in place of the sigmoid):
///
///   loss[n, ...] = w[t] (1 - p[t])^gamma (-log p[t])
///
/// Shapes, reductions, errors and memory as `cross_entropy`, which it is for gamma = 0. Also throws ValueError for gamma < 0.
template <class T, class D, class Label>
[[nodiscard]] Tensor<Master<T>, D> focal_loss(const Tensor<T, D>& logits, const Tensor<Label, D>& target,
                                              const FocalLossOptions<T, D>& options = {}) {
  if (!(options.gamma >= 0)) throw ValueError("focal_loss", "gamma", "a number of at least 0", concat(options.gamma));
  return detail::cross_entropy("focal_loss", logits, target, options, {0, static_cast<Master<T>>(options.gamma)});
}

/// Negative log likelihood of log-probabilities: loss[n, ...] = -w[t] log_p[t]. `cross_entropy` is this after `log_softmax`, in one.
///
/// @param log_p [N, ..., C]   @param target [N, ...], integers. Reductions and errors as `cross_entropy`. Gradient to log_p.
template <class T, class D, class Label>
[[nodiscard]] Tensor<Master<T>, D> nll_loss(const Tensor<T, D>& log_p, const Tensor<Label, D>& target,
                                            const NllLossOptions<T, D>& options = {}) {
  detail::check_scores("nll_loss", "log_p", log_p, options.class_weight);
  detail::check_label_shape("nll_loss", "log_p", log_p.shape(), target.shape());
  using A = Master<T>;
  const detail::LossValue<A, D> loss(target.shape(), options.reduction);
  const auto labels = [C = log_p.dim(-1), ignore = options.ignore_index](const Tensor<Label, D>& t, const Tensor<A, D>& w) {
    return kernels::RowLabels<A, Label>{t.data(), w.data(), C, ignore};
  };
  kernels::nll_loss<T>(log_p.view(), labels(target, options.class_weight), target.numel(), loss.each_view(), loss.total().view());
  detail::check_seen_labels("nll_loss", loss, log_p, target, options);
  return record(
      "nll_loss", loss.reduce(options.zero_if_all_ignored), {log_p},
      [=, shape = log_p.shape(), w = options.class_weight.detach(), slope = loss.slope()](const Tensor<A, D>& dy, Gradients<A, D>& grad) {
        const Tensor<T, D> dx(shape);
        kernels::nll_loss_grad<T>(labels(target, w), target.numel(), detail::upstream(dy, slope), dx.view());
        grad.set_other(0, dx);
      });
}

}  // namespace segnet
