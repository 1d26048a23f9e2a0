// Elements picked by indices, and the transpose: elements added up where the indices say, in an order that does not change.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/kernels/strided.hpp"

namespace segnet::kernels {

/// Where each of n values stands in a list: positions[first[v]] ... positions[first[v + 1] - 1], in rising order.
/// Turns a scatter into a gather that adds in a fixed order.
struct Occurrences {
  std::vector<index_t> first, positions;

  Occurrences(const index_t* list, index_t length, index_t n)
      : first(static_cast<std::size_t>(n) + 1), positions(static_cast<std::size_t>(length)) {
    for (index_t k = 0; k < length; ++k) ++first[static_cast<std::size_t>(list[k]) + 1];
    for (std::size_t v = 1; v < first.size(); ++v) first[v] += first[v - 1];
    std::vector<index_t> next(first.begin(), first.end() - 1);
    for (index_t k = 0; k < length; ++k) positions[static_cast<std::size_t>(next[static_cast<std::size_t>(list[k])]++)] = k;
  }
};

// Lists of indices (`const index_t*`) lie in the host's memory for either device. The GPU's kernels are in cuda/indexing.cuh.

/// y[o, k, :] = x[o, index[k], :] for x [outer, n, inner], y [outer, count, inner]; every index lies in [0, n).
template <class T>
void index_select(ConstView<T, Cuda> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner, View<T, Cuda> y);
template <class T>
void index_select(ConstView<T, Cpu> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner, View<T, Cpu> y) {
  parallel_for(outer * count, std::max<index_t>(1, 32768 / std::max<index_t>(inner, 1)), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const T* from = x.data + (row / count * n + index[row % count]) * inner;
      T* to = y.data + row * inner;
      if (inner < 16)
        for (index_t j = 0; j < inner; ++j) to[j] = from[j];
      else std::copy(from, from + inner, to);
    }
  });
}

/// y[o, v, :] = base[o, v, :] + alpha * sum of x[o, k, :] over the k with index[k] = v, in rising order of k; a null base is zero.
/// x [outer, count, inner], y [outer, n, inner].
template <class T>
void index_add(ConstView<T, Cuda> base, ConstView<T, Cuda> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner,
               T alpha, View<T, Cuda> y);
template <class T>
void index_add(ConstView<T, Cpu> base, ConstView<T, Cpu> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner,
               T alpha, View<T, Cpu> y) {
  const Occurrences where(index, count, n);
  parallel_for(outer * n, std::max<index_t>(1, 32768 / std::max<index_t>(inner, 1)), [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row) {
        const std::size_t v = static_cast<std::size_t>(row % n);
        T* to = y.data + row * inner;
        if (base) std::copy(base.data + row * inner, base.data + (row + 1) * inner, to);
        else std::fill(to, to + inner, T(0));
        for (index_t p = where.first[v]; p < where.first[v + 1]; ++p) {
          const T* from = x.data + (row / n * count + where.positions[static_cast<std::size_t>(p)]) * inner;
          SEGNET_SIMD
          for (index_t j = 0; j < inner; ++j) to[j] = static_cast<T>(to[j] + alpha * from[j]);
        }
      }
    });
  });
}

/// The lines of `index` along dimension d, each beside the line of x at the same place: x has the same rank, and at least index's
/// sizes in the other dimensions. Different lines of index meet different lines of x, so that they can be worked on side by side.
struct IndexLines {
  index_t count = 1, length, step, x_step;  ///< lines; elements and distance of neighbours in one of index; distance in x
  int rank, d;
  Shape index;
  Strides index_strides, x_strides;

  IndexLines(const Shape& index_shape, const Shape& x_shape, int dim)
      : length(index_shape[dim]), rank(index_shape.rank()), d(dim), index(index_shape), index_strides(index_shape), x_strides(x_shape) {
    step = index_strides[d];
    x_step = x_strides[d];
    for (int i = 0; i < rank; ++i)
      if (i != d) count *= index[i];
  }
  /// Where line number `line` begins, in index and in x.
  SEGNET_HOST_DEVICE void begin(index_t line, index_t& at, index_t& x_at) const {
    at = x_at = 0;
    for (int i = rank; i-- > 0;) {
      if (i == d) continue;
      at += line % index[i] * index_strides[i];
      x_at += line % index[i] * x_strides[i];
      line /= index[i];
    }
  }
};

