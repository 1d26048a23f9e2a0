// Dimensions in another order: always a copy, since tensors have no strides.
#pragma once

#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/strided.hpp"

namespace segnet {

namespace detail {
template <class T, class D>
[[nodiscard]] Tensor<T, D> permuted(const Tensor<T, D>& x, const std::vector<int>& order) {
  const kernels::Strides from(x.shape());
  Shape shape;
  for (const int d : order) shape.push_back(x.dim(d));
  const kernels::Strides to(shape);
  kernels::StridedBox box;
  for (int d = 0; d < shape.rank(); ++d) box.push_back(shape[d], from[order[static_cast<std::size_t>(d)]], to[d]);
  const Tensor<T, D> y(shape);
  kernels::copy_strided(box, x.view(), y.view());
  return y;
}
}  // namespace detail

/// Dimension d of the result is dimension order[d] of x.
/// @throws ValueError: `order` does not name each dimension once
template <class T, class D>
[[nodiscard]] Tensor<T, D> permute(const Tensor<T, D>& x, std::vector<int> order) {
  std::vector<int> inverse(order.size(), -1);
  if (static_cast<int>(order.size()) != x.rank())
    throw ValueError("permute", "order", concat(x.rank(), " dimensions for x ", x.shape()), concat(order.size()));
  for (std::size_t d = 0; d < order.size(); ++d) {
    order[d] = normalized_dim("permute", "order", order[d], x.rank());
    int& place = inverse[static_cast<std::size_t>(order[d])];
    if (place >= 0) throw ValueError("permute", "order", "each dimension once", concat("dimension ", order[d], " twice"));
    place = static_cast<int>(d);
  }
  const Tensor<T, D> y = detail::permuted(x, order);
  if constexpr (is_real<T>)
    return record("permute", y, {x},
                  [inverse](const Tensor<T, D>& dy, Gradients<T, D>& grad) { grad.set(0, detail::permuted(dy, inverse)); });
  else return y;
}

/// Two dimensions change places.
template <class T, class D>
[[nodiscard]] Tensor<T, D> transpose(const Tensor<T, D>& x, int dim0, int dim1) {
  std::vector<int> order;
  for (int d = 0; d < x.rank(); ++d) order.push_back(d);
  std::swap(order[static_cast<std::size_t>(normalized_dim("transpose", "dim0", dim0, x.rank()))],
            order[static_cast<std::size_t>(normalized_dim("transpose", "dim1", dim1, x.rank()))]);
  return permute(x, order);
}

}  // namespace segnet
