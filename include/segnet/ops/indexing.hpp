// Elements picked, placed and added by tensors of indices.
#pragma once

#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/indexing.hpp"

namespace segnet {

namespace detail {
/// The sizes in front of and behind dimension d.
struct Around {
  index_t outer = 1, inner = 1;
  Around(const Shape& shape, int d) {
    for (int i = 0; i < shape.rank(); ++i)
      if (i != d) (i < d ? outer : inner) *= shape[i];
  }
};

/// x[..., index[k], ...] in dimension d, for indices known to be in range.
template <class T, class D>
[[nodiscard]] Tensor<T, D> select_rows(const char* name, const Tensor<T, D>& x, int d, std::vector<index_t> index) {
  Shape shape = x.shape();
  const index_t n = shape[d], count = static_cast<index_t>(index.size());
  const Around around(shape, d);
  shape[d] = count;
  const Tensor<T, D> y(shape);
  kernels::index_select(x.view(), index.data(), around.outer, n, count, around.inner, y.view());
  if constexpr (std::is_floating_point_v<T>)
    return record(name, y, {x}, [around, n, count, index = std::move(index)](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::index_add({}, dy.view(), index.data(), around.outer, n, count, around.inner, T(1), grad[0].view());
    });
  else return y;
}

/// The elements of a list of indices, each checked and counted from the end when negative.
[[nodiscard]] inline std::vector<index_t> checked_indices(const char* op, const Tensor<index_t, Cpu>& index, index_t n) {
  std::vector<index_t> list = index.to_vector();
  for (index_t& i : list) {
    if (i < -n || i >= n) throw ValueError(op, "index", concat("indices in [", -n, ", ", n, ")"), concat(i));
    if (i < 0) i += n;
  }
  return list;
}
}  // namespace detail

/// y[..., k, ...] = x[..., index[k], ...] in dimension `dim`.
///
/// @param index  [K], negative numbers count from the end
/// @return       x's shape with K in place of dimension `dim`
/// @throws ShapeError: index is not a list;  ValueError: no such dimension, an index out of range
/// Gradient to x: rows picked several times add up in the order of the list.
template <class T, class D>
[[nodiscard]] Tensor<T, D> index_select(const Tensor<T, D>& x, int dim, const Tensor<index_t, D>& index) {
  const int d = normalized_dim("index_select", "dim", dim, x.rank());
  if (index.rank() != 1) throw ShapeError("index_select", "index", "[K]", index.shape());
  return detail::select_rows("index_select", x, d, detail::checked_indices("index_select", index, x.dim(d)));
}

}  // namespace segnet
