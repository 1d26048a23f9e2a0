// Sums, products and extremes over dimensions, in orders that only the sizes decide.
//
// A tensor is seen as [outer, reduced, inner]. As on the CPU, float (and bfloat16) is summed in double after adding four neighbours
// in float. Three kernels share the work: many short rows (inner = 1), many short columns, and everything long, which is cut
// into pieces whose results a second kernel joins.
#pragma once

#include <algorithm>
#include <numeric>

#include "elementwise.cuh"
#include "segnet/kernels/reduction.hpp"
#include "segnet/kernels/scan.hpp"

namespace segnet {

namespace cuda {

/// One tensor, or two of the same shape, and the operation's terms of their elements.
template <class Op, class T, bool two>
struct Terms {
  using Term = std::conditional_t<std::is_integral_v<T>, index_t, Master<T>>;  // of up to four elements
  using Sum = kernels::Accumulator<Master<T>>;

  Op op;
  const T *a, *b;

  __device__ Term of(T x, T y) const {
    if constexpr (two) return static_cast<Term>(op.term(widened(x), widened(y)));
    else return static_cast<Term>(op.term(widened(x)));
  }
  __device__ Term operator()(index_t i) const { return of(a[i], two ? b[i] : T(0)); }
  __device__ static Sum identity() { return Op::template identity<Sum>; }

  /// The terms of `size` neighbours.
  template <int size>
  struct Values {
    Term values[size];
  };
  template <int size>
  __device__ Values<size> load(index_t i) const {
    const auto x = Pack<T, size>::load(a + i), y = two ? Pack<T, size>::load(b + i) : x;
    Values<size> terms;
#pragma unroll
    for (int k = 0; k < size; ++k) terms.values[k] = of(x.values[k], y.values[k]);
    return terms;
  }
};

/// i = o * inner + j without a 64-bit division where it fits.
struct SplitIndex {
  index_t inner;
  bool narrow;
  Divider<std::uint32_t> by;
  SplitIndex(index_t inner_size, index_t n) : inner(inner_size), narrow(n < (index_t{1} << 31)) {
    if (narrow) by = Divider<std::uint32_t>(inner_size);
  }
  __device__ void operator()(index_t i, index_t& o, index_t& j) const {
    o = narrow ? static_cast<index_t>(by.quotient(static_cast<std::uint32_t>(i))) : i / inner;
    j = i - o * inner;
  }
};

/// A thread per result: few elements behind each, or many results.
template <class Source, class T>
__global__ void __launch_bounds__(256) reduce_columns_kernel(Source x, SplitIndex split, index_t results, index_t reduced, T* y) {
  using Sum = typename Source::Sum;
  const index_t step = static_cast<index_t>(gridDim.x) * 256, inner = split.inner;
  for (index_t i = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x; i < results; i += step) {
    index_t o, j;
    split(i, o, j);
    index_t at = o * reduced * inner + j, r = 0;
    Sum sum = Source::identity();
    for (; r + 4 <= reduced; r += 4, at += 4 * inner) {
      const auto t0 = x(at), t1 = x(at + inner), t2 = x(at + 2 * inner), t3 = x(at + 3 * inner);
      sum = x.op.combine(sum, static_cast<Sum>(x.op.combine(x.op.combine(t0, t1), x.op.combine(t2, t3))));
    }
    for (; r < reduced; ++r, at += inner) sum = x.op.combine(sum, static_cast<Sum>(x(at)));
    y[i] = static_cast<T>(x.op.finish(sum));
  }
}

/// `lanes` neighbouring threads (a power of two, at most 32) per row of `units` packs.
template <int size, class Source, class T>
__global__ void __launch_bounds__(256) reduce_rows_kernel(Source x, index_t rows, index_t units, int lanes, T* y) {
  using Sum = typename Source::Sum;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const index_t first = (static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x) / lanes,
                step = static_cast<index_t>(gridDim.x) * (256 / lanes);
  // A whole warp leaves together: its shuffles need every lane.
  for (index_t row = first; row - first % (32 / lanes) < rows; row += step) {
    Sum sum = Source::identity();
    if (row < rows) {
#pragma unroll 4
      for (index_t u = lane; u < units; u += lanes) {
        const auto t = x.template load<size>((row * units + u) * size);
        if constexpr (size % 4 == 0) {
#pragma unroll
          for (int k = 0; k < size; k += 4)
            sum = x.op.combine(sum, static_cast<Sum>(x.op.combine(x.op.combine(t.values[k], t.values[k + 1]),
                                                                  x.op.combine(t.values[k + 2], t.values[k + 3]))));
        } else {
#pragma unroll
          for (int k = 0; k < size; ++k) sum = x.op.combine(sum, static_cast<Sum>(t.values[k]));
        }
      }
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2) sum = x.op.combine(sum, __shfl_xor_sync(0xffffffffu, sum, offset));
    if (lane == 0 && row < rows) y[row] = static_cast<T>(x.op.finish(sum));
  }
}

/// How long slices are cut. A slice of reduced * inner elements is read as rows of `fold` times `inner` elements, so that packs fit;
/// a block takes `width` columns of the rows of one piece, `threads` of its threads side by side.
struct ReducePieces {
  index_t outer, slice, inner, row, rows_per_piece, pieces, column_blocks;
  int fold, width, threads;

