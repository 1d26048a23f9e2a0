// Losses of one prediction against one target each: regression (l1, mse, smooth l1, Huber) and binary classification. Those of bfloat16
// are computed and returned in float.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/pointwise_loss.hpp"
#include "segnet/ops/loss_support.hpp"

namespace segnet {

namespace detail {

/// A weight that broadcasts to x: w itself, or a single 1 where there is none. @throws ShapeError
template <class A, class D>
[[nodiscard]] Tensor<A, D> broadcast_weight(const char* op, const char* name, const Tensor<A, D>& w, const Shape& x) {
  if (!w) return ones<A, D>({});
  bool fits = w.rank() <= x.rank();
  for (int d = 1; fits && d <= w.rank(); ++d) fits = w.dim(-d) == x[-d] || w.dim(-d) == 1;
  if (!fits) throw ShapeError(op, name, concat("a shape that broadcasts to ", x), w.shape());
  return w.detach();
}

/// `target_gradient`: the target receives its gradient too.
template <class T, class D, class Formula>
Tensor<Master<T>, D> pointwise_loss(const char* op, const Formula& formula, const Tensor<T, D>& x, const Tensor<T, D>& target,
                                    Reduction reduction, bool target_gradient, const Tensor<Master<T>, D>& weight = {},
                                    const Tensor<Master<T>, D>& positive_weight = {}) {
  using A = Master<T>;
  if (target.shape() != x.shape()) throw ShapeError(op, "target", concat(x.shape(), " like the input"), target.shape());
  const Tensor<A, D> w = broadcast_weight(op, "weight", weight, x.shape());
  const Tensor<A, D> p = broadcast_weight(op, "pos_weight", positive_weight, x.shape());
  const LossValue<A, D> loss(x.shape(), reduction);
  kernels::pointwise_loss<T>(formula, x.view(), target.view(), w.view(), p.view(), loss.each_view(), loss.total().view());
  const auto backward = [=, x = x.detach(), t = target.detach(), slope = loss.slope()](const Tensor<A, D>& dy, Gradients<A, D>& grad) {
    const auto g = upstream(dy, slope);
    if (grad.wanted(0)) {
      const Tensor<T, D> dx(x.shape());
      kernels::pointwise_loss_grad<false, T>(formula, x.view(), t.view(), w.view(), p.view(), g, dx.view());
      grad.set_other(0, dx);
    }
    if (target_gradient && grad.wanted(1)) {
      const Tensor<T, D> dt(x.shape());
      kernels::pointwise_loss_grad<true, T>(formula, x.view(), t.view(), w.view(), p.view(), g, dt.view());
      grad.set_other(1, dt);
    }
  };
  return record(op, loss.reduce(), {x, target_gradient ? target : Tensor<T, D>{}}, backward);
}

}  // namespace detail

/// (x - t)^2, averaged (or summed, or each). Gradients to both. @throws ShapeError: target is not shaped like x
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> mse_loss(const Tensor<T, D>& x, const Tensor<T, D>& target, Reduction reduction = Reduction::mean) {
  return detail::pointwise_loss("mse_loss", kernels::MeanSquaredError<Master<T>>{}, x, target, reduction, true);
}

/// |x - t|; slope 0 at 0. Otherwise as `mse_loss`.
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> l1_loss(const Tensor<T, D>& x, const Tensor<T, D>& target, Reduction reduction = Reduction::mean) {
  return detail::pointwise_loss("l1_loss", kernels::AbsoluteError<Master<T>>{}, x, target, reduction, true);
}

struct SmoothL1Options {
  double beta = 1;  ///< where the parabola ends, in units of x; 0 is the l1 loss
  Reduction reduction = Reduction::mean;
};

/// With d = x - t: d^2 / (2 beta) for |d| < beta, |d| - beta / 2 beyond. Slope d / beta, then +-1 (Girshick, arXiv:1504.08083).
/// Gradients to both. @throws ShapeError: target is not shaped like x; ValueError: beta < 0
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> smooth_l1_loss(const Tensor<T, D>& x, const Tensor<T, D>& target, const SmoothL1Options& options = {}) {
  if (!(options.beta >= 0)) throw ValueError("smooth_l1_loss", "beta", "a number of at least 0", concat(options.beta));
  return detail::pointwise_loss("smooth_l1_loss", kernels::SmoothL1<Master<T>>{static_cast<Master<T>>(options.beta)}, x, target,
                                options.reduction, true);
}

struct HuberOptions {
  double delta = 1;  ///< where the parabola ends, in units of x
  Reduction reduction = Reduction::mean;
};

/// With d = x - t: d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) beyond. Slope d, then +-delta.
/// Gradients to both. @throws ShapeError: target is not shaped like x; ValueError: delta <= 0
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> huber_loss(const Tensor<T, D>& x, const Tensor<T, D>& target, const HuberOptions& options = {}) {
  if (!(options.delta > 0)) throw ValueError("huber_loss", "delta", "a number above 0", concat(options.delta));
  return detail::pointwise_loss("huber_loss", kernels::Huber<Master<T>>{static_cast<Master<T>>(options.delta)}, x, target,
                                options.reduction, true);
}

template <class T, class D = Cpu>
struct BinaryCrossEntropyOptions {
  Tensor<Master<T>, D> weight = {};      ///< w, broadcast to the logits from the right: [C], [N, H, W, 1], ...; undefined: 1
  Tensor<Master<T>, D> pos_weight = {};  ///< p, broadcast alike: above 1 favours recall, below 1 precision; undefined: 1
  Reduction reduction = Reduction::mean;
};

/// Binary cross entropy of logits x and targets t in [0, 1]; with s = 1 / (1 + e^-x):
///
///   loss = -w (p t log s + (1 - t) log(1 - s)),   computed without overflow for any finite x
///
/// @param x, target  the same shape   @return that shape (`none`) or a scalar; `mean` divides by the number of elements
/// @throws  ShapeError: shapes differ, or a weight does not broadcast to x
/// Gradients to the logits and to the target; weights are constants.
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> binary_cross_entropy_with_logits(const Tensor<T, D>& x, const Tensor<T, D>& target,
                                                                    const BinaryCrossEntropyOptions<T, D>& options = {}) {
  return detail::pointwise_loss("binary_cross_entropy_with_logits", kernels::BinaryCrossEntropy<Master<T>>{}, x, target, options.reduction,
                                true, options.weight, options.pos_weight);
}

struct SigmoidFocalOptions {
  double alpha = 0.25;  ///< weight of positive targets, 1 - alpha that of negative ones; below 0: no such weights
  double gamma = 2;     ///< how much less the easy elements count; 0 is (weighted) binary cross entropy
  Reduction reduction = Reduction::mean;
};

/// Focal loss of logits x and targets t in [0, 1] (Lin et al., arXiv:1708.02002); with s = 1 / (1 + e^-x), p_t = s t + (1 - s)(1 - t):
///
///   loss = a_t (1 - p_t)^gamma bce(x, t),   a_t = alpha t + (1 - alpha)(1 - t)
///
/// Detectors sum it and divide by the number of positive boxes. Shapes, reductions and gradient as
/// `binary_cross_entropy_with_logits`. @throws ShapeError: shapes differ; ValueError: gamma < 0, alpha > 1
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> sigmoid_focal_loss(const Tensor<T, D>& x, const Tensor<T, D>& target,
                                                      const SigmoidFocalOptions& options = {}) {
  if (!(options.gamma >= 0)) throw ValueError("sigmoid_focal_loss", "gamma", "a number of at least 0", concat(options.gamma));
  if (!(options.alpha <= 1)) throw ValueError("sigmoid_focal_loss", "alpha", "a number of at most 1", concat(options.alpha));
  return detail::pointwise_loss(
      "sigmoid_focal_loss", kernels::SigmoidFocal<Master<T>>{static_cast<Master<T>>(options.alpha), static_cast<Master<T>>(options.gamma)},
      x, target, options.reduction, false);
}

}  // namespace segnet
