// Softmax and log-softmax over one dimension, and their transposed Jacobians.
//
// A tensor is seen as [outer, C, inner], C being the dimension that sums to one. Three ways to walk it, by shape alone:
//   inner > 1           `inner` columns side by side: vectors run over columns
//   inner = 1, C small  rows turned over in tiles (row_tile.hpp): columns again
//   inner = 1           vectors run along each row
#pragma once

#include <algorithm>
#include <array>

#include "segnet/core/compiled.hpp"
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
constexpr index_t row_lanes = 16;      ///< partial results along a row

// Up to so many channels, turning rows over is worth its price: the more is computed per element, the longer.
constexpr index_t forward_tile_channels = row_tile_max_channels - 1;
constexpr index_t gradient_tile_channels = 12;

/// Calls columns(in, out, C, pitch, n) for groups of n <= column_group columns of C elements, element c of column j at
/// [c * pitch + j], or, for long rows, rows(isa, in, out, C, n) for groups of n <= row_tile_width rows. `in` are n_in arrays of the
/// same layout as `out`; `columns` may find one of them to be `out`.
template <index_t tile_channels, class T, std::size_t n_in, class Columns, class Rows>
void walk_softmax(index_t outer, index_t C, index_t inner, const std::array<const T*, n_in>& in, T* out, const Columns& columns,
                  const Rows& rows) {
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
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        for (index_t g = begin; g < end; ++g) {
          const index_t first = g % groups * column_group, at = g / groups * C * inner + first;
          columns(moved(at), out + at, C, inner, std::min(column_group, inner - first));
        }
      });
    });
  } else if (C <= tile_channels) {
    parallel_for(outer, std::max<index_t>(1, 1024 / C) * W, [&](index_t begin, index_t end) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        alignas(64) T tiles[n_in][tile_channels * W] = {};
        std::array<const T*, n_in> tile;
        for (std::size_t k = 0; k < n_in; ++k) tile[k] = tiles[k];
        for (index_t r = begin; r < end; r += W) {
          const index_t n = std::min(W, end - r);
          for (std::size_t k = 0; k < n_in; ++k) load_row_tile<isa.value>(in[k] + r * C, n, C, in[k] + outer * C, tiles[k]);
          columns(tile, tiles[0], C, W, W);  // behind the last row: what was there before, never stored
          store_row_tile<isa.value>(tiles[0], n, C, out + r * C);
        }
      });
    });
  } else {
    const index_t group = std::clamp<index_t>(1024 / C, 1, W);  // a few, which stay in the first-level cache
    parallel_for(outer, std::max<index_t>(1, 32768 / (C * group)) * group, [&](index_t begin, index_t end) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        for (index_t r = begin; r < end; r += group) rows(isa, moved(r * C), out + r * C, C, std::min(group, end - r));
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

// Long rows, up to row_tile_width at a time, in sweeps: maximum, sum, result. A sweep leaves row_lanes partial results for each row,
// and those of all rows are combined at once (fold_rows), so that no row waits for its own.

/// Walks rows of C elements in blocks of row_lanes. A last block that is not whole is kept aside, padded: every loop runs over whole
/// vectors.
template <class T>
struct RowBlocks {
  index_t C, whole;  ///< elements of a row, and of its whole blocks
  T last[row_tile_width * row_lanes];

  SEGNET_INLINE explicit RowBlocks(index_t channels) : C(channels), whole(channels / row_lanes * row_lanes) {}

  SEGNET_INLINE const T* operator()(const T* x, index_t r, index_t c) const { return c < whole ? x + r * C + c : last + r * row_lanes; }
  SEGNET_INLINE T* operator()(T* x, index_t r, index_t c) { return c < whole ? x + r * C + c : last + r * row_lanes; }
  /// Reads the last blocks of n rows, padded with the row's first element.
  SEGNET_INLINE void load(const T* x, index_t n) {
    if (whole == C) return;
    for (index_t r = 0; r < n; ++r, x += C) {
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) last[r * row_lanes + j] = x[0];
      copy(x + whole, last + r * row_lanes);
    }
  }
  /// Writes them.
  SEGNET_INLINE void store(T* y, index_t n) const {
    if (whole == C) return;
    for (index_t r = 0; r < n; ++r) copy(last + r * row_lanes, y + r * C + whole);
  }

 private:
  /// C - whole elements, in powers of two: a call of memcpy would cost more.
  SEGNET_INLINE void copy(const T* from, T* to) const {
    const index_t n = C - whole;
    if (n & 8) copy_block<8>(from, to);
    if (n & 4) copy_block<4>(from, to);
    if (n & 2) copy_block<2>(from, to);
    if (n & 1) *to = *from;
  }
  template <int n>
  static SEGNET_INLINE void copy_block(const T*& from, T*& to) {
    std::memcpy(to, from, n * sizeof(T));
    from += n;
    to += n;
  }
};

/// result[r] = combine of partial[r * row_lanes + (0 ... row_lanes - 1)] for all row_tile_width rows, in the same order on every
/// instruction set.
template <Isa isa, class T, class Combine>
SEGNET_INLINE void fold_rows(const T* partial, T* result, const Combine& combine) {
  constexpr index_t W = row_tile_width;
  T tile[row_lanes * W];
  load_row_tile<isa>(partial, W, row_lanes, partial + W * row_lanes, tile);
  for (index_t half = row_lanes / 2; half > 0; half /= 2)
    for (index_t l = 0; l < half; ++l) {
      SEGNET_SIMD
      for (index_t r = 0; r < W; ++r) tile[l * W + r] = combine(tile[l * W + r], tile[(l + half) * W + r]);
    }
  SEGNET_SIMD
  for (index_t r = 0; r < W; ++r) result[r] = tile[r];
}
/// sum[r] of n rows; add_block(r, c, count, lane) adds the `count` elements at c of row r to the row_lanes partial sums.
template <Isa isa, class T, class AddBlock>
SEGNET_INLINE void sum_rows(index_t C, index_t n, T* sum, const AddBlock& add_block) {
  T partial[row_tile_width * row_lanes] = {};
  for (index_t r = 0; r < n; ++r) {
    T lane[row_lanes] = {};
    index_t c = 0;
    for (; c + row_lanes <= C; c += row_lanes) add_block(r, c, row_lanes, lane);
    if (c < C) add_block(r, c, C - c, lane);
    SEGNET_SIMD
    for (index_t j = 0; j < row_lanes; ++j) partial[r * row_lanes + j] = lane[j];
  }
  fold_rows<isa>(partial, sum, [](T a, T b) SEGNET_INLINE_LAMBDA { return a + b; });
}

/// top[r] = max of row r of x; `blocks` hold the ends of x's rows.
template <Isa isa, class T>
SEGNET_INLINE void max_of_rows(const T* x, const RowBlocks<T>& blocks, index_t n, T* top) {
  T partial[row_tile_width * row_lanes] = {};
  for (index_t r = 0; r < n; ++r) {
    T lane[row_lanes];
    for (T& l : lane) l = -std::numeric_limits<T>::infinity();
    for (index_t c = 0; c < blocks.C; c += row_lanes) {
      const T* xc = blocks(x, r, c);
      SEGNET_SIMD
      for (index_t j = 0; j < row_lanes; ++j) lane[j] = larger(xc[j], lane[j]);
    }
    SEGNET_SIMD
    for (index_t j = 0; j < row_lanes; ++j) partial[r * row_lanes + j] = lane[j];
  }
  fold_rows<isa>(partial, top, [](T a, T b) SEGNET_INLINE_LAMBDA { return larger(a, b); });
}
/// sum[r] = sum of exp(x - top[r]) over row r, which goes to y (its end to `blocks`), unless y is null.
template <Isa isa, class T>
SEGNET_INLINE void exp_sum_of_rows(const T* x, RowBlocks<T>& blocks, index_t n, const T* top, T* sum, T* y) {
  T scratch[row_lanes];
  sum_rows<isa>(blocks.C, n, sum, [&](index_t r, index_t c, index_t count, T* lane) SEGNET_INLINE_LAMBDA {
    const T *xc = blocks(x, r, c), m = top[r];
    T* e = y ? blocks(y, r, c) : scratch;
    SEGNET_SIMD
    for (index_t j = 0; j < row_lanes; ++j) e[j] = math::exp(xc[j] - m);
    SEGNET_SIMD
    for (index_t j = 0; j < count; ++j) lane[j] += e[j];
  });
}

template <class T>
struct Softmax {
  static constexpr index_t tile_channels = forward_tile_channels;
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
  template <Isa isa>
  static SEGNET_INLINE void rows(const std::array<const T*, 1>& in, T* y, index_t C, index_t n) {
    T top[row_tile_width], sum[row_tile_width];
    RowBlocks<T> blocks(C);
    blocks.load(in[0], n);
    max_of_rows<isa>(in[0], blocks, n, top);
    exp_sum_of_rows<isa>(in[0], blocks, n, top, sum, y);
    for (index_t r = 0; r < n; ++r) {
      const T scale = T(1) / sum[r];
      for (index_t c = 0; c < C; c += row_lanes) {
        T* yc = blocks(y, r, c);
        SEGNET_SIMD
        for (index_t j = 0; j < row_lanes; ++j) yc[j] *= scale;
      }
    }
    blocks.store(y, n);
  }
};

template <class T>
struct LogSoftmax {
  static constexpr index_t tile_channels = forward_tile_channels;
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
  template <Isa isa>
  static SEGNET_INLINE void rows(const std::array<const T*, 1>& in, T* y, index_t C, index_t n) {
    T top[row_tile_width], sum[row_tile_width];
    RowBlocks<T> blocks(C);
    blocks.load(in[0], n);
    max_of_rows<isa>(in[0], blocks, n, top);
    exp_sum_of_rows<isa>(in[0], blocks, n, top, sum, static_cast<T*>(nullptr));
    for (index_t r = 0; r < n; ++r) {
      const T log_sum = math::log(sum[r]), m = top[r];
      const T* x = in[0] + r * C;
      T* to = y + r * C;
      SEGNET_SIMD
      for (index_t c = 0; c < C; ++c) to[c] = (x[c] - m) - log_sum;
    }
  }
};

/// in = {y, dy}: dx = y (dy - sum(y dy))
template <class T>
struct SoftmaxGrad {
  static constexpr index_t tile_channels = gradient_tile_channels;
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
  template <Isa isa>
  static SEGNET_INLINE void rows(const std::array<const T*, 2>& in, T* dx, index_t C, index_t n) {
    T sum[row_tile_width];
    sum_rows<isa>(C, n, sum, [&](index_t r, index_t c, index_t count, T* lane) SEGNET_INLINE_LAMBDA {
      const T *yc = in[0] + r * C + c, *dyc = in[1] + r * C + c;
      SEGNET_SIMD
      for (index_t j = 0; j < count; ++j) lane[j] += yc[j] * dyc[j];
    });
    for (index_t r = 0; r < n; ++r) {
      const T *from = in[0] + r * C, *gradient = in[1] + r * C, total = sum[r];
      T* to = dx + r * C;
      SEGNET_SIMD
      for (index_t c = 0; c < C; ++c) to[c] = from[c] * (gradient[c] - total);
    }
  }
};

/// in = {y, dy}: dx = dy - exp(y) sum(dy)
template <class T>
struct LogSoftmaxGrad {
  static constexpr index_t tile_channels = gradient_tile_channels;
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
  template <Isa isa>
  static SEGNET_INLINE void rows(const std::array<const T*, 2>& in, T* dx, index_t C, index_t n) {
    T sum[row_tile_width];
    sum_rows<isa>(C, n, sum, [&](index_t r, index_t c, index_t count, T* lane) SEGNET_INLINE_LAMBDA {
      const T* dyc = in[1] + r * C + c;
      SEGNET_SIMD
      for (index_t j = 0; j < count; ++j) lane[j] += dyc[j];
    });
    for (index_t r = 0; r < n; ++r) {
      const T *y = in[0] + r * C, *gradient = in[1] + r * C, total = sum[r];
      T* to = dx + r * C;
      SEGNET_SIMD
      for (index_t c = 0; c < C; ++c) to[c] = gradient[c] - math::exp(y[c]) * total;
    }
  }
};

template <template <class> class Op, class T, std::size_t n_in>
void run_softmax(const Shape& shape, int dim, const std::array<const T*, n_in>& in, T* out) {
  index_t outer = 1, inner = 1;
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
  walk_softmax<Op<T>::tile_channels>(
      outer, shape[dim], inner, in, out,
      [](const auto& from, T* to, index_t C, index_t pitch, index_t n) SEGNET_INLINE_LAMBDA { Op<T>::columns(from, to, C, pitch, n); },
      [](auto isa, const auto& from, T* to, index_t C, index_t n)
          SEGNET_INLINE_LAMBDA { Op<T>::template rows<isa.value>(from, to, C, n); });
}

}  // namespace detail

