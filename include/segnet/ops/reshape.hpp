// The same elements under another shape: nothing is copied, forwards or backwards.
#pragma once

#include <vector>

#include "segnet/autograd/graph.hpp"

namespace segnet {

/// x with as many elements in another shape, in row-major order. y shares x's memory.
/// @throws ShapeError: another number of elements
template <class T, class D>
[[nodiscard]] Tensor<T, D> reshape(const Tensor<T, D>& x, const Shape& shape) {
  if (shape.numel() != x.numel()) throw ShapeError("reshape", "shape", concat("the ", x.numel(), " elements of ", x.shape()), shape);
  const Tensor<T, D> y = x.alias(shape);
  if constexpr (is_real<T>)
    return record("reshape", y, {x}, [from = x.shape()](const Tensor<T, D>& dy, Gradients<T, D>& grad) { grad.set(0, dy.alias(from)); });
  else return y;
}

/// The same; one size may be -1 and follows from the others.
/// @throws ValueError: two sizes of -1, or one that is ambiguous;  ShapeError: another number of elements
template <class T, class D>
[[nodiscard]] Tensor<T, D> reshape(const Tensor<T, D>& x, const std::vector<index_t>& sizes) {
  Shape shape;
  int unknown = -1;
  for (const index_t size : sizes) {
    if (size == -1) {
      if (unknown >= 0) throw ValueError("reshape", "sizes", "at most one -1", "two");
      unknown = shape.rank();
    }
    shape.push_back(size == -1 ? 1 : size);
  }
  if (unknown >= 0) {
    const index_t others = shape.numel();
    if (others == 0) throw ValueError("reshape", "sizes", "no -1 beside a size of 0", concat(shape));
    if (x.numel() % others != 0) throw ShapeError("reshape", "sizes", concat("sizes that divide ", x.numel(), " elements"), shape);
    shape[unknown] = x.numel() / others;
  }
  return reshape(x, shape);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> reshape(const Tensor<T, D>& x, std::initializer_list<index_t> sizes) {
  return reshape(x, std::vector<index_t>(sizes));
}

/// Dimensions first ... last as one.
template <class T, class D>
[[nodiscard]] Tensor<T, D> flatten(const Tensor<T, D>& x, int first = 0, int last = -1) {
  if (x.rank() == 0) return reshape(x, Shape{1});
  const int from = normalized_dim("flatten", "first", first, x.rank()), to = normalized_dim("flatten", "last", last, x.rank());
  if (from > to) throw ValueError("flatten", "first", concat("at most last = ", to), concat(from));
  Shape shape;
  for (int d = 0; d < x.rank(); ++d) {
    if (d > from && d <= to) shape[-1] *= x.dim(d);
    else shape.push_back(x.dim(d));
  }
  return reshape(x, shape);
}

/// Without dimension `dim`, whose size must be 1. @throws ShapeError
template <class T, class D>
[[nodiscard]] Tensor<T, D> squeeze(const Tensor<T, D>& x, int dim) {
  const int at = normalized_dim("squeeze", "dim", dim, x.rank());
  if (x.dim(at) != 1) throw ShapeError("squeeze", "x", concat("size 1 in dimension ", at), x.shape());
  Shape shape;
  for (int d = 0; d < x.rank(); ++d)
    if (d != at) shape.push_back(x.dim(d));
  return reshape(x, shape);
}

/// With a dimension of size 1 at `dim` (counted in the result).
template <class T, class D>
[[nodiscard]] Tensor<T, D> unsqueeze(const Tensor<T, D>& x, int dim) {
  const int at = normalized_dim("unsqueeze", "dim", dim, x.rank() + 1);
  Shape shape;
  for (int d = 0; d <= x.rank(); ++d) {
    if (d == at) shape.push_back(1);
    if (d < x.rank()) shape.push_back(x.dim(d));
  }
  return reshape(x, shape);
}

}  // namespace segnet
