// Dice loss: one minus the overlap of a soft prediction with its target. Insensitive to how many pixels belong to neither.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/dice_loss.hpp"
#include "segnet/ops/loss_support.hpp"

namespace segnet {

struct DiceOptions {
  double smooth = 1;            ///< added above and below; what keeps 0/0 away where a class is absent
  bool squared = false;         ///< squares in the denominator (V-Net) instead of plain sums
  bool over_batch = false;      ///< one overlap per class over all images, instead of one per image and class
  index_t ignore_index = -100;  ///< labels of this value: the pixel counts nowhere
  Reduction reduction = Reduction::mean;
  bool check_labels = true;  ///< on the GPU this waits for the labels; without, a wrong one counts as no class
};

namespace detail {

template <class T, class D, class MakeTarget>
Tensor<Master<T>, D> dice_loss(const Tensor<T, D>& p, const DiceOptions& options, const MakeTarget& target) {
  using A = Master<T>;
  const index_t images = p.dim(0), C = p.dim(-1), groups = options.over_batch ? 1 : images;
  const index_t pixels = images * C > 0 ? p.numel() / (images * C) : 0, group_pixels = options.over_batch ? images * pixels : pixels;
  const Tensor<kernels::DiceSums, D> sums({groups * C});
  kernels::dice_sums<T>(p.view(), target(), groups, group_pixels, C, options.squared, sums.view());
  const LossValue<A, D> loss(options.over_batch ? Shape{C} : Shape{images, C}, options.reduction);
  kernels::dice_loss<A>(sums.view(), options.smooth, loss.each_view(), loss.total().view());
  return record("dice_loss", loss.reduce(), {p},
                [=, p = p.detach(), slope = loss.slope(), smooth = options.smooth, squared = options.squared](const Tensor<A, D>& dy,
                                                                                                              Gradients<A, D>& grad) {
                  const Tensor<T, D> dp(p.shape());
                  kernels::dice_grad<T>(p.view(), target(), sums.view(), smooth, upstream(dy, slope), group_pixels, C, squared, dp.view());
                  grad.set_other(0, dp);
                });
}

}  // namespace detail

/// Dice loss of probabilities p (after softmax or sigmoid) and targets t in [0, 1], per image and class:
///
///   loss[n, c] = 1 - (2 sum p t + smooth) / (sum p + sum t + smooth),   sums over the pixels
///
/// With `squared`, sum p^2 + sum t^2 in the denominator (Milletari et al., arXiv:1606.04797, equation 3).
/// @param p, target  [N, ..., C], the same shape
/// @return  `none`: [N, C], with `over_batch` [C]; `mean`, `sum` of these: a scalar
/// @throws  ShapeError: fewer than two dimensions, or shapes differ
/// Gradient to p. bfloat16 returns float. Sums in double, same bits for any number of threads. Memory: none that grows with the image.
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> dice_loss(const Tensor<T, D>& p, const Tensor<T, D>& target, const DiceOptions& options = {}) {
  if (p.rank() < 2) throw ShapeError("dice_loss", "p", "[N, ..., C]", p.shape());
  if (target.shape() != p.shape()) throw ShapeError("dice_loss", "target", concat(p.shape(), " like p, or integer labels"), target.shape());
  return detail::dice_loss(p, options, [t = target.detach(), C = p.dim(-1)] { return kernels::DenseTarget<T>{t.data(), C}; });
}

/// The same for labels [N, ...], as if they were one-hot. Pixels of `ignore_index` count nowhere and get no gradient.
/// @throws ShapeError: target is not p's shape without the classes; ValueError: a label that is neither a class nor ignore_index
template <class T, class D, class Label>
  requires std::is_integral_v<Label>
[[nodiscard]] Tensor<Master<T>, D> dice_loss(const Tensor<T, D>& p, const Tensor<Label, D>& target, const DiceOptions& options = {}) {
  if (p.rank() < 2) throw ShapeError("dice_loss", "p", "[N, ..., C]", p.shape());
  detail::check_label_shape("dice_loss", "p", p.shape(), target.shape());
  if (options.check_labels) detail::check_labels("dice_loss", target, p.dim(-1), options.ignore_index);
  return detail::dice_loss(p, options,
                           [target, ignore = options.ignore_index] { return kernels::LabelTarget<T, Label>{target.data(), ignore}; });
}

}  // namespace segnet
