// Softmax and log-softmax over one dimension, and their transposed Jacobians.
//
// A tensor is seen as [outer, C, inner], C being the dimension that sums to one. Three ways to walk it, by shape alone:
//   inner > 1           `inner` columns side by side: vectors run over columns
//   inner = 1, C <= 32  rows turned over in tiles (row_tile.hpp): columns again
//   inner = 1, C > 32    each row by itself: vectors run along the row
#pragma once

#include <algorithm>
#include <array>

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/math.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::kernels {

/// The larger one; b where either is NaN, which the exponentials bring to light afterwards.
template <class T>
SEGNET_INLINE SEGNET_HOST_DEVICE T larger(T a, T b) {
  return a > b ? a : b;
}

namespace detail {

constexpr index_t column_group = 256;  ///< columns at a time where inner > 1: enough for the memory to deliver whole pages
constexpr index_t row_lanes = 32;      ///< partial results along a row

/// Calls columns(in, out, C, pitch, n) for groups of n <= column_group columns of C elements, element c of column j at
/// [c * pitch + j], or, for long rows, row(in, out, C). `in` are n_in arrays of the same layout as `out`; `columns` may find one of
/// them to be `out`.
template <class T, std::size_t n_in, class Columns, class Row>
void walk_softmax(index_t outer, index_t C, index_t inner, const std::array<const T*, n_in>& in, T* out, const Columns& columns,
                  const Row& row) {
  if (C == 0) return;
  constexpr index_t W = row_tile_width;
  const auto moved = [&](index_t by) SEGNET_INLINE_LAMBDA {
    std::array<const T*, n_in> to = in;
    for (auto& pointer : to) pointer += by;
    return to;
  };
  if (inner > 1) {
    const index_t groups = (inner + column_group - 1) / column_group;
    parallel_for(outer * groups, std::max<index_t>(1, 32768 / (C * std::min(inner, column_group))), [&](index_t begin, index_t end) {
      with_isa([&](auto) SEGNET_INLINE_LAMBDA {
        for (index_t g = begin; g < end; ++g) {
          const index_t first = g % groups * column_group, at = g / groups * C * inner + first;
          columns(moved(at), out + at, C, inner, std::min(column_group, inner - first));
        }
      });
    });
  } else if (C <= row_tile_max_channels) {
    parallel_for(outer, std::max<index_t>(1, 1024 / C) * W, [&](index_t begin, index_t end) {
      with_isa([&](auto isa) SEGNET_INLINE_LAMBDA {
        alignas(64) T tiles[n_in][row_tile_max_channels * W] = {};
        std::array<const T*, n_in> tile;
        for (std::size_t k = 0; k < n_in; ++k) tile[k] = tiles[k];
        for (index_t r = begin; r < end; r += W) {
          const index_t rows = std::min(W, end - r);
          for (std::size_t k = 0; k < n_in; ++k) load_row_tile<isa.value>(in[k] + r * C, rows, C, in[k] + outer * C, tiles[k]);
          columns(tile, tiles[0], C, W, W);  // behind the last row: what was there before, never stored
          store_row_tile<isa.value>(tiles[0], rows, C, out + r * C);
        }
      });
    });
  } else {
    parallel_for(outer, std::max<index_t>(1, 32768 / C), [&](index_t begin, index_t end) {
      with_isa([&](auto) SEGNET_INLINE_LAMBDA {
        for (index_t r = begin; r < end; ++r) row(moved(r * C), out + r * C, C);
      });
    });
  }
}

/// sum[j] = sum over c of exp(x - top), top[j] = max over c of x; keeps exp(x - top) in e, unless that is null.
template <class T>
SEGNET_INLINE void exp_sum_columns(const T* x, index_t C, index_t pitch, index_t n, T* top, T* sum, T* e) {
  SEGNET_SIMD
  for (index_t j = 0; j < n; ++j) top[j] = x[j], sum[j] = T(0);
  for (index_t c = 1; c < C; ++c) {
    const T* xc = x + c * pitch;
    SEGNET_SIMD
    for (index_t j = 0; j < n; ++j) top[j] = larger(xc[j], top[j]);
  }
  for (index_t c = 0; c < C; ++c) {
    const T* xc = x + c * pitch;
    if (e) {
      T* ec = e + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) {
        const T v = math::exp(xc[j] - top[j]);
        ec[j] = v;
        sum[j] += v;
      }
    } else {
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) sum[j] += math::exp(xc[j] - top[j]);
    }
  }
}

/// A row in blocks of row_lanes elements; the last one is a padded copy, so that every loop runs over whole vectors.
template <class T>
class RowBlocks {
 public:
  SEGNET_INLINE RowBlocks(const T* row, index_t C, T padding) : row_(row), full_(C / row_lanes * row_lanes), size_(C) {
    for (T& t : last_) t = padding;
    if (full_ < C) std::memcpy(last_, row + full_, static_cast<std::size_t>(C - full_) * sizeof(T));
  }
  SEGNET_INLINE const T* operator[](index_t c) const { return c < full_ ? row_ + c : last_; }
  SEGNET_INLINE index_t size() const { return size_; }