/// y[i][k][j] = x[i][index[i][k][j]][j] along dimension d, for every element of index.
template <class T>
void gather(ConstView<T, Cuda> x, ConstView<index_t, Cuda> index, int d, View<T, Cuda> y);
template <class T>
void gather(ConstView<T, Cpu> x, ConstView<index_t, Cpu> index, int d, View<T, Cpu> y) {
  if (index.size() == 0) return;
  const IndexLines lines(index.shape, x.shape, d);
  parallel_for(lines.count, std::max<index_t>(1, 16384 / lines.length), [&](index_t first, index_t last) {
    for (index_t line = first; line < last; ++line) {
      index_t at, x_at;
      lines.begin(line, at, x_at);
      for (index_t k = 0; k < lines.length; ++k, at += lines.step) y[at] = x[x_at + index[at] * lines.x_step];
    }
  });
}

/// y[i][index[i][k][j]][j] += src[i][k][j] along dimension d, in rising order of k. src may be larger than index.
template <class T>
void scatter_add(ConstView<T, Cuda> src, ConstView<index_t, Cuda> index, int d, View<T, Cuda> y);
template <class T>
void scatter_add(ConstView<T, Cpu> src, ConstView<index_t, Cpu> index, int d, View<T, Cpu> y) {
  if (index.size() == 0) return;
  const IndexLines lines(index.shape, y.shape, d), sources(index.shape, src.shape, d);
  parallel_for(lines.count, std::max<index_t>(1, 16384 / lines.length), [&](index_t first, index_t last) {
    for (index_t line = first; line < last; ++line) {
      index_t at, y_at, src_at;
      lines.begin(line, at, y_at);
      sources.begin(line, at, src_at);
      for (index_t k = 0; k < lines.length; ++k, at += lines.step) y[y_at + index[at] * lines.x_step] += src[src_at + k * sources.x_step];
    }
  });
}

/// The position of the first index outside [low, high), or -1.
inline index_t first_outside(ConstView<index_t, Cpu> index, index_t low, index_t high) {
  for (index_t i = 0; i < index.size(); ++i)
    if (index[i] < low || index[i] >= high) return i;
  return -1;
}
index_t first_outside(ConstView<index_t, Cuda> index, index_t low, index_t high);

/// y = index, with n added to what is negative.
void wrap_indices(ConstView<index_t, Cuda> index, index_t n, View<index_t, Cuda> y);

/// y[i, c] = (index[i] == c), c < classes
template <class T>
void one_hot(ConstView<index_t, Cuda> index, index_t classes, View<T, Cuda> y);
template <class T>
void one_hot(ConstView<index_t, Cpu> index, index_t classes, View<T, Cpu> y) {
  parallel_for(index.size(), std::max<index_t>(1, 32768 / std::max<index_t>(classes, 1)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i)
      for (index_t c = 0; c < classes; ++c) y[i * classes + c] = static_cast<T>(index[i] == c);
  });
}

/// How many elements hold.
inline index_t count(ConstView<bool, Cpu> mask) { return std::count(mask.data, mask.data + mask.size(), true); }

index_t count(ConstView<bool, Cuda> mask);

/// The positions of the elements that hold, in row-major order: y [count(mask), rank].
inline void nonzero(ConstView<bool, Cpu> mask, View<index_t, Cpu> y) {
  index_t* row = y.data;
  const int rank = mask.shape.rank();
  for (index_t i = 0; i < mask.size(); ++i) {
    if (!mask[i]) continue;
    index_t rest = i;
    for (int d = rank; d-- > 0; rest /= mask.dim(d)) row[d] = rest % mask.dim(d);
    row += rank;
  }
}

void nonzero(ConstView<bool, Cuda> mask, View<index_t, Cuda> y);

/// mask[i, j] = j - i >= k: the upper triangle from diagonal k on, of [H, W].
inline void triangle(index_t k, View<bool, Cpu> mask) {
  const index_t W = mask.dim(1);
  for (index_t p = 0; p < mask.size(); ++p) mask[p] = p % W - p / W >= k;
}
void triangle(index_t k, View<bool, Cuda> mask);

}  // namespace segnet::kernels
