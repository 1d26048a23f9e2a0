// Losses that compare class scores with labels: cross entropy, its focal variant, and the loss of log-probabilities.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/cross_entropy.hpp"
#include "segnet/ops/loss_support.hpp"

namespace segnet {

template <class T, class D = Cpu>
struct CrossEntropyOptions {
  Tensor<T, D> class_weight = {};  ///< w [C]; undefined: all 1
  index_t ignore_index = -100;     ///< targets of this value count nowhere: no loss, no gradient, no weight
  double label_smoothing = 0;      ///< e in [0, 1): (1 - e) of the target plus e / C for every class
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;  ///< mean over no target at all: 0 instead of the NaN of 0/0
};

template <class T, class D = Cpu>
struct FocalLossOptions {
  double gamma = 2;                ///< how much less the easy pixels count; 0 is cross entropy
  Tensor<T, D> class_weight = {};  ///< alpha [C]; undefined: all 1
  index_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;
};

template <class T, class D = Cpu>
struct NllLossOptions {
  Tensor<T, D> class_weight = {};  ///< w [C]; undefined: all 1
  index_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  bool zero_if_all_ignored = false;
};

namespace detail {

template <class T, class D>
void check_scores(const char* op, const char* name, const Tensor<T, D>& x, const Tensor<T, D>& class_weight) {
  if (x.rank() < 1 || x.dim(-1) < 1) throw ShapeError(op, name, "[N, ..., C] with at least one class", x.shape());
  if (class_weight && class_weight.shape() != Shape{x.dim(-1)})
    throw ShapeError(op, "class_weight", concat("[", x.dim(-1), "] for ", name, " ", x.shape()), class_weight.shape());
}

/// What the losses below have in common: one value per row or one in all, the rows' statistics kept for the backward pass.
template <class T, class D, class Label>
Tensor<T, D> cross_entropy(const char* op, const Tensor<T, D>& logits, const Tensor<Label, D>& target, const Tensor<T, D>& class_weight,
                           index_t ignore_index, const kernels::CrossEntropyTerms<T>& terms, Reduction reduction, bool zero_if_empty) {
  check_scores(op, "logits", logits, class_weight);
  check_label_shape(op, "logits", logits.shape(), target.shape());
  const Shape rows = target.shape();
  const bool each = reduction == Reduction::none;
  const Tensor<T, D> top(rows), sum(rows);
  Tensor<T, D> y(each ? rows : Shape{});
  const auto labels = [C = logits.dim(-1), ignore_index](const Tensor<Label, D>& t, const Tensor<T, D>& w) {
    return kernels::RowLabels<T, Label>{t.data(), w.data(), C, ignore_index};
  };
  const kernels::LossSum total =
      kernels::cross_entropy(logits.view(), labels(target, class_weight), terms, top.view(), sum.view(), each ? y.view() : View<T, D>{});
  if (total.bad_label >= 0) throw_bad_label(op, target, total.bad_label, logits.dim(-1), ignore_index);
  const auto reduced = reduced_loss<T>(total, reduction, zero_if_empty);
  if (!each) y.fill(reduced.value);
  return record(op, y, {logits}, [=, x = logits.detach(), weight = class_weight.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::cross_entropy_grad(x.view(), labels(target, weight), terms, top.view(), sum.view(), each ? dy.view() : View<T, D>{},
                                each ? T(0) : dy.item() * reduced.slope, grad[0].view());
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
/// Gradient to the logits. Sums over rows run in double; same bits for any number of threads. Memory: 2 / C of the logits' elements
/// besides the logits, no probabilities. Label smoothing: Szegedy et al., arXiv:1512.00567, section 7.
template <class T, class D, class Label>
  requires std::is_integral_v<Label>
[[nodiscard]] Tensor<T, D> cross_entropy(const Tensor<T, D>& logits, const Tensor<Label, D>& target,
                                         const CrossEntropyOptions<T, D>& options = {}) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw ValueError("cross_entropy", "label_smoothing", "a number in [0, 1)", concat(options.label_smoothing));
  return detail::cross_entropy("cross_entropy", logits, target, options.class_weight, options.ignore_index,
                               {static_cast<T>(options.label_smoothing), T(0)}, options.reduction, options.zero_if_all_ignored);
}

/// The same for targets that are probabilities (mixed or distilled labels):
///
///   loss[n, ...] = sum_c w[c] t'[c] (-log p[c]),   t' = (1 - e) t + e / C
///
/// @param target  t [N, ..., C], shaped like the logits. `mean` divides by the number of rows, whatever they weigh; ignore_index does
/// not apply. Gradients to the logits and to the target.
template <class T, class D>
[[nodiscard]] Tensor<T, D> cross_entropy(const Tensor<T, D>& logits, const Tensor<T, D>& target,
                                         const CrossEntropyOptions<T, D>& options = {}) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw ValueError("cross_entropy", "label_smoothing", "a number in [0, 1)", concat(options.label_smoothing));
  detail::check_scores("cross_entropy", "logits", logits, options.class_weight);
  if (target.shape() != logits.shape())
    throw ShapeError("cross_entropy", "target", concat(logits.shape(), " like the logits, or integer labels"), target.shape());
  const Shape rows = detail::rows_of(logits.shape());
  const bool each = options.reduction == Reduction::none;
  const Tensor<T, D> top(rows), sum(rows);
  Tensor<T, D> y(each ? rows : Shape{});
  const auto targets = [C = logits.dim(-1), e = static_cast<T>(options.label_smoothing)](const Tensor<T, D>& t, const Tensor<T, D>& w) {
    return kernels::RowProbabilities<T>{t.data(), w.data(), C, e};
  };
  kernels::LossSum total = kernels::cross_entropy_probabilities(logits.view(), targets(target, options.class_weight), top.view(),
                                                                sum.view(), each ? y.view() : View<T, D>{});
  total.weight = static_cast<double>(rows.numel());
  const auto reduced = detail::reduced_loss<T>(total, options.reduction, options.zero_if_all_ignored);
  if (!each) y.fill(reduced.value);
  return record(
      "cross_entropy", y, {logits, target},
      [=, x = logits.detach(), t = target.detach(), w = options.class_weight.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
        const View<T, D> dys = each ? dy.view() : View<T, D>{};
        const T g = each ? T(0) : dy.item() * reduced.slope;
        if (grad.wanted(0))
          kernels::cross_entropy_probabilities_grad(x.view(), targets(t, w), top.view(), sum.view(), dys, g, grad[0].view());
        if (grad.wanted(1)) kernels::cross_entropy_target_grad(x.view(), targets(t, w), top.view(), sum.view(), dys, g, grad[1].view());
      });
}

/// Focal loss over classes, for pixels of many easy kinds (Lin et al., arXiv:1708.02002, with softmax in place of the sigmoid):
///
///   loss[n, ...] = w[t] (1 - p[t])^gamma (-log p[t])
///
/// Shapes, reductions, errors and memory as `cross_entropy`, which it is for gamma = 0. Also throws ValueError for gamma < 0.
template <class T, class D, class Label>
[[nodiscard]] Tensor<T, D> focal_loss(const Tensor<T, D>& logits, const Tensor<Label, D>& target,
                                      const FocalLossOptions<T, D>& options = {}) {
  if (!(options.gamma >= 0)) throw ValueError("focal_loss", "gamma", "a number of at least 0", concat(options.gamma));
  return detail::cross_entropy("focal_loss", logits, target, options.class_weight, options.ignore_index,
                               {T(0), static_cast<T>(options.gamma)}, options.reduction, options.zero_if_all_ignored);
}

/// Negative log likelihood of log-probabilities: loss[n, ...] = -w[t] log_p[t]. `cross_entropy` is this after `log_softmax`, in one.
///
/// @param log_p [N, ..., C]   @param target [N, ...], integers. Reductions and errors as `cross_entropy`. Gradient to log_p.
template <class T, class D, class Label>
[[nodiscard]] Tensor<T, D> nll_loss(const Tensor<T, D>& log_p, const Tensor<Label, D>& target, const NllLossOptions<T, D>& options = {}) {
  detail::check_scores("nll_loss", "log_p", log_p, options.class_weight);
  detail::check_label_shape("nll_loss", "log_p", log_p.shape(), target.shape());
  const bool each = options.reduction == Reduction::none;
  Tensor<T, D> y(each ? target.shape() : Shape{});
  const auto labels = [C = log_p.dim(-1), ignore = options.ignore_index](const Tensor<Label, D>& t, const Tensor<T, D>& w) {
    return kernels::RowLabels<T, Label>{t.data(), w.data(), C, ignore};
  };
  const kernels::LossSum total =
      kernels::nll_loss(log_p.view(), labels(target, options.class_weight), target.numel(), each ? y.view() : View<T, D>{});
  if (total.bad_label >= 0) detail::throw_bad_label("nll_loss", target, total.bad_label, log_p.dim(-1), options.ignore_index);
  const auto reduced = detail::reduced_loss<T>(total, options.reduction, options.zero_if_all_ignored);
  if (!each) y.fill(reduced.value);
  return record("nll_loss", y, {log_p}, [=, w = options.class_weight.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::nll_loss_grad(labels(target, w), target.numel(), each ? dy.view() : View<T, D>{}, each ? T(0) : dy.item() * reduced.slope,
                           grad[0].view());
  });
}

}  // namespace segnet