 private:
  const T* row_;
  index_t full_, size_;
  T last_[row_lanes];
};
/// The same for a row that is written; `finish` copies the last block.
template <class T>
class OutputRowBlocks {
 public:
  SEGNET_INLINE OutputRowBlocks(T* row, index_t C) : row_(row), full_(C / row_lanes * row_lanes), size_(C) {}
  SEGNET_INLINE T* operator[](index_t c) { return c < full_ ? row_ + c : last_; }
  SEGNET_INLINE void finish() const {
    if (full_ < size_) std::memcpy(row_ + full_, last_, static_cast<std::size_t>(size_ - full_) * sizeof(T));
  }

 private:
  T* row_;
  index_t full_, size_;
  T last_[row_lanes];
};

/// Combines row_lanes partial results pairwise, in the same order on every instruction set.
template <class T, class Combine>
SEGNET_INLINE T fold(T* lane, const Combine& combine) {
  for (index_t half = row_lanes / 2; half > 0; half /= 2) {
    SEGNET_SIMD
    for (index_t j = 0; j < half; ++j) lane[j] = combine(lane[j], lane[j + half]);
  }
  return lane[0];
}
template <class T>
SEGNET_INLINE T max_of_row(const RowBlocks<T>& x) {
  T lane[row_lanes];
  for (T& l : lane) l = -std::numeric_limits<T>::infinity();
  for (index_t c = 0; c < x.size(); c += row_lanes) {
    const T* xc = x[c];
    SEGNET_SIMD
    for (index_t j = 0; j < row_lanes; ++j) lane[j] = larger(xc[j], lane[j]);
  }
  return fold(lane, [](T a, T b) SEGNET_INLINE_LAMBDA { return larger(a, b); });
}
/// The sum of exp(x - top). `block(c)` is where the exponentials of the block at c go.
template <class T, class Block>
SEGNET_INLINE T exp_sum_of_row(const RowBlocks<T>& x, T top, const Block& block) {
  T lane[row_lanes] = {};
  for (index_t c = 0; c < x.size(); c += row_lanes) {
    const T* xc = x[c];
    T* e = block(c);
    SEGNET_SIMD
    for (index_t j = 0; j < row_lanes; ++j) e[j] = math::exp(xc[j] - top);
    const index_t count = std::min(row_lanes, x.size() - c);  // without the padding
    SEGNET_SIMD
    for (index_t j = 0; j < count; ++j) lane[j] += e[j];
  }
  return fold(lane, [](T a, T b) SEGNET_INLINE_LAMBDA { return a + b; });
}

template <class T>
struct Softmax {
  static SEGNET_INLINE void columns(const std::array<const T*, 1>& in, T* y, index_t C, index_t pitch, index_t n) {
    T top[column_group], sum[column_group];
    exp_sum_columns(in[0], C, pitch, n, top, sum, y);
    SEGNET_SIMD
    for (index_t j = 0; j < n; ++j) sum[j] = T(1) / sum[j];
    for (index_t c = 0; c < C; ++c) {
      T* yc = y + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) yc[j] *= sum[j];
    }
  }
  static SEGNET_INLINE void row(const std::array<const T*, 1>& in, T* out, index_t C) {
    const RowBlocks<T> x(in[0], C, in[0][0]);
    OutputRowBlocks<T> y(out, C);
    const T top = max_of_row(x);
    const T scale = T(1) / exp_sum_of_row(x, top, [&](index_t c) SEGNET_INLINE_LAMBDA { return y[c]; });
    for (index_t c = 0; c < C; c += row_lanes) {
      T* yc = y[c];
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) yc[j] *= scale;
    }
    y.finish();
  }
};

template <class T>
struct LogSoftmax {
  static SEGNET_INLINE void columns(const std::array<const T*, 1>& in, T* y, index_t C, index_t pitch, index_t n) {
    T top[column_group], sum[column_group];
    exp_sum_columns(in[0], C, pitch, n, top, sum, static_cast<T*>(nullptr));
    SEGNET_SIMD
    for (index_t j = 0; j < n; ++j) sum[j] = math::log(sum[j]);
    for (index_t c = 0; c < C; ++c) {
      const T* xc = in[0] + c * pitch;
      T* yc = y + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) yc[j] = (xc[j] - top[j]) - sum[j];
    }
  }
  static SEGNET_INLINE void row(const std::array<const T*, 1>& in, T* y, index_t C) {
    const RowBlocks<T> x(in[0], C, in[0][0]);
    T unused[row_lanes];
    const T top = max_of_row(x), log_sum = math::log(exp_sum_of_row(x, top, [&](index_t) SEGNET_INLINE_LAMBDA { return unused; }));
    const T* from = in[0];
    SEGNET_SIMD
    for (index_t c = 0; c < C; ++c) y[c] = (from[c] - top) - log_sum;
  }
};

