// Matrix products: forward and backward side by side.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/matmul.hpp"

namespace segnet {

/// y[..., i, j] = sum_k a[..., i, k] * b[..., k, j], NumPy's rules: leading dimensions are a stack of matrices and broadcast; a
/// vector a [k] is a row and a vector b [k] a column, and that dimension of 1 is dropped from y.
///
/// @param a [..., m, k], or [..., k, m] with transpose_a   @param b [..., k, n], or [..., n, k] with transpose_b
/// @return  [..., m, n]
/// @throws  ShapeError: a scalar, inner sizes that differ, stacks that do not broadcast
/// Gradients to a and b, summed over broadcast dimensions. Same bits for any number of threads. On the GPU float may be rounded to tf32
/// where cuda::allow_tf32 says so, and bfloat16 sums in float.
template <class T, class D>
[[nodiscard]] Tensor<T, D> matmul(const Tensor<T, D>& a, const Tensor<T, D>& b, const MatmulOptions& options = {}) {
  const auto g = kernels::matmul_geometry("matmul", a.shape(), b.shape(), options);
  Tensor<T, D> y(g.y_shape);
  kernels::matmul(g, a.view(), b.view(), y.view());
  return record("matmul", y, {a, b}, [g, a = a.detach(), b = b.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    if (grad.wanted(0)) kernels::matmul_grad_a(g, dy.view(), b.view(), grad[0].view());
    if (grad.wanted(1)) kernels::matmul_grad_b(g, a.view(), dy.view(), grad[1].view());
  });
}

/// matmul of two stacks of equally many matrices. @param a [B, m, k]   @param b [B, k, n]   @return [B, m, n]
/// @throws ShapeError: rank, stack sizes, inner sizes
template <class T, class D>
[[nodiscard]] Tensor<T, D> bmm(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  if (a.rank() != 3) throw ShapeError("bmm", "a", "[B, m, k]", a.shape());
  if (b.rank() != 3 || b.dim(0) != a.dim(0)) throw ShapeError("bmm", "b", concat("[", a.dim(0), ", ", a.dim(2), ", n]"), b.shape());
  return matmul(a, b);
}

}  // namespace segnet