  ReducePieces(const kernels::ReducedExtents& e, int size, int folded)
      : outer(e.outer), slice(e.reduced * e.inner), inner(e.inner), fold(folded) {
    row = fold * inner;
    const index_t units = row / size;
    column_blocks = (units + 255) / 256;
    threads = static_cast<int>((units + column_blocks - 1) / column_blocks);
    width = threads * size;
    const index_t rows = (slice + row - 1) / row, side = 256 / threads;
    const index_t most = std::max<index_t>(1, 1024 / (outer * column_blocks));
    pieces = std::min(most, std::max<index_t>(1, rows / (8 * side)));
    rows_per_piece = (rows + pieces - 1) / pieces;
    pieces = (rows + rows_per_piece - 1) / rows_per_piece;
  }
};

/// results[outer, pieces, inner], or, where there is one piece, y[outer, inner].
template <int size, class Source, class T>
__global__ void __launch_bounds__(256) reduce_pieces_kernel(Source x, ReducePieces g, typename Source::Sum* results, T* y) {
  using Sum = typename Source::Sum;
  __shared__ Sum sums[256 * size];
  const int thread = static_cast<int>(threadIdx.x), side = 256 / g.threads, px = thread % g.threads, py = thread / g.threads;
  for (index_t task = blockIdx.x; task < g.outer * g.pieces * g.column_blocks; task += gridDim.x) {
    const index_t block = task % g.column_blocks, piece = task / g.column_blocks % g.pieces, o = task / (g.column_blocks * g.pieces);
    const index_t first = block * g.width, column = first + px * size, whole_rows = g.slice / g.row;
    const index_t end = min((piece + 1) * g.rows_per_piece, whole_rows);
    Sum sum[size];
#pragma unroll
    for (int k = 0; k < size; ++k) sum[k] = Source::identity();
    if (py < side && column < g.row) {
      const index_t step = side * g.row;
      index_t r = piece * g.rows_per_piece + py, at = o * g.slice + r * g.row + column;
      for (; r + 3 * side < end; r += 4 * side, at += 4 * step) {
        const auto t0 = x.template load<size>(at), t1 = x.template load<size>(at + step), t2 = x.template load<size>(at + 2 * step),
                   t3 = x.template load<size>(at + 3 * step);
#pragma unroll
        for (int k = 0; k < size; ++k)
          sum[k] = x.op.combine(
              sum[k], static_cast<Sum>(x.op.combine(x.op.combine(t0.values[k], t1.values[k]), x.op.combine(t2.values[k], t3.values[k]))));
      }
      for (; r < end; r += side, at += step) {
        const auto t = x.template load<size>(at);
#pragma unroll
        for (int k = 0; k < size; ++k) sum[k] = x.op.combine(sum[k], static_cast<Sum>(t.values[k]));
      }
      if (r == whole_rows && r < (piece + 1) * g.rows_per_piece) {  // the last row, if it is not whole
#pragma unroll
        for (int k = 0; k < size; ++k)
          if (r * g.row + column + k < g.slice) sum[k] = x.op.combine(sum[k], static_cast<Sum>(x(at + k)));
      }
    }
    if (py < side)
#pragma unroll
      for (int k = 0; k < size; ++k) sums[(py * g.threads + px) * size + k] = sum[k];
    __syncthreads();
    // Those of one column lie `period` apart: halves are added until one is left.
    const int period = g.fold > 1 ? static_cast<int>(g.inner) : g.width;
    for (int left = side * g.width / period; left > 1;) {
      const int half = (left + 1) / 2;
      for (int j = thread; j < (left - half) * period; j += 256) sums[j] = x.op.combine(sums[j], sums[j + half * period]);
      __syncthreads();
      left = half;
    }
    for (int j = thread; j < period && first + j < g.inner; j += 256) {
      if (g.pieces == 1) y[o * g.inner + first + j] = static_cast<T>(x.op.finish(sums[j]));
      else results[(o * g.pieces + piece) * g.inner + first + j] = sums[j];
    }
    __syncthreads();
  }
}

/// y[outer, inner] from results[outer, pieces, inner]: a warp per result.
template <class Op, class Sum, class T>
__global__ void __launch_bounds__(256) join_pieces_kernel(Op op, const Sum* results, index_t outputs, index_t pieces, index_t inner, T* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (index_t i = (static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x) / 32; i < outputs; i += static_cast<index_t>(gridDim.x) * 8) {
    const Sum* const first = results + i / inner * pieces * inner + i % inner;
    Sum sum = Op::template identity<Sum>;
#pragma unroll 4
    for (index_t p = lane; p < pieces; p += 32) sum = op.combine(sum, first[p * inner]);
    sum = warp_reduce(sum, [&](Sum a, Sum b) { return op.combine(a, b); });
    if (lane == 0) y[i] = static_cast<T>(op.finish(sum));
  }
}

template <int size, class Op, class T, bool two>
void reduce_pieces(const Terms<Op, T, two>& x, const kernels::ReducedExtents& e, int fold, T* y) {
  using Source = Terms<Op, T, two>;
  using Sum = typename Source::Sum;
  const ReducePieces g(e, size, fold);
  const Scratch<Sum> results(g.pieces > 1 ? g.outer * g.pieces * g.inner : 0);
  const index_t tasks = g.outer * g.pieces * g.column_blocks;
  launch(reduce_pieces_kernel<size, Source, T>, grid_for(tasks, 1), 256, 0, x, g, results.data(), y);
  if (g.pieces > 1)
    launch(join_pieces_kernel<Op, Sum, T>, grid_for(g.outer * g.inner * 32, 256), 256, 0, x.op, results.data(), g.outer * g.inner, g.pieces,
           g.inner, y);
}

/// Threads for a row of `units`: about four units each.
[[nodiscard]] inline int lanes_for(index_t units) {
  int lanes = 1;
  while (lanes < 32 && 4 * lanes < units) lanes *= 2;
  return lanes;
}

/// y[outer, inner] = op over x[outer, reduced, inner]
template <class Op, class T, bool two>
void reduce_extents(const Terms<Op, T, two>& x, const kernels::ReducedExtents& e, T* y) {
  using Source = Terms<Op, T, two>;
  constexpr int pack = Pack<T>::size;
  const index_t results = e.outer * e.inner, slice = e.reduced * e.inner;
  if (results == 0) return;
  const bool aligned = aligned16(x.a) && (!two || aligned16(x.b)), aligned_slices = aligned && (e.outer == 1 || slice % pack == 0);
  if (e.inner == 1 && e.reduced > 0 && (e.reduced <= 1024 || (e.reduced <= 8192 && e.outer >= 2048))) {
    const bool packed = aligned && e.reduced % pack == 0;
    const index_t units = packed ? e.reduced / pack : e.reduced;
    const int lanes = lanes_for(units);
    launch(packed ? reduce_rows_kernel<pack, Source, T> : reduce_rows_kernel<1, Source, T>, grid_for(e.outer * lanes, 256), 256, 0, x,
           e.outer, units, lanes, y);
  } else if (e.reduced <= 16 || (slice <= 4096 && e.outer > 1024)) {
    launch(reduce_columns_kernel<Source, T>, grid_for(results, 256), 256, 0, x, SplitIndex(e.inner, results), results, e.reduced, y);
  } else {
    const index_t fold = pack / std::gcd(e.inner, static_cast<index_t>(pack));
    if (aligned_slices && (fold == 1 || e.inner <= 128)) reduce_pieces<pack>(x, e, static_cast<int>(fold), y);
    else reduce_pieces<1>(x, e, 1, y);
  }
}

/// The better of two places, the first of equals; a place below 0 is none.
template <class Op, class M>
__device__ void take_better(const Op& op, M value, index_t place, M& best, index_t& where) {
  const bool better = where < 0 || op.beats(value, best) || (!op.beats(best, value) && place < where);
  if (place < 0 || !better) return;
  best = value;
  where = place;
}
template <class Op, class M>
__device__ void take_best_lane(const Op& op, int lanes, M& best, index_t& where) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    const index_t place = __shfl_xor_sync(0xffffffffu, where, offset);
    if constexpr (sizeof(M) < 4)
      take_better(op, static_cast<M>(__shfl_xor_sync(0xffffffffu, static_cast<int>(best), offset)), place, best, where);
    else take_better(op, __shfl_xor_sync(0xffffffffu, best, offset), place, best, where);
  }
}

