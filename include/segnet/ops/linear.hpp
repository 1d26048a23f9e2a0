// The fully connected layer's operation: forward and backward side by side.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/linear.hpp"

namespace segnet {

/// y = x W^T + b over the last dimension: y[..., o] = b[o] + sum_i w[o, i] * x[..., i]. On an image this is a 1 x 1 convolution.
///
/// @param x [..., in]   @param w [out, in]   @param b [out], or undefined for none   @return [..., out]
/// @throws ShapeError: rank, sizes
/// Gradients to x, w, b:  dx = dy W,  dW = dy^T x,  db = sum of the rows of dy. Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> linear(const Tensor<T, D>& x, const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {}) {
  const auto g = kernels::linear_geometry("linear", x.shape(), w.shape(), b.shape());
  Tensor<T, D> y(g.y_shape);
  kernels::linear(g, x.view(), w.view(), b.view(), y.view());
  return record("linear", y, {x, w, b}, [g, x = x.detach(), w = w.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    if (grad.wanted(0)) kernels::linear_grad_input(g, dy.view(), w.view(), grad[0].view());
    if (grad.wanted(1)) kernels::linear_grad_weight(g, dy.view(), x.view(), grad[1].view());
    if (grad.wanted(2)) kernels::sum_over_rows(dy.view(), grad[2].view());
  });
}

}  // namespace segnet
