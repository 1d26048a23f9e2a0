// Tensors joined along a dimension, and cut up again.
#pragma once

#include <vector>

#include "segnet/autograd/saved.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet {

/// Tensors one behind the other along `dim`; their other sizes agree. Channels ([N, H, W, Ci], dim = -1) are copied pixel by
/// pixel in whole rows.
/// @throws ValueError: no tensors, no such dimension;  ShapeError: another size differs
/// Each gradient is the part of dy that belongs to it: copied, and only for inputs that want one.
template <class T, class D>
[[nodiscard]] Tensor<T, D> concat(const std::vector<Tensor<T, D>>& tensors, int dim) {
  if (tensors.empty()) throw ValueError("concat", "tensors", "at least one", "none");
  const Shape first = tensors[0].shape();
  const int at = normalized_dim("concat", "dim", dim, first.rank());
  Shape shape = first;
  shape[at] = 0;
  for (const auto& x : tensors) {
    Shape expected = first;
    if (x.rank() == first.rank()) expected[at] = x.dim(at);
    if (x.shape() != expected) throw ShapeError("concat", "tensors", concat("shapes like ", first, " but in dimension ", at), x.shape());
    shape[at] += x.dim(at);
  }

  const Tensor<T, D> y(shape);
  std::vector<detail::Part> parts;
  Shape start, step;
  for (int d = 0; d < shape.rank(); ++d) {
    start.push_back(0);
    step.push_back(1);
  }
  for (const auto& x : tensors) {
    parts.push_back(detail::part_of(shape, start, x.shape(), step));
    kernels::copy_strided(detail::reversed(parts.back().box), x.view(), y.view());
    start[at] += x.dim(at);
  }
  if constexpr (is_real<T>) {
    record("concat", y, tensors, [parts = std::move(parts)](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!grad.wanted(i)) continue;
        if (parts[i].contiguous && parts[i].shape.numel() > 0) grad.set(i, dy.alias(parts[i].shape, parts[i].box.source_offset));
        else kernels::copy_strided(parts[i].box, dy.view(), grad[i].view());
      }
    });
    // Unless one follows another, as in a DenseNet: each would be copied again with all those before it.
    const auto joined = [](const Tensor<T, D>& x) { return x.recipe() && x.node()->operation == std::string_view("concat"); };
    if (y.tracked() && std::none_of(tensors.begin(), tensors.end(), joined))
      recomputable(y, [saved = std::vector<Saved<T, D>>(tensors.begin(), tensors.end()), at] {
        std::vector<Tensor<T, D>> again;
        for (const auto& x : saved) again.push_back(x.elements());
        return concat(again, at);
      });
  }
  return y;
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> concat(std::initializer_list<Tensor<T, D>> tensors, int dim) {
  return concat(std::vector<Tensor<T, D>>(tensors), dim);
}

/// Tensors of one shape, side by side along a new dimension `dim` (counted in the result).
/// @throws ValueError: no tensors, no such dimension;  ShapeError: their shapes differ
template <class T, class D>
[[nodiscard]] Tensor<T, D> stack(const std::vector<Tensor<T, D>>& tensors, int dim = 0) {
  if (tensors.empty()) throw ValueError("stack", "tensors", "at least one", "none");
  const int at = normalized_dim("stack", "dim", dim, tensors[0].rank() + 1);
  std::vector<Tensor<T, D>> raised;
  for (const auto& x : tensors) {
    if (x.shape() != tensors[0].shape()) throw ShapeError("stack", "tensors", concat("all of shape ", tensors[0].shape()), x.shape());
    raised.push_back(unsqueeze(x, at));
  }
  return concat(raised, at);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> stack(std::initializer_list<Tensor<T, D>> tensors, int dim = 0) {
  return stack(std::vector<Tensor<T, D>>(tensors), dim);
}

/// Pieces of the given sizes along `dim`, which must add up to its size. @throws ValueError
template <class T, class D>
[[nodiscard]] std::vector<Tensor<T, D>> split(const Tensor<T, D>& x, const std::vector<index_t>& sizes, int dim) {
  const int at = normalized_dim("split", "dim", dim, x.rank());
  index_t sum = 0;
  for (const index_t size : sizes) sum += size;
  if (sum != x.dim(at))
    throw ValueError("split", "sizes", concat("a sum of ", x.dim(at), " for dimension ", at, " of ", x.shape()), concat(sum));
  std::vector<Tensor<T, D>> pieces;
  index_t start = 0;
  for (const index_t size : sizes) {
    pieces.push_back(narrow(x, at, start, size));
    start += size;
  }
  return pieces;
}

/// At most `chunks` pieces of equal size along `dim`, the last one perhaps smaller. @throws ValueError: chunks < 1
template <class T, class D>
[[nodiscard]] std::vector<Tensor<T, D>> chunk(const Tensor<T, D>& x, index_t chunks, int dim) {
  const int at = normalized_dim("chunk", "dim", dim, x.rank());
  if (chunks < 1) throw ValueError("chunk", "chunks", "at least 1", concat(chunks));
  const index_t n = x.dim(at), size = std::max<index_t>(1, (n + chunks - 1) / chunks);
  std::vector<index_t> sizes;
  for (index_t start = 0; start < n || sizes.empty(); start += size) sizes.push_back(std::min(size, n - start));
  return split(x, sizes, at);
}

}  // namespace segnet
