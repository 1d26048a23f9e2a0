// Sums, products and extremes over dimensions, and where the extremes are.
//
// A tensor is seen as [outer, reduced, inner]. Every element of a long slice belongs to a piece and a lane that its position alone
// decides, and partial results are combined in a fixed order: the same bits for any number of threads. float is summed in double
// (after adding four neighbours in float), so that a sum over a million pixels keeps its last digits.
#pragma once

#include <algorithm>
#include <memory>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/math.hpp"
#include "segnet/kernels/row_tile.hpp"
#include "segnet/kernels/strided.hpp"

namespace segnet::kernels {

/// The sizes in front of, in, and behind the dimensions that are reduced.
struct ReducedExtents {
  index_t outer = 1, reduced = 1, inner = 1;
};

/// What sums of T are kept in.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, float>, double, std::conditional_t<std::is_integral_v<T>, index_t, T>>;

// Element-wise functions that go with reductions.

struct Deviation {
  SEGNET_SCALAR operator()(T x, T centre, T factor) const { return (x - centre) * factor; }
};
struct SquaredDeviation {
  SEGNET_SCALAR operator()(T x, T centre) const { return (x - centre) * (x - centre); }
};
struct SignTimes {
  SEGNET_SCALAR operator()(T x, T factor) const { return x > T(0) ? factor : x < T(0) ? -factor : x * T(0); }
};
struct ExpOfDifference {
  SEGNET_SCALAR operator()(T x, T base) const { return math::exp(x - base); }
};
struct ExpOfDifferenceTimes {
  SEGNET_SCALAR operator()(T x, T base, T factor) const { return math::exp(x - base) * factor; }
};
/// dy / count where x is the extreme y.
struct ShareOfTies {
  SEGNET_SCALAR operator()(T x, T y, T dy, T count) const { return (x == y) | ((x != x) & (y != y)) ? dy / count : T(0); }
};
struct IsExtreme {
  SEGNET_SCALAR operator()(T x, T y) const { return (x == y) | ((x != x) & (y != y)) ? T(1) : T(0); }
};

// What `reduce` computes: combine(... term(x) ...), beginning with identity, and finish() of that.

/// scale * sum of x. scale = 1 / n for a mean.
struct Sum {
  double scale = 1;
  template <class A>
  static constexpr A identity = A(0);
  SEGNET_SCALAR term(T x) const { return x; }
  SEGNET_SCALAR combine(T a, T b) const { return static_cast<T>(a + b); }
  SEGNET_SCALAR finish(T a) const {
    if constexpr (std::is_integral_v<T>) return a;
    else return a * static_cast<T>(scale);
  }
};
/// sum of a b, of two tensors
struct SumOfProducts : Sum {
  SEGNET_SCALAR term(T a, T b) const { return a * b; }
};
/// sum of |x|
struct Norm1 : Sum {
  SEGNET_SCALAR term(T x) const { return math::abs(x); }
};
/// square root of the sum of x^2
struct Norm2 : Sum {
  SEGNET_SCALAR term(T x) const { return x * x; }
  SEGNET_SCALAR finish(T a) const { return std::sqrt(a); }
};
struct Product {
  template <class A>
  static constexpr A identity = A(1);
  SEGNET_SCALAR term(T x) const { return x; }
  SEGNET_SCALAR combine(T a, T b) const { return static_cast<T>(a * b); }
  SEGNET_SCALAR finish(T a) const { return a; }
};
/// The largest element (of an empty slice: the lowest number there is); NaN if there is one.
struct Largest {
  template <class A>
  static constexpr A identity = std::is_floating_point_v<A> ? -std::numeric_limits<A>::infinity() : std::numeric_limits<A>::lowest();
  SEGNET_SCALAR term(T x) const { return x; }
  SEGNET_SCALAR combine(T a, T b) const { return math::select((a > b) | (a != a), a, b); }
  SEGNET_SCALAR finish(T a) const { return a; }
  /// Whether x replaces the best so far.
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE bool beats(T x, T best) const {
    return (x > best) | ((x != x) & (best == best));
  }
};
/// The smallest element (of an empty slice: the largest number there is); NaN if there is one.
struct Smallest {
  template <class A>
  static constexpr A identity = std::is_floating_point_v<A> ? std::numeric_limits<A>::infinity() : std::numeric_limits<A>::max();
  SEGNET_SCALAR term(T x) const { return x; }
  SEGNET_SCALAR combine(T a, T b) const { return math::select((a < b) | (a != a), a, b); }
  SEGNET_SCALAR finish(T a) const { return a; }
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE bool beats(T x, T best) const {
    return (x < best) | ((x != x) & (best == best));
  }
};

namespace detail {
constexpr index_t reduce_lanes = 64;     // short inner extents are widened to about this many accumulators
constexpr index_t reduce_columns = 512;  // and long ones are cut into blocks of this many
constexpr index_t reduce_piece = 65536;  // elements per piece, about

/// sums[j] = combine over r < rows of term(x[r * pitch + j]...), for j < width, on top of what is there.
template <class A, class Op, class T, class... In>
SEGNET_INLINE void accumulate_rows(const Op& op, A* sums, index_t rows, index_t pitch, index_t width, const T* x, const In*... more) {
  using P = std::conditional_t<std::is_integral_v<T>, A, T>;  // of four rows
  index_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const index_t r0 = r * pitch, r1 = r0 + pitch, r2 = r1 + pitch, r3 = r2 + pitch;
    SEGNET_SIMD
    for (index_t j = 0; j < width; ++j) {
      const P a = op.combine(P(op.term(x[r0 + j], more[r0 + j]...)), P(op.term(x[r1 + j], more[r1 + j]...)));
      const P b = op.combine(P(op.term(x[r2 + j], more[r2 + j]...)), P(op.term(x[r3 + j], more[r3 + j]...)));
      sums[j] = op.combine(sums[j], static_cast<A>(op.combine(a, b)));
    }
  }
  for (; r < rows; ++r) {
    SEGNET_SIMD
    for (index_t j = 0; j < width; ++j) sums[j] = op.combine(sums[j], static_cast<A>(op.term(x[r * pitch + j], more[r * pitch + j]...)));
  }
}

/// Rows of at most row_tile_max_channels elements, turned over.
template <class Op, class T, class... In>
void reduce_short_rows(const Op& op, T* y, index_t outer, index_t reduced, const T* x, const In*... more) {
  using A = Accumulator<T>;
  constexpr index_t W = row_tile_width;
  parallel_for(outer, std::max<index_t>(1, 512 / reduced) * W, [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      constexpr std::size_t inputs = 1 + sizeof...(In);
      alignas(64) T tiles[inputs][row_tile_max_channels * W];
      A sums[W];
      for (index_t row = begin; row < end; row += W) {
        const index_t rows = std::min(W, end - row);
        std::size_t k = 0;
        const auto load = [&](const T* in) SEGNET_INLINE_LAMBDA {
          load_row_tile<isa.value>(in + row * reduced, rows, reduced, in + outer * reduced, tiles[k++]);
        };
        load(x);
        (load(more), ...);
        for (index_t j = 0; j < W; ++j) sums[j] = Op::template identity<A>;
        if constexpr (inputs == 1) accumulate_rows(op, sums, reduced, W, rows, tiles[0]);
        else accumulate_rows(op, sums, reduced, W, rows, tiles[0], tiles[1]);
        for (index_t j = 0; j < rows; ++j) y[row + j] = static_cast<T>(op.finish(sums[j]));
      }
    });
  });
}
}  // namespace detail