/// y = exp(x - max) / sum exp(x - max) over `dim` >= 0. x and y of one shape, not the same memory.
template <class T>
void softmax(ConstView<T, Cpu> x, int dim, View<T, Cpu> y) {
  detail::run_softmax<detail::Softmax, T, 1>(y.shape, dim, {x.data}, y.data);
}
/// y = x - max - log sum exp(x - max)
template <class T>
void log_softmax(ConstView<T, Cpu> x, int dim, View<T, Cpu> y) {
  detail::run_softmax<detail::LogSoftmax, T, 1>(y.shape, dim, {x.data}, y.data);
}
/// dx = y (dy - sum over dim of y dy)
template <class T>
void softmax_grad(ConstView<T, Cpu> y, ConstView<T, Cpu> dy, int dim, View<T, Cpu> dx) {
  detail::run_softmax<detail::SoftmaxGrad, T, 2>(dx.shape, dim, {y.data, dy.data}, dx.data);
}
/// dx = dy - exp(y) (sum over dim of dy)
template <class T>
void log_softmax_grad(ConstView<T, Cpu> y, ConstView<T, Cpu> dy, int dim, View<T, Cpu> dx) {
  detail::run_softmax<detail::LogSoftmaxGrad, T, 2>(dx.shape, dim, {y.data, dy.data}, dx.data);
}

// cuda/softmax.cuh
template <class T>
void softmax(ConstView<T, Cuda> x, int dim, View<T, Cuda> y);
template <class T>
void log_softmax(ConstView<T, Cuda> x, int dim, View<T, Cuda> y);
template <class T>
void softmax_grad(ConstView<T, Cuda> y, ConstView<T, Cuda> dy, int dim, View<T, Cuda> dx);
template <class T>
void log_softmax_grad(ConstView<T, Cuda> y, ConstView<T, Cuda> dy, int dim, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_SOFTMAX(TEMPLATE, T)                             \
  TEMPLATE void softmax(ConstView<T>, int, View<T>);                    \
  TEMPLATE void log_softmax(ConstView<T>, int, View<T>);                \
  TEMPLATE void softmax_grad(ConstView<T>, ConstView<T>, int, View<T>); \
  TEMPLATE void log_softmax_grad(ConstView<T>, ConstView<T>, int, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_SOFTMAX)

}  // namespace segnet::kernels