/// values, places [outer, pieces, inner], of pieces of `length`: `lanes` neighbouring threads per result (1 unless inner = 1).
template <class Op, class T>
__global__ void __launch_bounds__(256) arg_reduce_kernel(Op op, const T* x, SplitIndex split, index_t results, index_t reduced,
                                                         index_t length, index_t pieces, int lanes, T* values, index_t* places) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const index_t first = (static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x) / lanes,
                step = static_cast<index_t>(gridDim.x) * (256 / lanes);
  for (index_t i = first; i - first % (32 / lanes) < results; i += step) {
    Master<T> best{};
    index_t where = -1;
    if (i < results) {
      index_t o, j, piece = 0;
      split(i, o, j);
      if (pieces > 1) {
        piece = o % pieces;
        o /= pieces;
      }
      const T* const slice = x + o * reduced * split.inner + j;
      const index_t end = min(reduced, (piece + 1) * length);
#pragma unroll 4
      for (index_t r = piece * length + lane; r < end; r += lanes) {
        const Master<T> value = widened(slice[r * split.inner]);
        if (where < 0 || op.beats(value, best)) {
          best = value;
          where = r;
        }
      }
    }
    take_best_lane(op, lanes, best, where);
    if (lane != 0 || i >= results) continue;
    if (values) values[i] = static_cast<T>(best);
    if (places) places[i] = where;
  }
}