/// y[outer, inner] = op over x[outer, reduced, inner]; one x, or two for SumOfProducts.
/// Memory: one accumulator per output and piece of about 65536 elements, when there is more than one piece.
template <class Op, class T, class... In>
void reduce(const Op& op, const ReducedExtents& e, T* y, const T* x, const In*... more) {
  using A = Accumulator<T>;
  const index_t outer = e.outer, reduced = e.reduced, inner = e.inner;
  if (outer == 0 || inner == 0) return;
  if constexpr (std::is_floating_point_v<T>)
    if (inner == 1 && reduced > 0 && reduced <= row_tile_max_channels) return detail::reduce_short_rows(op, y, outer, reduced, x, more...);

  const index_t columns = std::min(inner, detail::reduce_columns), blocks = (inner + columns - 1) / columns;
  index_t fold = 1;  // rows that lie side by side in the accumulators: a power of two
  while (fold * inner < detail::reduce_lanes) fold *= 2;
  const index_t rows_per_piece = std::max<index_t>(1, detail::reduce_piece / (columns * fold * 4)) * fold * 4;
  const index_t pieces = std::max<index_t>(1, (reduced + rows_per_piece - 1) / rows_per_piece);
  const std::unique_ptr<A[]> partial(pieces > 1 ? new A[static_cast<std::size_t>(outer * pieces * inner)] : nullptr);

  const index_t work = std::min(reduced, rows_per_piece) * columns + 1;
  parallel_for(outer * pieces * blocks, detail::reduce_piece / 2 / work, [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      A sums[std::max(detail::reduce_columns, 2 * detail::reduce_lanes)];
      for (index_t task = begin; task < end; ++task) {
        const index_t column = task % blocks * columns, piece = task / blocks % pieces, o = task / (blocks * pieces);
        const index_t width = std::min(columns, inner - column);
        const index_t row = piece * rows_per_piece, rows = std::min(reduced - row, rows_per_piece);
        const index_t at = (o * reduced + row) * inner + column;
        for (index_t j = 0; j < fold * width; ++j) sums[j] = Op::template identity<A>;
        // `fold` rows side by side; where fold > 1, width is all of inner.
        const index_t whole = rows / fold, rest = rows % fold, tail = at + whole * fold * inner;
        detail::accumulate_rows(op, sums, whole, fold * inner, fold * width, x + at, (more + at)...);
        SEGNET_SIMD
        for (index_t j = 0; j < rest * inner; ++j) sums[j] = op.combine(sums[j], static_cast<A>(op.term(x[tail + j], more[tail + j]...)));
        for (index_t half = fold / 2 * inner; half > 0; half = half / inner / 2 * inner) {
          SEGNET_SIMD
          for (index_t j = 0; j < half; ++j) sums[j] = op.combine(sums[j], sums[half + j]);
        }
        if (pieces == 1)
          for (index_t j = 0; j < width; ++j) y[o * inner + column + j] = static_cast<T>(op.finish(sums[j]));
        else
          for (index_t j = 0; j < width; ++j) partial[static_cast<std::size_t>((o * pieces + piece) * inner + column + j)] = sums[j];
      }
    });
  });
  if (pieces == 1) return;
  parallel_for(outer * inner, 4096, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const A* p = partial.get() + i / inner * pieces * inner + i % inner;
      A sum = p[0];
      for (index_t piece = 1; piece < pieces; ++piece) sum = op.combine(sum, p[piece * inner]);
      y[i] = static_cast<T>(op.finish(sum));
    }
  });
}

