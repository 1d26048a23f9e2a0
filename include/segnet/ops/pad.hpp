// Borders around a tensor, or (negative) cropped from it.
#pragma once

#include <vector>

#include "segnet/ops/indexing.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet {

/// What a border holds.
enum class PadMode {
  constant,   ///< a number
  reflect,    ///< the tensor mirrored at its first and last element, which are not repeated; at most size - 1 of it
  replicate,  ///< its first or last element
  circular    ///< its other end; at most size of it
};

[[nodiscard]] inline const char* to_string(PadMode mode) {
  const char* const names[] = {"constant", "reflect", "replicate", "circular"};
  return names[static_cast<int>(mode)];
}

namespace detail {

/// Which element of a dimension of n stands at position i in [-n, 2n) or beyond.
[[nodiscard]] inline index_t border_source(PadMode mode, index_t i, index_t n) {
  if (i >= 0 && i < n) return i;
  if (mode == PadMode::replicate) return i < 0 ? 0 : n - 1;
  if (mode == PadMode::circular) return i < 0 ? i + n : i - n;
  return i < 0 ? -i : 2 * (n - 1) - i;
}

template <class T, class D>
[[nodiscard]] Tensor<T, D> pad_constant(const Tensor<T, D>& x, const Shape& shape, const std::vector<index_t>& front, T value) {
  const kernels::Strides from(x.shape()), to(shape);
  kernels::StridedBox box;
  for (int d = 0; d < x.rank(); ++d) {
    const index_t before = front[static_cast<std::size_t>(d)];
    const index_t first = std::max<index_t>(0, -before), last = std::min(x.dim(d), shape[d] - before);  // of x, what is not cropped
    box.source_offset += first * from[d];
    box.destination_offset += (first + before) * to[d];
    box.push_back(std::max<index_t>(0, last - first), from[d], to[d]);
  }
  const Tensor<T, D> y = full<T, D>(shape, value);
  kernels::copy_strided(box, x.view(), y.view());
  if constexpr (is_real<T>)
    return record("pad", y, {x}, [from_shape = x.shape(), box = reversed(box)](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const Tensor<T, D> dx = zeros<T, D>(from_shape);
      kernels::copy_strided(box, dy.view(), dx.view());
      grad.set(0, dx);
    });
  else return y;
}

}  // namespace detail

/// x with borders. `padding` lists pairs {before, after}, the last dimension first: images [N, H, W, C] take
/// {0, 0, left, right, top, bottom}. Negative numbers crop.
/// @throws ValueError: an odd count, more pairs than dimensions, more to reflect or repeat than there is;  ShapeError: nothing is left
template <class T, class D>
[[nodiscard]] Tensor<T, D> pad(const Tensor<T, D>& x, const std::vector<index_t>& padding, PadMode mode = PadMode::constant,
                               std::type_identity_t<T> value = T(0)) {
  if (padding.size() % 2 != 0 || static_cast<int>(padding.size() / 2) > x.rank())
    throw ValueError("pad", "padding", concat("pairs {before, after} for at most ", x.rank(), " dimensions"),
                     concat(padding.size(), " numbers"));
  Shape shape = x.shape();
  std::vector<index_t> front(static_cast<std::size_t>(x.rank()), 0);
  for (std::size_t p = 0; p < padding.size(); p += 2) {
    const int d = x.rank() - 1 - static_cast<int>(p / 2);
    const index_t before = padding[p], after = padding[p + 1], n = x.dim(d);
    if (n + before + after < 0)
      throw ShapeError("pad", "x", concat("at least ", -before - after, " in dimension ", d, " to crop"), x.shape());
    const index_t limit = mode == PadMode::reflect ? n - 1 : mode == PadMode::circular ? n : std::numeric_limits<index_t>::max();
    if (std::max(before, after) > limit)
      throw ValueError("pad", "padding", concat("at most ", limit, " for mode ", to_string(mode), " in dimension ", d, " of ", x.shape()),
                       concat(std::max(before, after)));
    if (mode == PadMode::replicate && n == 0 && std::max(before, after) > 0)
      throw ShapeError("pad", "x", concat("something to repeat in dimension ", d), x.shape());
    shape[d] = n + before + after;
    front[static_cast<std::size_t>(d)] = before;
  }
  if (shape == x.shape() && std::all_of(front.begin(), front.end(), [](index_t before) { return before == 0; })) return x;
  if (mode == PadMode::constant) return detail::pad_constant(x, shape, front, value);

  Tensor<T, D> y = x;
  for (int d = 0; d < x.rank(); ++d) {
    const index_t before = front[static_cast<std::size_t>(d)];
    if (shape[d] == x.dim(d) && before == 0) continue;
    std::vector<index_t> source;
    for (index_t i = 0; i < shape[d]; ++i) source.push_back(detail::border_source(mode, i - before, x.dim(d)));
    y = detail::select_rows("pad", y, d, source);
  }
  return y;
}

}  // namespace segnet
