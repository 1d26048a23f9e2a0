// Dimensions reversed or shifted in a circle.
#pragma once

#include "segnet/ops/indexing.hpp"

namespace segnet {

/// Reversed along each of `dims`. @throws ValueError: no such dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> flip(const Tensor<T, D>& x, const std::vector<int>& dims) {
  Tensor<T, D> y = x;
  for (const int dim : dims) {
    const int d = normalized_dim("flip", "dims", dim, x.rank());
    std::vector<index_t> index;
    for (index_t i = x.dim(d); i-- > 0;) index.push_back(i);
    y = detail::select_rows("flip", y, d, std::move(index));
  }
  return y;
}

/// Shifted along `dim` by `shift` places towards higher indices; what leaves at one end comes in at the other.
/// @throws ValueError: no such dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> roll(const Tensor<T, D>& x, index_t shift, int dim) {
  const int d = normalized_dim("roll", "dim", dim, x.rank());
  const index_t n = x.dim(d);
  std::vector<index_t> index;
  for (index_t i = 0; i < n; ++i) index.push_back(((i - shift) % n + n) % n);
  return detail::select_rows("roll", x, d, std::move(index));
}

}  // namespace segnet