/// Some of a tensor's dimensions.
struct DimSet {
  unsigned bits = 0;
  [[nodiscard]] bool contains(int d) const { return (bits >> d & 1u) != 0; }
  void insert(int d) { bits |= 1u << d; }
};

/// Some dimensions of a shape as what `reduce` walks over.
struct ReducedDims {
  ReducedExtents extents;
  bool split = false;  ///< the dimensions are not neighbours

  ReducedDims(const Shape& shape, const DimSet& dims) {
    ReducedExtents& e = extents;
    bool inside = false;
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] == 1) continue;
      if (!dims.contains(d)) (e.reduced > 1 || inside ? e.inner : e.outer) *= shape[d];
      else {
        split |= e.inner > 1;
        e.reduced *= shape[d];
        inside = true;
      }
    }
  }

  /// Copied through this box, they are the last ones, and neighbours.
  static StridedBox gathering(const Shape& shape, const DimSet& dims) {
    StridedBox box;
    const Strides stride(shape);
    index_t size = shape.numel();
    for (const bool reduced : {false, true})
      for (int d = 0; d < shape.rank(); ++d)
        if (dims.contains(d) == reduced && shape[d] > 1) {
          size /= shape[d];
          box.push_back(shape[d], stride[d], size);
        }
    return box;
  }
};

/// y = op over the dimensions `dims` of x (or of two tensors of the same shape). y has the other dimensions' elements.
/// Where the dimensions are not neighbours, x is copied once so that they are.
template <class Op, class T, class... In>
void reduce(const Op& op, const DimSet& dims, View<T, Cpu> y, const ConstView<T, Cpu>& x, const In&... more) {
  const Shape& shape = x.shape;
  const ReducedDims r(shape, dims);
  if (!r.split || y.size() == 0 || x.size() == 0) return reduce(op, r.extents, y.data, x.data, more.data...);
  const StridedBox box = ReducedDims::gathering(shape, dims);
  const auto gathered = [&](const T* from) {
    std::unique_ptr<T[]> to(new T[static_cast<std::size_t>(x.size())]);
    copy_strided(box, {from, shape}, View<T, Cpu>{to.get(), shape});
    return to;
  };
  reduce(op, ReducedExtents{y.size(), x.size() / y.size(), 1}, y.data, gathered(x.data).get(), gathered(more.data).get()...);
}
template <class Op, class T>
void reduce(const Op& op, const DimSet& dims, View<T, Cuda> y, ConstView<T, Cuda> x);  // cuda/reduction.cuh
template <class Op, class T>
void reduce(const Op& op, const DimSet& dims, View<T, Cuda> y, ConstView<T, Cuda> a, ConstView<T, Cuda> b);

