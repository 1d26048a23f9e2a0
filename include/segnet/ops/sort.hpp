// Elements in order along a dimension.
#pragma once

#include "segnet/kernels/sort.hpp"
#include "segnet/ops/reduction.hpp"

namespace segnet {

namespace detail {
template <class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> sorted(const char* name, const Tensor<T, D>& x, int dim, index_t k, bool descending) {
  const int d = normalized_dim(name, "dim", dim, x.rank());
  if (k < 0 || k > x.dim(d)) throw ValueError(name, "k", concat("0 to ", x.dim(d), " in dimension ", d, " of ", x.shape()), concat(k));
  const Around around(x.shape(), d);
  Shape shape = x.shape();
  shape[d] = k;
  const Tensor<T, D> values(shape);
  const Tensor<index_t, D> indices(shape);
  kernels::sort({around.outer, x.dim(d), around.inner}, x.view(), k, descending, values.view(), indices.view());
  if constexpr (is_real<T>)
    record(name, values, {x}, [d, indices, from = x.shape()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const Tensor<T, D> dx = zeros<T, D>(from);
      kernels::scatter_add(dy.view(), indices.view(), d, dx.view());
      grad.set(0, dx);
    });
  return {values, indices};
}
}  // namespace detail

/// Sorted along `dim`, and where each element came from. Stable: equal elements stay in order. NaN counts as larger than every
/// number. Gradients go back to where the elements came from.
/// @throws ValueError: no such dimension
template <class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> sort(const Tensor<T, D>& x, int dim = -1, bool descending = false) {
  return detail::sorted("sort", x, dim, x.dim(normalized_dim("sort", "dim", dim, x.rank())), descending);
}

/// The k largest (or smallest) elements along `dim` in order, the best first; of equals, those that come first.
/// @throws ValueError: no such dimension, more than there are
template <class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> topk(const Tensor<T, D>& x, index_t k, int dim = -1, bool largest = true) {
  return detail::sorted("topk", x, dim, k, largest);
}

}  // namespace segnet
