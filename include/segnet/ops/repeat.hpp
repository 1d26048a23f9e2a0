// A tensor's elements several times: broadcast, as tiles, or each one in a row.
#pragma once

#include "segnet/kernels/strided.hpp"
#include "segnet/ops/elementwise.hpp"
#include "segnet/ops/indexing.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet {

/// x broadcast to `shape`: dimensions of size 1, and missing ones in front, repeat. Always a copy; element-wise operations
/// broadcast by themselves, without one. Gradients add up over the copies.
/// @throws ShapeError: x does not broadcast to `shape`
template <class T, class D>
[[nodiscard]] Tensor<T, D> expand(const Tensor<T, D>& x, const Shape& shape) {
  if (x.rank() > shape.rank() || kernels::broadcast_shape("expand", shape, x.shape()) != shape)
    throw ShapeError("expand", "x", concat("a shape that broadcasts to ", shape), x.shape());
  if (shape == x.shape()) return x;
  const int added = shape.rank() - x.rank();
  const kernels::Strides from(x.shape()), to(shape);
  kernels::StridedBox box;
  for (int d = 0; d < shape.rank(); ++d) box.push_back(shape[d], d < added || x.dim(d - added) == 1 ? 0 : from[d - added], to[d]);
  const Tensor<T, D> y(shape);
  kernels::copy_strided(box, x.view(), y.view());
  if constexpr (is_real<T>)
    return record("expand", y, {x},
                  [from_shape = x.shape()](const Tensor<T, D>& dy, Gradients<T, D>& grad) { grad.set(0, sum_to(dy, from_shape)); });
  else return y;
}

/// The whole tensor repeats[d] times along each dimension, as tiles; more repeats than dimensions add dimensions in front.
/// @throws ValueError: fewer repeats than dimensions, or a negative one
template <class T, class D>
[[nodiscard]] Tensor<T, D> repeat(const Tensor<T, D>& x, const std::vector<index_t>& repeats) {
  const int added = static_cast<int>(repeats.size()) - x.rank();
  if (added < 0) throw ValueError("repeat", "repeats", concat("at least ", x.rank(), " numbers for x ", x.shape()), concat(repeats.size()));
  Shape shape;
  for (int d = 0; d < added; ++d) shape.push_back(1);
  for (const index_t size : x.shape()) shape.push_back(size);
  Tensor<T, D> y = reshape(x, shape);
  for (int d = shape.rank(); d-- > 0;) {
    const index_t times = repeats[static_cast<std::size_t>(d)];
    if (times < 0) throw ValueError("repeat", "repeats", "no negative number", concat(times));
    if (times == 1) continue;
    std::vector<index_t> index;
    for (index_t i = 0; i < times * shape[d]; ++i) index.push_back(i % shape[d]);
    y = detail::select_rows("repeat", y, d, std::move(index));
  }
  return y;
}

/// Each element of dimension `dim` `times` times in a row. @throws ValueError: no such dimension, times < 0
template <class T, class D>
[[nodiscard]] Tensor<T, D> repeat_interleave(const Tensor<T, D>& x, index_t times, int dim) {
  const int d = normalized_dim("repeat_interleave", "dim", dim, x.rank());
  if (times < 0) throw ValueError("repeat_interleave", "times", "at least 0", concat(times));
  std::vector<index_t> index;
  for (index_t i = 0; i < times * x.dim(d); ++i) index.push_back(i / times);
  return detail::select_rows("repeat_interleave", x, d, std::move(index));
}

}  // namespace segnet