namespace detail {
/// The best of `rows` elements in each of `width` <= row_tile_width columns; the first of equals.
template <class Op, class T>
SEGNET_INLINE void best_in_columns(const Op& op, const T* x, index_t rows, index_t pitch, index_t width, T* best, index_t* where) {
  for (index_t j = 0; j < width; ++j) {
    best[j] = x[j];
    where[j] = 0;
  }
  for (index_t r = 1; r < rows; ++r) {
    SEGNET_SIMD
    for (index_t j = 0; j < width; ++j) {
      const T v = x[r * pitch + j];
      const bool better = op.beats(v, best[j]);
      best[j] = math::select(better, v, best[j]);
      where[j] = better ? r : where[j];
    }
  }
}

/// The best of n neighbours, the first of equals: in row_tile_width lanes, then among them.
template <class Op, class T>
SEGNET_INLINE void best_in_row(const Op& op, const T* x, index_t n, T& best, index_t& where) {
  constexpr index_t W = row_tile_width;
  const index_t rows = n / W;
  best = x[0];
  where = 0;
  if (rows > 0) {
    T lane_best[W];
    index_t lane_where[W];
    best_in_columns(op, x, rows, W, W, lane_best, lane_where);
    for (index_t j = 0; j < W; ++j) {
      const index_t place = lane_where[j] * W + j;
      const bool earlier = !op.beats(best, lane_best[j]) && place < where;
      if (!op.beats(lane_best[j], best) && !earlier) continue;
      best = lane_best[j];
      where = place;
    }
  }
  for (index_t i = rows * W; i < n; ++i) {
    if (!op.beats(x[i], best)) continue;
    best = x[i];
    where = i;
  }
}
}  // namespace detail

/// values[outer, inner], indices[outer, inner]: the largest (or smallest) of x over `reduced` >= 1 and the first place where it is;
/// a NaN beats every number. Either output may be null.
template <class Op, class T>
void arg_reduce(const Op& op, const ReducedExtents& e, View<T, Cpu> input, View<T, Cpu> values, View<index_t, Cpu> indices) {
  const T* const x = input.data;
  const index_t outer = e.outer, reduced = e.reduced, inner = e.inner;
  constexpr index_t W = row_tile_width;
  const bool turn = inner == 1 && reduced <= row_tile_max_channels && std::is_floating_point_v<T>;
  const index_t rows = turn ? (outer + W - 1) / W : outer, blocks = turn ? 1 : (inner + W - 1) / W;
  parallel_for(rows * blocks, std::max<index_t>(1, 32768 / (reduced * std::min(W, turn ? W : inner))), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      alignas(64) T best[W], tile[row_tile_max_channels * W];
      index_t where[W];
      for (index_t task = begin; task < end; ++task) {
        const index_t o = task / blocks, j = task % blocks * W;
        index_t width = std::min(W, inner - j), at = o * inner + j;
        if constexpr (std::is_floating_point_v<T>)
          if (turn) {
            at = task * W;
            width = std::min(W, outer - at);
            load_row_tile<isa.value>(x + at * reduced, width, reduced, x + outer * reduced, tile);
            detail::best_in_columns(op, tile, reduced, W, width, best, where);
          }
        if (!turn && inner == 1) detail::best_in_row(op, x + o * reduced, reduced, best[0], where[0]);
        else if (!turn) detail::best_in_columns(op, x + o * reduced * inner + j, reduced, inner, width, best, where);
        if (values) std::copy(best, best + width, values.data + at);
        if (indices) std::copy(where, where + width, indices.data + at);
      }
    });
  });
}

template <class Op, class T>
void arg_reduce(const Op& op, const ReducedExtents& e, View<T, Cuda> x, View<T, Cuda> values, View<index_t, Cuda> indices);

/// dx[outer, reduced, inner]: dy where `indices` points, 0 elsewhere.
template <class T>
void arg_reduce_grad(const ReducedExtents& e, ConstView<T, Cpu> dy, ConstView<index_t, Cpu> indices, View<T, Cpu> dx) {
  const index_t outer = e.outer, reduced = e.reduced, inner = e.inner;
  parallel_for(outer * reduced, std::max<index_t>(1, 32768 / std::max<index_t>(inner, 1)), [=](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t o = i / reduced, r = i % reduced;
      for (index_t j = 0; j < inner; ++j) dx[i * inner + j] = indices[o * inner + j] == r ? dy[o * inner + j] : T(0);
    }
  });
}
template <class T>
void arg_reduce_grad(const ReducedExtents& e, ConstView<T, Cuda> dy, ConstView<index_t, Cuda> indices, View<T, Cuda> dx);

// Compiled once in segnet::compiled: what gradients of broadcasting need.
#define SEGNET_KERNELS_REDUCTION(TEMPLATE, T) TEMPLATE void reduce(const Sum&, const ReducedExtents&, T*, const T*);
SEGNET_EXTERN(SEGNET_KERNELS_REDUCTION)

}  // namespace segnet::kernels
