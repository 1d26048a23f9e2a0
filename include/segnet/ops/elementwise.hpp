// How an element-wise function becomes an operation: compute, remember what the derivative reads, and add gradients up over the
// dimensions that were broadcast. The functions themselves are in kernels/unary.hpp, activation.hpp and arithmetic.hpp.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/elementwise.hpp"
#include "segnet/kernels/reduction.hpp"
#include "segnet/kernels/unary.hpp"

namespace segnet {

namespace detail {
/// Which dimensions of `from` are summed to reach `to`, which broadcasts to it.
[[nodiscard]] inline kernels::DimSet broadcast_dims(const Shape& to, const Shape& from) {
  kernels::DimSet dims;
  for (int d = 1; d <= from.rank(); ++d)
    if (d > to.rank() || to[-d] != from[-d]) dims.insert(from.rank() - d);
  return dims;
}
}  // namespace detail

/// x summed over the dimensions along which `shape` broadcasts to x's shape: the transpose of broadcasting. Not recorded.
/// @throws ShapeError: `shape` does not broadcast to x's shape
template <class T, class D>
[[nodiscard]] Tensor<T, D> sum_to(const Tensor<T, D>& x, const Shape& shape) {
  if (shape == x.shape()) return x.detach();
  if (shape.rank() > x.rank() || kernels::broadcast_shape("sum_to", x.shape(), shape) != x.shape())
    throw ShapeError("sum_to", "shape", concat("a shape that broadcasts to ", x.shape()), shape);
  const Tensor<T, D> y(shape);
  kernels::reduce(kernels::Sum{}, detail::broadcast_dims(shape, x.shape()), y.view(), x.view());
  return y;
}

namespace detail {

/// y[i] = f(x[i]). f as kernels/unary.hpp describes.
template <class F, class T, class D>
[[nodiscard]] Tensor<T, D> apply_unary(const char* name, const F& f, const Tensor<T, D>& x) {
  const Tensor<T, D> y(x.shape());
  kernels::map(y.view(), f, x.view());
  if constexpr (is_real<T>) {
    const kernels::Keeps keeps = f.keeps();
    Tensor<T, D> kept;
    if (keeps != kernels::Keeps::nothing) kept = (keeps == kernels::Keeps::input ? x : y).detach();
    return record(name, y, {x}, [f, kept](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::map(grad[0].view(), kernels::Gradient<F>{f}, dy.view(), (kept ? kept : dy).view());
    });
  } else return y;
}

/// y[i] = f(a[i], b[i]), broadcasting. f as kernels/arithmetic.hpp describes.
template <class F, class T, class D>
[[nodiscard]] Tensor<T, D> apply_binary(const char* name, const F& f, const Tensor<T, D>& a, const Tensor<T, D>& b) {
  const Tensor<T, D> y(kernels::broadcast_shape(name, a.shape(), b.shape()));
  kernels::map_broadcast(y.view(), f, a.view(), b.view());
  if constexpr (is_real<T>) {
    const Shape a_shape = a.shape(), b_shape = b.shape();
    if constexpr (F::additive)
      return record(name, y, {a, b}, [=](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
        if (grad.wanted(0)) grad.set(0, sum_to(dy, a_shape));
        if (!grad.wanted(1)) return;
        const Tensor<T, D> db = sum_to(dy, b_shape);
        if constexpr (std::is_same_v<F, kernels::Add>) grad.set(1, db);
        else kernels::map(grad[1].view(), kernels::GradientB<F>{f}, db.view(), db.view(), db.view());
      });
    else {
      Tensor<T, D> kept_a, kept_b;  // only what a derivative that is wanted reads
      if (b.tracked() || (a.tracked() && !F::linear_in_a)) kept_a = a.detach();
      if (a.tracked() || (b.tracked() && !F::linear_in_b)) kept_b = b.detach();
      return record(name, y, {a, b}, [=](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
        const auto a_view = (kept_a ? kept_a : dy).view(), b_view = (kept_b ? kept_b : dy).view();  // dy where it is not read
        const auto backward = [&](std::size_t i, const Shape& shape, const auto& gradient) {
          if (!grad.wanted(i)) return;
          const Tensor<T, D> full = shape == dy.shape() ? grad[i] : Tensor<T, D>(dy.shape());
          kernels::map_broadcast(full.view(), gradient, dy.view(), a_view, b_view);
          if (shape != dy.shape()) grad.set(i, sum_to(full, shape));
        };
        if constexpr (std::is_same_v<F, kernels::Multiply>) {
          // A gate: the sum of products needs no full-sized product in between.
          if (grad.wanted(1) && b_shape != dy.shape() && a_shape == dy.shape()) {
            kernels::reduce(kernels::SumOfProducts{}, broadcast_dims(b_shape, a_shape), grad[1].view(), dy.view(), kept_a.view());
            return backward(0, a_shape, kernels::GradientA<F>{f});
          }
        }
        backward(0, a_shape, kernels::GradientA<F>{f});
        backward(1, b_shape, kernels::GradientB<F>{f});
      });
    }
  } else return y;
}

}  // namespace detail

}  // namespace segnet
