// Losses of predicted boxes against target boxes.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/box_loss.hpp"
#include "segnet/ops/loss_support.hpp"

namespace segnet {

/// 1 - GIoU, 1 - DIoU or 1 - CIoU of pairs of boxes (see BoxOverlap), with 1e-7 added to every denominator. CIoU's factor of the aspect
/// ratio is a constant in the gradient.
/// @param boxes, target  [N, 4], (x1, y1, x2, y2) with x2 > x1 and y2 > y1
/// @return  [N] (`none`) or a scalar; the mean of no boxes is 0   @throws ShapeError
/// Gradients to both. Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> box_loss(BoxLoss kind, const Tensor<T, D>& boxes, const Tensor<T, D>& target,
                                    Reduction reduction = Reduction::mean) {
  if (boxes.rank() != 2 || boxes.dim(1) != 4) throw ShapeError("box_loss", "boxes", "[N, 4]", boxes.shape());
  if (target.shape() != boxes.shape()) throw ShapeError("box_loss", "target", concat(boxes.shape(), " like the boxes"), target.shape());
  const index_t n = boxes.dim(0);
  const detail::LossValue<T, D> loss({n}, reduction);
  kernels::box_loss(kernels::BoxLossValue<T>{kind, boxes.data(), target.data(), loss.each_view().data}, n, loss.total().view());
  return record("box_loss", loss.reduce(/*zero_if_empty=*/true), {boxes, target},
                [=, a = boxes.detach(), b = target.detach(), slope = loss.slope()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  T* const da = grad.wanted(0) ? grad[0].data() : nullptr;
                  T* const db = grad.wanted(1) ? grad[1].data() : nullptr;
                  kernels::box_loss_grad(kernels::BoxLossGrad<T>{kind, a.data(), b.data(), detail::upstream(dy, slope), da, db}, n, D{});
                });
}

}  // namespace segnet