/// The best of the pieces: a warp per result.
template <class Op, class T>
__global__ void __launch_bounds__(256) join_arg_reduce_kernel(Op op, const T* best_values, const index_t* best_places, index_t outputs,
                                                              index_t pieces, index_t inner, T* values, index_t* places) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (index_t i = (static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x) / 32; i < outputs; i += static_cast<index_t>(gridDim.x) * 8) {
    const index_t first = i / inner * pieces * inner + i % inner;
    Master<T> best{};
    index_t where = -1;
    for (index_t p = lane; p < pieces; p += 32)
      take_better(op, widened(best_values[first + p * inner]), best_places[first + p * inner], best, where);
    take_best_lane(op, 32, best, where);
    if (lane != 0) continue;
    if (values) values[i] = static_cast<T>(best);
    if (places) places[i] = where;
  }
}

template <class T>
struct ArgReduceGrad {
  const T* dy;            // [outer, inner]
  const index_t* places;  // [outer, inner]
  T* dx;                  // [outer, reduced, inner]
  SplitIndex rows, slices;
  __device__ void operator()(index_t i) const {
    index_t row, j, o, r;
    rows(i, row, j);
    slices(row, o, r);
    const index_t from = o * rows.inner + j;
    dx[i] = places[from] == r ? dy[from] : T(0);
  }
};

template <class T>
struct ProductGrad {
  const T *x, *dy;
  T* dx;
  index_t reduced, inner;
  __device__ void operator()(index_t i) const {
    const index_t at = i / inner * reduced * inner + i % inner;
    Master<T> before = dy[i], behind = 1;
    for (index_t s = 0; s < reduced; ++s) {
      dx[at + s * inner] = static_cast<T>(before);
      before *= x[at + s * inner];
    }
    for (index_t s = reduced; s-- > 0;) {
      dx[at + s * inner] = static_cast<T>(dx[at + s * inner] * behind);
      behind *= x[at + s * inner];
    }
  }
};

