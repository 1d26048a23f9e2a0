// Softmax and its logarithm over one dimension.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/softmax.hpp"

namespace segnet {

/// Probabilities from logits: y = exp(x) / sum over `dim` of exp(x), with the maximum subtracted first, so that no finite x
/// overflows.
///
/// @param x    any shape
/// @param dim  the dimension that sums to one, counted from the end when negative; -1, the channels, is the usual one
/// @return     of x's shape
/// @throws     ValueError: no such dimension
/// A slice whose elements are all -inf, or that holds NaN or +inf, becomes NaN. Gradient to x: y (dy - sum(y dy)).
/// Memory: the backward pass keeps y only. Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> softmax(const Tensor<T, D>& x, int dim = -1) {
  const int d = normalized_dim("softmax", "dim", dim, x.rank());
  const Tensor<T, D> y(x.shape());
  kernels::softmax(x.view(), d, y.view());
  return record("softmax", y, {x}, [d, y = y.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::softmax_grad(y.view(), dy.view(), d, grad[0].view());
  });
}

/// Logarithm of the probabilities: y = x - log(sum over `dim` of exp(x)). Exact where softmax would round to 0 or 1.
///
/// Shapes, errors and memory as `softmax`. Gradient to x: dy - exp(y) sum(dy).
template <class T, class D>
[[nodiscard]] Tensor<T, D> log_softmax(const Tensor<T, D>& x, int dim = -1) {
  const int d = normalized_dim("log_softmax", "dim", dim, x.rank());
  const Tensor<T, D> y(x.shape());
  kernels::log_softmax(x.view(), d, y.view());
  return record("log_softmax", y, {x}, [d, y = y.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::log_softmax_grad(y.view(), dy.view(), d, grad[0].view());
  });
}

}  // namespace segnet
