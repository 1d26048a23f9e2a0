// Walks over rows [rows, C] whose C elements lie side by side: softmax, the losses behind it, argmax.
//
// Short rows of any length travel in whole tiles, 16 bytes per thread and access, between global and shared memory; there a few threads
// next to each other share a row. Rows of over 2 KiB get a block each and are read where they are.
//
// What is done with a row is an Op:
//   static constexpr int inputs;             its inputs: const T* in[max(inputs, 1)]
//   static constexpr bool writes, sums;      whether it has an output, T* out, and whether it adds to a LossSum
//   op(team, row, real, C, x, out, sum)      x[k](c) reads, out.set(c, value) writes. `team` are the threads of the row. Where `real` is
//                                            false the row is behind the last: all steps are to be taken, in the tile alone.
// out may lie where x[0] does: an element is written by the thread that was the last to read it (or behind team.sync()).
#pragma once

#include <cuda_pipeline_primitives.h>

#include "loss_sum.cuh"

namespace segnet::cuda {

/// `lanes` threads next to each other in a warp.
template <int lanes>
struct LaneTeam {
  static constexpr int size = lanes;
  int rank = static_cast<int>(threadIdx.x) % lanes;
  template <class A, class F>
  __device__ A reduce(A value, A, const F& combine) const {
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
  }
  __device__ void sync() const { __syncwarp(); }
};
/// A block of 256 threads.
struct BlockTeam {
  static constexpr int size = 256;
  int rank = static_cast<int>(threadIdx.x);
  template <class A, class F>
  __device__ A reduce(A value, A identity, const F& combine) const {
    return block_reduce(value, identity, combine);
  }
  __device__ void sync() const { __syncthreads(); }
};
/// One thread.
struct LoneTeam {
  static constexpr int size = 1, rank = 0;
  template <class A, class F>
  __device__ A reduce(A value, A, const F&) const {
    return value;
  }
  __device__ void sync() const {}
};

/// Elements in shared memory. 16 bytes stay empty behind every 128: rows of 2^n elements would all begin in the same bank.
template <class T>
struct Tile {
  unsigned char* base;
  SEGNET_HOST_DEVICE static unsigned offset(unsigned i) {
    const unsigned bytes = i * static_cast<unsigned>(sizeof(T));
    return bytes + bytes / 128 * 16;
  }
  /// Shared memory of n elements.
  SEGNET_HOST_DEVICE static unsigned bytes(int n) { return (offset(static_cast<unsigned>(n)) + 15) / 16 * 16; }
  __device__ T& operator[](int i) const { return *reinterpret_cast<T*>(base + offset(static_cast<unsigned>(i))); }
};
/// Starts to load n elements; `packs`: `from` is a multiple of 16 bytes.
template <class T>
__device__ void load_tile(const T* from, int n, bool packs, const Tile<T>& to) {
  constexpr int P = Pack<T>::size;
  const int vectors = packs ? n / P * P : 0, tid = static_cast<int>(threadIdx.x);
  for (int i = tid * P; i < vectors; i += 256 * P) __pipeline_memcpy_async(&to[i], from + i, 16);
  for (int i = vectors + tid; i < n; i += 256) to[i] = from[i];
}
template <class T>
__device__ void store_tile(const Tile<T>& from, int n, bool packs, T* to) {
  constexpr int P = Pack<T>::size;
  const int vectors = packs ? n / P * P : 0, tid = static_cast<int>(threadIdx.x);
  for (int i = tid * P; i < vectors; i += 256 * P) Pack<T>::load(&from[i]).store(to + i);
  for (int i = vectors + tid; i < n; i += 256) to[i] = from[i];
}

// A row in a tile, in memory, or with `pitch` elements from one to the next.
template <class T>
struct TileRow {
  Tile<T> tile;
  int at;
  __device__ Master<T> operator()(int c) const { return tile[at + c]; }
  __device__ void set(int c, Master<T> value) const { tile[at + c] = static_cast<T>(value); }
};
template <class T>
struct MemoryRow {
  T* data;
  __device__ auto operator()(index_t c) const { return static_cast<Master<std::remove_const_t<T>>>(data[c]); }
  __device__ void set(index_t c, Master<std::remove_const_t<T>> value) const { data[c] = static_cast<T>(value); }
};
template <class T>
struct PitchedRow {
  T* data;
  index_t pitch;
  __device__ auto operator()(index_t c) const { return static_cast<Master<std::remove_const_t<T>>>(data[c * pitch]); }
  __device__ void set(index_t c, Master<std::remove_const_t<T>> value) const { data[c * pitch] = static_cast<T>(value); }
};

template <int lanes, class T, class Op>
__global__ void __launch_bounds__(256) row_tiles_kernel(Op op, index_t rows, int C, int tile_rows, bool packs, LossSum* partial) {
  unsigned char* const row_tiles = dynamic_shared<unsigned char>();
  constexpr int tiles = Op::inputs > 0 ? Op::inputs : 1;
  TileRow<T> x[tiles];
  for (int k = 0; k < tiles; ++k) x[k].tile.base = row_tiles + static_cast<unsigned>(k) * Tile<T>::bytes(tile_rows * C);
  LossSum sum;
  const LaneTeam<lanes> team;
  for (index_t first = blockIdx.x * static_cast<index_t>(tile_rows); first < rows; first += gridDim.x * static_cast<index_t>(tile_rows)) {
    const int n = static_cast<int>(first + tile_rows < rows ? tile_rows : rows - first);
    __syncthreads();  // the tile before is done with
    for (int k = 0; k < Op::inputs; ++k) load_tile(op.in[k] + first * C, n * C, packs, x[k].tile);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
    for (int begin = 0; begin < n; begin += 256 / lanes) {  // the same for all threads: whole warps meet in `reduce`
      const int r = begin + static_cast<int>(threadIdx.x) / lanes;
      for (int k = 0; k < tiles; ++k) x[k].at = r * C;
      op(team, first + r, r < n, C, x, x[0], sum);
    }
    if constexpr (Op::writes) {
      __syncthreads();
      store_tile(x[0].tile, n * C, packs, op.out + first * C);
    }
  }
  if constexpr (Op::sums) store_block_sum(sum, partial + blockIdx.x);
}

template <class T, class Op>
__global__ void __launch_bounds__(256) long_rows_kernel(Op op, index_t rows, index_t C, LossSum* partial) {
  LossSum sum;
  const BlockTeam team;
  for (index_t row = blockIdx.x; row < rows; row += gridDim.x) {
    MemoryRow<const T> x[Op::inputs > 0 ? Op::inputs : 1];
    for (int k = 0; k < Op::inputs; ++k) x[k].data = op.in[k] + row * C;
    MemoryRow<T> out{nullptr};
    if constexpr (Op::writes) out.data = op.out + row * C;
    op(team, row, true, C, x, out, sum);
  }
  if constexpr (Op::sums) store_block_sum(sum, partial + blockIdx.x);
}

/// Columns side by side: element c of column j of [outer, C, inner] is at (j / inner) C inner + c inner + j % inner.
template <class T, class Op>
__global__ void __launch_bounds__(256) columns_kernel(Op op, index_t columns, index_t C, index_t inner) {
  const index_t step = static_cast<index_t>(gridDim.x) * 256;
  for (index_t j = blockIdx.x * index_t{256} + threadIdx.x; j < columns; j += step) {
    const index_t outer = j / inner, at = outer * C * inner + (j - outer * inner);
    PitchedRow<const T> x[Op::inputs];
    for (int k = 0; k < Op::inputs; ++k) x[k] = {op.in[k] + at, inner};
    LossSum sum;
    op(LoneTeam{}, j, true, C, x, PitchedRow<T>{op.out + at, inner}, sum);
  }
}
template <class T, class Op>
void for_each_column(index_t outer, index_t C, index_t inner, const Op& op) {
  if (C == 0) return;
  launch(columns_kernel<T, Op>, grid_for(outer * inner, 256), 256, 0, op, outer * inner, C, inner);
}

/// op for every row; `total` receives the sum, if the op has one.
template <class T, class Op>
void for_each_row(index_t rows, index_t C, const Op& op, LossSum* total = nullptr) {
  constexpr index_t most_blocks = 1 << 16;
  const auto run = [&](index_t blocks, const auto& start) {
    if (C == 0) blocks = 0;
    const Scratch<LossSum> partial(Op::sums ? blocks : 0);
    start(static_cast<unsigned>(blocks), partial.data());
    if constexpr (Op::sums) join_loss_sums(partial.data(), blocks, total);
  };
  if (C * static_cast<index_t>(sizeof(T)) > 2048) {
    run(std::min(rows, most_blocks),
        [&](unsigned blocks, LossSum* partial) { launch(long_rows_kernel<T, Op>, blocks, 256, 0, op, rows, C, partial); });
    return;
  }
  const auto tiled = [&]<int lanes>(std::integral_constant<int, lanes>) {
    constexpr index_t tiles = Op::inputs > 0 ? Op::inputs : 1, pass = 256 / lanes;  // rows; a multiple of 8, which keeps tiles aligned
    // About 16 KiB per block, several blocks per multiprocessor; less where that would leave some without work.
    const index_t bytes = pass * std::max<index_t>(C, 1) * static_cast<index_t>(sizeof(T)) * tiles;
    const index_t passes = std::max<index_t>(1, std::min(16384 / bytes, rows / (pass * 512))), tile_rows = pass * passes;
    bool packs = true;
    if constexpr (Op::inputs > 0)
      for (const T* in : op.in) packs &= aligned16(in);
    if constexpr (Op::writes) packs &= aligned16(op.out);
    const std::size_t shared = tiles * Tile<T>::bytes(static_cast<int>(tile_rows * C));
    run(std::min((rows + tile_rows - 1) / tile_rows, most_blocks), [&](unsigned blocks, LossSum* partial) {
      launch(row_tiles_kernel<lanes, T, Op>, blocks, 256, shared, op, rows, static_cast<int>(C), static_cast<int>(tile_rows), packs,
             partial);
    });
  };
  if (C <= 12) tiled(std::integral_constant<int, 2>{});
  else if (C <= 64) tiled(std::integral_constant<int, 8>{});
  else tiled(std::integral_constant<int, 32>{});
}

/// The maximum of a row (NaN only where all are), and the sum of exp(x - maximum), in every thread of the team.
template <class A>
struct ExpSum {
  A top, sum;
};
struct Larger {
  template <class A>
  SEGNET_HOST_DEVICE A operator()(A a, A b) const {
    return a > b ? a : b;
  }
};
template <class A, class Team, class Index, class Row>
__device__ ExpSum<A> exp_sum(const Team& team, Index C, const Row& x) {
  constexpr A lowest = -static_cast<A>(INFINITY);
  A top = lowest, sum = 0;
  for (Index c = team.rank; c < C; c += Team::size) {
    const A v = x(c);
    top = v > top ? v : top;
  }
  top = team.reduce(top, lowest, Larger{});
  for (Index c = team.rank; c < C; c += Team::size) sum += std::exp(x(c) - top);
  return {top, team.reduce(sum, A(0), Plus{})};
}

}  // namespace segnet::cuda
