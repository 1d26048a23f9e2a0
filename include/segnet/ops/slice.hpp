// Parts of a tensor: a range of each dimension. What is contiguous in memory is not copied.
#pragma once

#include <limits>
#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/strided.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet {

/// Elements start, start + step, ... before stop, as in Python: negative numbers count from the end, what lies outside is cut
/// off. `{}` is everything.
struct Range {
  index_t start = 0, stop = std::numeric_limits<index_t>::max(), step = 1;
};

namespace detail {
/// The part of x that begins at `start` (an offset) and has `shape`, with a step in each dimension.
struct Part {
  Shape shape;
  kernels::StridedBox box;  // from x to the part
  bool contiguous = true;
};

[[nodiscard]] inline Part part_of(const Shape& x, const Shape& first, const Shape& shape, const Shape& step) {
  const kernels::Strides from(x), to(shape);
  Part part{shape, {}, true};
  bool inner_whole = true;  // whether all dimensions behind this one are taken whole
  for (int d = x.rank(); d-- > 0;) {
    if (shape[d] != 1 && (!inner_whole || step[d] != 1)) part.contiguous = false;
    if (shape[d] != x[d]) inner_whole = false;
  }
  for (int d = 0; d < x.rank(); ++d) {
    part.box.source_offset += first[d] * from[d];
    part.box.push_back(shape[d], from[d] * step[d], to[d]);
  }
  return part;
}

/// The box with source and destination exchanged.
[[nodiscard]] inline kernels::StridedBox reversed(kernels::StridedBox box) {
  for (int d = 0; d < box.rank; ++d) std::swap(box.source[d], box.destination[d]);
  std::swap(box.source_offset, box.destination_offset);
  return box;
}

template <class T, class D>
[[nodiscard]] Tensor<T, D> take(const char* name, const Tensor<T, D>& x, const Part& part) {
  Tensor<T, D> y;
  if (part.contiguous && part.shape.numel() > 0) y = x.alias(part.shape, part.box.source_offset);
  else {
    y = Tensor<T, D>(part.shape);
    kernels::copy_strided(part.box, x.view(), y.view());
  }
  if constexpr (is_real<T>)
    return record(name, y, {x}, [from = x.shape(), box = reversed(part.box)](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const Tensor<T, D> dx = zeros<T, D>(from);
      kernels::copy_strided(box, dy.view(), dx.view());
      grad.set(0, dx);
    });
  else return y;
}
}  // namespace detail

/// x[ranges[0], ranges[1], ...]; dimensions without a range are taken whole. A step must be at least 1.
/// y shares x's memory where its elements are contiguous there: for a range of the first dimension, for instance.
/// @throws ValueError: more ranges than dimensions, a step below 1
template <class T, class D>
[[nodiscard]] Tensor<T, D> slice(const Tensor<T, D>& x, const std::vector<Range>& ranges) {
  if (static_cast<int>(ranges.size()) > x.rank())
    throw ValueError("slice", "ranges", concat("at most ", x.rank(), " for x ", x.shape()), concat(ranges.size()));
  Shape first, shape, step;
  for (int d = 0; d < x.rank(); ++d) {
    const Range r = d < static_cast<int>(ranges.size()) ? ranges[static_cast<std::size_t>(d)] : Range{};
    if (r.step < 1) throw ValueError("slice", "step", "at least 1", concat(r.step));
    const index_t n = x.dim(d);
    const auto position = [n](index_t i) { return std::clamp<index_t>(i < 0 ? i + n : i, 0, n); };
    const index_t start = position(r.start), stop = std::max(start, position(r.stop));
    first.push_back(start);
    shape.push_back((stop - start + r.step - 1) / r.step);
    step.push_back(r.step);
  }
  if (shape == x.shape()) return x;
  return detail::take("slice", x, detail::part_of(x.shape(), first, shape, step));
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> slice(const Tensor<T, D>& x, std::initializer_list<Range> ranges) {
  return slice(x, std::vector<Range>(ranges));
}

/// `length` elements of dimension `dim`, from `start` on (negative: counted from the end).
/// @throws ValueError: not inside the dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> narrow(const Tensor<T, D>& x, int dim, index_t start, index_t length) {
  const int at = normalized_dim("narrow", "dim", dim, x.rank());
  const index_t n = x.dim(at), from = start < 0 ? start + n : start;
  if (from < 0 || from > n) throw ValueError("narrow", "start", concat("a position in dimension ", at, " of ", x.shape()), concat(start));
  if (length < 0 || from + length > n)
    throw ValueError("narrow", "length", concat("0 to ", n - from, " from ", from, " on in dimension ", at, " of ", x.shape()),
                     concat(length));
  if (length == n) return x;
  Shape first, shape, step;
  for (int d = 0; d < x.rank(); ++d) {
    first.push_back(d == at ? from : 0);
    shape.push_back(d == at ? length : x.dim(d));
    step.push_back(1);
  }
  return detail::take("narrow", x, detail::part_of(x.shape(), first, shape, step));
}

/// x[..., index, ...]: one element of dimension `dim`, which disappears. @throws ValueError: not inside the dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> select(const Tensor<T, D>& x, int dim, index_t index) {
  const int at = normalized_dim("select", "dim", dim, x.rank());
  if (index < -x.dim(at) || index >= x.dim(at))
    throw ValueError("select", "index", concat("an element of dimension ", at, " of ", x.shape()), concat(index));
  return squeeze(narrow(x, at, index, 1), at);
}

}  // namespace segnet
