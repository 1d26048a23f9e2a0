// Elements picked, placed and added by tensors of indices.
#pragma once

#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/elementwise.hpp"
#include "segnet/kernels/indexing.hpp"
#include "segnet/kernels/unary.hpp"
#include "segnet/ops/reshape.hpp"

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
  if constexpr (is_real<T>)
    return record(name, y, {x}, [around, n, count, index = std::move(index)](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::index_add({}, dy.view(), index.data(), around.outer, n, count, around.inner, T(1), grad[0].view());
    });
  else return y;
}

[[noreturn]] inline void index_outside(const char* op, index_t i, index_t n) {
  throw ValueError(op, "index", concat("indices in [", -n, ", ", n, ")"), concat(i));
}
/// The elements of `index` in row-major order, on the host, each checked and counted from the end when negative.
template <class D>
[[nodiscard]] std::vector<index_t> checked_indices(const char* op, const Tensor<index_t, D>& index, index_t n) {
  std::vector<index_t> list = index.to_vector();
  for (index_t& i : list) {
    if (i < -n || i >= n) index_outside(op, i, n);
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

/// x with alpha * src added at rows `index` of dimension `dim`: y[..., index[k], ...] += alpha * src[..., k, ...]. Rows named
/// several times add up in the order of the list.
///
/// @param index  [K], negative numbers count from the end
/// @param src    x's shape with K in place of dimension `dim`
/// @throws ShapeError: index is not a list, src has another shape;  ValueError: no such dimension, an index out of range
/// Gradients to x and src.
template <class T, class D>
[[nodiscard]] Tensor<T, D> index_add(const Tensor<T, D>& x, int dim, const Tensor<index_t, D>& index, const Tensor<T, D>& src,
                                     std::type_identity_t<T> alpha = T(1)) {
  const int d = normalized_dim("index_add", "dim", dim, x.rank());
  if (index.rank() != 1) throw ShapeError("index_add", "index", "[K]", index.shape());
  Shape expected = x.shape();
  expected[d] = index.dim(0);
  if (src.shape() != expected) throw ShapeError("index_add", "src", concat(expected), src.shape());
  const auto list = detail::checked_indices("index_add", index, x.dim(d));
  const detail::Around around(x.shape(), d);
  const index_t n = x.dim(d), count = index.dim(0);
  const Tensor<T, D> y(x.shape());
  kernels::index_add(x.view(), src.view(), list.data(), around.outer, n, count, around.inner, alpha, y.view());
  if constexpr (is_real<T>)
    return record("index_add", y, {x, src}, [=](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      grad.set(0, dy);
      if (!grad.wanted(1)) return;
      kernels::index_select(dy.view(), list.data(), around.outer, n, count, around.inner, grad[1].view());
      if (alpha != T(1))
        kernels::map(grad[1].view(), kernels::WithRight<kernels::Multiply, Master<T>>{{}, static_cast<Master<T>>(alpha)}, grad[1].view());
    });
  else return y;
}

namespace detail {
/// What gather and scatter_add check alike: `index` has x's rank, fits into `within` in the other dimensions, and its values into x.
template <class T, class D>
[[nodiscard]] Tensor<index_t, D> checked_lines(const char* op, const Tensor<T, D>& x, int d, const Tensor<index_t, D>& index) {
  bool fits = index.rank() == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == d || index.dim(i) <= x.dim(i);
  if (!fits) throw ShapeError(op, "index", concat("at most the sizes of x ", x.shape(), ", except in dimension ", d), index.shape());
  if constexpr (std::is_same_v<D, Cpu>) return Tensor<index_t, D>(index.shape(), checked_indices(op, index, x.dim(d)));
  else {  // as many indices as elements may be: they stay where they are
    const index_t n = x.dim(d), bad = kernels::first_outside(index.view(), -n, n);
    if (bad >= 0) index_outside(op, index.alias({1}, bad).item(), n);
    const Tensor<index_t, D> checked(index.shape());
    kernels::wrap_indices(index.view(), n, checked.view());
    return checked;
  }
}
}  // namespace detail

/// y[i][k][j] = x[i][index[i][k][j]][j] for dim = 1, other dimensions alike.
///
/// @param index  of x's rank, at most x's sizes except in dimension `dim`; negative numbers count from the end
/// @return       of index's shape
/// @throws ShapeError: index has another rank or is too large;  ValueError: no such dimension, an index out of range
/// Gradient to x: elements picked several times add up in rising order of k.
template <class T, class D>
[[nodiscard]] Tensor<T, D> gather(const Tensor<T, D>& x, int dim, const Tensor<index_t, D>& index) {
  const int d = normalized_dim("gather", "dim", dim, x.rank());
  const Tensor<index_t, D> checked = detail::checked_lines("gather", x, d, index);
  const Tensor<T, D> y(index.shape());
  kernels::gather(x.view(), checked.view(), d, y.view());
  if constexpr (is_real<T>)
    return record("gather", y, {x}, [d, checked, from = x.shape()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const Tensor<T, D> dx = zeros<T, D>(from);
      kernels::scatter_add(dy.view(), checked.view(), d, dx.view());
      grad.set(0, dx);
    });
  else return y;
}

/// x with src added where index says: y[i][index[i][k][j]][j] += src[i][k][j] for dim = 1, other dimensions alike; what meets in one
/// element adds up in rising order of k. The transpose of `gather`.
///
/// @param index  of x's rank, at most x's sizes except in dimension `dim`; negative numbers count from the end
/// @param src    at least index's size in every dimension
/// @throws ShapeError: index or src does not fit;  ValueError: no such dimension, an index out of range
/// Gradients to x and src.
template <class T, class D>
[[nodiscard]] Tensor<T, D> scatter_add(const Tensor<T, D>& x, int dim, const Tensor<index_t, D>& index, const Tensor<T, D>& src) {
  const int d = normalized_dim("scatter_add", "dim", dim, x.rank());
  const Tensor<index_t, D> checked = detail::checked_lines("scatter_add", x, d, index);
  bool fits = src.rank() == index.rank();
  for (int i = 0; fits && i < src.rank(); ++i) fits = src.dim(i) >= index.dim(i);
  if (!fits) throw ShapeError("scatter_add", "src", concat("at least the sizes of index ", index.shape()), src.shape());
  const Tensor<T, D> y = x.clone();
  kernels::scatter_add(src.view(), checked.view(), d, y.view());
  if constexpr (is_real<T>)
    return record("scatter_add", y, {x, src}, [d, checked, from = src.shape()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      grad.set(0, dy);
      if (!grad.wanted(1)) return;
      if (from == checked.shape()) return kernels::gather(dy.view(), checked.view(), d, grad[1].view());
      const Tensor<T, D> part(checked.shape()), dsrc = zeros<T, D>(from);
      kernels::gather(dy.view(), checked.view(), d, part.view());
      const kernels::Strides of_part(part.shape()), of_src(from);
      kernels::StridedBox box;
      for (int i = 0; i < from.rank(); ++i) box.push_back(part.dim(i), of_part[i], of_src[i]);
      kernels::copy_strided(box, part.view(), dsrc.view());
      grad.set(1, dsrc);
    });
  else return y;
}

/// Rows of a table: y[..., :] = weight[index[...], :].
///
/// @param weight  [V, E]   @param index  any shape, in [0, V)
/// @return        [..., E]
/// @throws ShapeError: weight is no table;  ValueError: an index out of range
template <class T, class D>
[[nodiscard]] Tensor<T, D> embedding(const Tensor<T, D>& weight, const Tensor<index_t, D>& index) {
  if (weight.rank() != 2) throw ShapeError("embedding", "weight", "[V, E]", weight.shape());
  Shape shape = index.shape();
  shape.push_back(weight.dim(1));
  return reshape(detail::select_rows("embedding", weight, 0, detail::checked_indices("embedding", index, weight.dim(0))), shape);
}

/// Pixels of images at listed places: y[k, :] = x[n[k], h[k], w[k], :].
///
/// @param x        [N, H, W, C]
/// @param n, h, w  [K] each, negative numbers count from the end
/// @return         [K, C]
/// @throws ShapeError: x is no batch of images, the lists differ in length;  ValueError: a place outside
template <class T, class D>
[[nodiscard]] Tensor<T, D> gather_pixels(const Tensor<T, D>& x, const Tensor<index_t, D>& n, const Tensor<index_t, D>& h,
                                         const Tensor<index_t, D>& w) {
  if (x.rank() != 4) throw ShapeError("gather_pixels", "x", "[N, H, W, C]", x.shape());
  if (n.rank() != 1) throw ShapeError("gather_pixels", "n", "[K]", n.shape());
  if (h.shape() != n.shape()) throw ShapeError("gather_pixels", "h", concat(n.shape()), h.shape());
  if (w.shape() != n.shape()) throw ShapeError("gather_pixels", "w", concat(n.shape()), w.shape());
  std::vector<index_t> place = detail::checked_indices("gather_pixels", n, x.dim(0));
  const auto rows = detail::checked_indices("gather_pixels", h, x.dim(1)), columns = detail::checked_indices("gather_pixels", w, x.dim(2));
  for (std::size_t k = 0; k < place.size(); ++k) place[k] = (place[k] * x.dim(1) + rows[k]) * x.dim(2) + columns[k];
  return detail::select_rows("gather_pixels", reshape(x, Shape{x.dim(0) * x.dim(1) * x.dim(2), x.dim(3)}), 0, std::move(place));
}

/// 1 where the class is, 0 elsewhere: y[..., c] = (index[...] == c).
///
/// @return  [..., classes]
/// @throws ValueError: a class outside [0, classes)
template <class T = index_t, class D>
[[nodiscard]] Tensor<T, D> one_hot(const Tensor<index_t, D>& index, index_t classes) {
  Shape shape = index.shape();
  shape.push_back(classes);
  if (const index_t bad = kernels::first_outside(index.view(), 0, classes); bad >= 0)
    throw ValueError("one_hot", "index", concat("classes in [0, ", classes, ")"), concat(index.alias({1}, bad).item()));
  const Tensor<T, D> y(shape);
  kernels::one_hot(index.view(), classes, y.view());
  return y;
}

/// Where mask holds, in row-major order: [K, rank] indices.
template <class D>
[[nodiscard]] Tensor<index_t, D> nonzero(const Tensor<bool, D>& mask) {
  const Tensor<index_t, D> y({kernels::count(mask.view()), mask.rank()});
  kernels::nonzero(mask.view(), y.view());
  return y;
}

}  // namespace segnet