/// Dimensions that are not neighbours are gathered first.
template <class Op, class T, bool two>
void reduce_dims(const Op& op, const kernels::DimSet& dims, View<T, Cuda> y, ConstView<T, Cuda> a, ConstView<T, Cuda> b) {
  const kernels::ReducedDims r(a.shape, dims);
  const index_t n = a.size();
  if (!r.split || y.size() == 0 || n == 0) return reduce_extents(Terms<Op, T, two>{op, a.data, b.data}, r.extents, y.data);
  const kernels::StridedBox box = kernels::ReducedDims::gathering(a.shape, dims);
  const Scratch<T> gathered_a(n), gathered_b(two ? n : 0);
  copy_strided(box, a, View<T, Cuda>{gathered_a.data(), a.shape});
  if constexpr (two) copy_strided(box, b, View<T, Cuda>{gathered_b.data(), b.shape});
  reduce_extents(Terms<Op, T, two>{op, gathered_a.data(), gathered_b.data()}, {y.size(), n / y.size(), 1}, y.data);
}

}  // namespace cuda

namespace kernels {

template <class Op, class T>
void reduce(const Op& op, const DimSet& dims, View<T, Cuda> y, ConstView<T, Cuda> x) {
  cuda::reduce_dims<Op, T, false>(op, dims, y, x, x);
}
template <class Op, class T>
void reduce(const Op& op, const DimSet& dims, View<T, Cuda> y, ConstView<T, Cuda> a, ConstView<T, Cuda> b) {
  cuda::reduce_dims<Op, T, true>(op, dims, y, a, b);
}

template <class T>  // declared in kernels/linear.hpp
void sum_over_rows(ConstView<T, Cuda> dy, View<T, Cuda> db) {
  const index_t channels = db.size();
  if (channels > 0) cuda::reduce_extents(cuda::Terms<Sum, T, false>{Sum{}, dy.data, nullptr}, {1, dy.size() / channels, channels}, db.data);
}

template <class Op, class T>
void arg_reduce(const Op& op, const ReducedExtents& e, View<T, Cuda> x, View<T, Cuda> values, View<index_t, Cuda> indices) {
  const index_t outputs = e.outer * e.inner;
  if (outputs == 0 || e.reduced == 0) return;
  index_t length = e.reduced;
  if (e.reduced > 4096 && outputs < 32768) length = std::max({index_t{1024}, (e.reduced + 255) / 256, e.reduced * outputs / 65536});
  const index_t pieces = (e.reduced + length - 1) / length, results = outputs * pieces;
  const int lanes = e.inner == 1 ? cuda::lanes_for(length) : 1;
  const cuda::Scratch<T> best(pieces > 1 ? results : 0);
  const cuda::Scratch<index_t> where(pieces > 1 ? results : 0);
  cuda::launch(cuda::arg_reduce_kernel<Op, T>, cuda::grid_for(results * lanes, 256), 256, 0, op, x.data, cuda::SplitIndex(e.inner, results),
               results, e.reduced, length, pieces, lanes, pieces > 1 ? best.data() : values.data, pieces > 1 ? where.data() : indices.data);
  if (pieces > 1)
    cuda::launch(cuda::join_arg_reduce_kernel<Op, T>, cuda::grid_for(outputs * 32, 256), 256, 0, op, best.data(), where.data(), outputs,
                 pieces, e.inner, values.data, indices.data);
}

template <class T>
void arg_reduce_grad(const ReducedExtents& e, ConstView<T, Cuda> dy, ConstView<index_t, Cuda> indices, View<T, Cuda> dx) {
  const index_t n = dx.size();
  if (n > 0)
    cuda::for_each(n, cuda::ArgReduceGrad<T>{dy.data, indices.data, dx.data, cuda::SplitIndex(e.inner, n), cuda::SplitIndex(e.reduced, n)});
}

template <class T>
void product_grad(const ReducedExtents& e, ConstView<T, Cuda> x, ConstView<T, Cuda> dy, View<T, Cuda> dx) {
  if (dx.size() > 0) cuda::for_each(e.outer * e.inner, cuda::ProductGrad<T>{x.data, dy.data, dx.data, e.reduced, e.inner});
}

}  // namespace kernels

}  // namespace segnet