/// in = {y, dy}: dx = y (dy - sum(y dy))
template <class T>
struct SoftmaxGrad {
  static SEGNET_INLINE void columns(const std::array<const T*, 2>& in, T* dx, index_t C, index_t pitch, index_t n) {
    T sum[column_group];
    SEGNET_SIMD
    for (index_t j = 0; j < n; ++j) sum[j] = T(0);
    for (index_t c = 0; c < C; ++c) {
      const T *y = in[0] + c * pitch, *dy = in[1] + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) sum[j] += y[j] * dy[j];
    }
    for (index_t c = 0; c < C; ++c) {
      const T *y = in[0] + c * pitch, *dy = in[1] + c * pitch;
      T* to = dx + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) to[j] = y[j] * (dy[j] - sum[j]);
    }
  }
  static SEGNET_INLINE void row(const std::array<const T*, 2>& in, T* dx, index_t C) {
    const RowBlocks<T> y(in[0], C, T(0)), dy(in[1], C, T(0));
    T lane[row_lanes] = {};
    for (index_t c = 0; c < C; c += row_lanes) {
      const T *yc = y[c], *dyc = dy[c];
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) lane[j] += yc[j] * dyc[j];
    }
    const T sum = fold(lane, [](T a, T b) SEGNET_INLINE_LAMBDA { return a + b; });
    const T *from = in[0], *gradient = in[1];
    SEGNET_SIMD
    for (index_t c = 0; c < C; ++c) dx[c] = from[c] * (gradient[c] - sum);
  }
};

/// in = {y, dy}: dx = dy - exp(y) sum(dy)
template <class T>
struct LogSoftmaxGrad {
  static SEGNET_INLINE void columns(const std::array<const T*, 2>& in, T* dx, index_t C, index_t pitch, index_t n) {
    T sum[column_group];
    SEGNET_SIMD
    for (index_t j = 0; j < n; ++j) sum[j] = T(0);
    for (index_t c = 0; c < C; ++c) {
      const T* dy = in[1] + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) sum[j] += dy[j];
    }
    for (index_t c = 0; c < C; ++c) {
      const T *y = in[0] + c * pitch, *dy = in[1] + c * pitch;
      T* to = dx + c * pitch;
      SEGNET_SIMD
      for (index_t j = 0; j < n; ++j) to[j] = dy[j] - math::exp(y[j]) * sum[j];
    }
  }
  static SEGNET_INLINE void row(const std::array<const T*, 2>& in, T* dx, index_t C) {
    const RowBlocks<T> dy(in[1], C, T(0));
    T lane[row_lanes] = {};
    for (index_t c = 0; c < C; c += row_lanes) {
      const T* dyc = dy[c];
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) lane[j] += dyc[j];
    }
    const T sum = fold(lane, [](T a, T b) SEGNET_INLINE_LAMBDA { return a + b; });
    const T *y = in[0], *gradient = in[1];
    SEGNET_SIMD
    for (index_t c = 0; c < C; ++c) dx[c] = gradient[c] - math::exp(y[c]) * sum;
  }
};

template <template <class> class Op, class T, std::size_t n_in>
void run_softmax(const Shape& shape, int dim, const std::array<const T*, n_in>& in, T* out) {
  index_t outer = 1, inner = 1;
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
  walk_softmax(
      outer, shape[dim], inner, in, out,
      [](const auto& from, T* to, index_t C, index_t pitch, index_t n) SEGNET_INLINE_LAMBDA { Op<T>::columns(from, to, C, pitch, n); },
      [](const auto& from, T* to, index_t C) SEGNET_INLINE_LAMBDA { Op<T>::row(from, to, C); });
}

}  // namespace detail

/// y = exp(x - max) / sum exp(x - max) over `dim` >= 0. x and y of one shape, not the same memory.
template <class T>
void softmax(ConstView<T> x, int dim, View<T> y) {
  detail::run_softmax<detail::Softmax, T, 1>(y.shape, dim, {x.data}, y.data);
}
/// y = x - max - log sum exp(x - max)
template <class T>
void log_softmax(ConstView<T> x, int dim, View<T> y) {
  detail::run_softmax<detail::LogSoftmax, T, 1>(y.shape, dim, {x.data}, y.data);
}
/// dx = y (dy - sum over dim of y dy)
template <class T>
void softmax_grad(ConstView<T> y, ConstView<T> dy, int dim, View<T> dx) {
  detail::run_softmax<detail::SoftmaxGrad, T, 2>(dx.shape, dim, {y.data, dy.data}, dx.data);
}
/// dx = dy - exp(y) (sum over dim of dy)
template <class T>
void log_softmax_grad(ConstView<T> y, ConstView<T> dy, int dim, View<T> dx) {
  detail::run_softmax<detail::LogSoftmaxGrad, T, 2>(dx.shape, dim, {y.data, dy.data}, dx.data);
}

}  // namespace segnet::kernels
