// out[pixel, column] = bias[column] + sum over taps and channels of source[pixel at tap, channel] * weight[column, tap, channel]:
// the forward pass of a convolution, and phase by phase its gradient to the input, as one matrix product on tensor cores.
//
// A block owns a tile of pixels times columns. The inner dimension is (tap row, tap column, channel) without gaps, walked in steps of
// 128 bytes: row m of an operand's tile in shared memory is 8 chunks of 16 bytes, chunk q in place q ^ (m % 8), so that neither the
// copies nor ldmatrix meet in a bank. A thread copies one chunk of every 16th or 32nd row; where its pixels lie it works out once, and
// which tap and channel its chunk is moves by addition. Rows outside of the image, taps behind the last and columns behind the last
// become zeros by the copy itself.
#pragma once

#include <algorithm>

#include "conv2d_implicit_gemm_mma.cuh"
#include "segnet/kernels/conv2d_lattice.hpp"

namespace segnet::cuda {

/// Sizes of a block's tile, of a warp's part of it, steps in flight, and blocks that should fit a multiprocessor.
template <int rows_, int columns_, int warp_rows_, int warp_columns_, int stages_, int blocks_>
struct GemmTile {
  static constexpr int rows = rows_, columns = columns_, warp_rows = warp_rows_, warp_columns = warp_columns_;
  static constexpr int stages = stages_, blocks = blocks_;
  static constexpr int warps_down = rows / warp_rows, warps_across = columns / warp_columns;
  static constexpr int threads = 32 * warps_down * warps_across;
};

/// Up to 4 x 4 phases of a product. Channels of the source are counted per group and fill whole chunks.
template <class T>
struct GatherProblem {
  static constexpr int most_phases = 4;
  const T* source;  // [N, H, W, groups * depth]
  const T* weight;  // [groups * columns, kernel rows, kernel_columns, depth]
  const T* bias;    // [groups * columns] or null
  T* out;           // [N, out_H, out_W, groups * columns]
  int N, H, W, out_H, out_W, groups, depth, columns, kernel_columns;
  int weight_row;  // kernel rows * kernel_columns * depth
  int pixel_tiles = 0, column_tiles = 0, phase_columns = 1;
  bool whole_chunks = false;  // out can be written 16 bytes at a time
  kernels::LatticeAxis row[most_phases] = {}, column[most_phases] = {};
  kernels::Digits step[most_phases] = {};  // 128 bytes of channels as (tap row, tap column, channel), for each column axis
};

template <class T, class Tile>
inline constexpr int gather_shared_bytes =
    std::max(Tile::stages * (Tile::rows + Tile::columns) * 128, Tile::rows*(Tile::columns + 8) * static_cast<int>(sizeof(T)));

template <class T, class Tile, Precision precision>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) gather_gemm(const __grid_constant__ GatherProblem<T> p) {
#if SEGNET_TENSOR_CORES
  constexpr int chunk = Pack<T>::size, row_bytes = 128, rows_apart = Tile::threads / 8;
  constexpr int my_rows = Tile::rows / rows_apart, my_columns = Tile::columns / rows_apart;
  constexpr int stage_bytes = (Tile::rows + Tile::columns) * row_bytes;
  static_assert(rows_apart % 8 == 0 && Tile::rows % rows_apart == 0 && Tile::columns % rows_apart == 0);

  unsigned char* const memory = dynamic_shared<unsigned char>();
  __shared__ index_t out_at[Tile::rows];  // where a pixel's columns of group 0 begin in out; -1: there is no such pixel

  const int column_tile = static_cast<int>(blockIdx.x % static_cast<unsigned>(p.column_tiles));
  const int pixel_tile = static_cast<int>(blockIdx.x / static_cast<unsigned>(p.column_tiles) % static_cast<unsigned>(p.pixel_tiles));
  const int group = static_cast<int>(blockIdx.x / static_cast<unsigned>(p.column_tiles) / static_cast<unsigned>(p.pixel_tiles));
  const int phase = static_cast<int>(blockIdx.y), phase_row = phase / p.phase_columns, phase_column = phase % p.phase_columns;
  const kernels::LatticeAxis &row = p.row[phase_row], &column = p.column[phase_column];
  const kernels::Digits step = p.step[phase_column];
  const int pixels = p.N * row.size * column.size, first_pixel = pixel_tile * Tile::rows, first_column = column_tile * Tile::columns;
  if (first_pixel >= pixels) return;  // phases differ in size

  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int my_chunk = thread % 8, my_row = thread / 8;

  // Where my pixels' tap (0, 0) would lie; far outside for those that do not exist.
  int at[my_rows], h[my_rows], w[my_rows];
#pragma unroll
  for (int i = 0; i < my_rows; ++i) {
    const int m = my_row + i * rows_apart, pixel = first_pixel + m;
    index_t out = -1;
    at[i] = w[i] = 0;
    h[i] = -(1 << 30);
    if (pixel < pixels) {
      const kernels::Digits d = kernels::digits(pixel, row.size, column.size);
      h[i] = row.source(d.middle, 0);
      w[i] = column.source(d.low, 0);
      at[i] = (d.high * p.H + h[i]) * p.W + w[i];
      out = static_cast<index_t>((d.high * p.out_H + row.out(d.middle)) * p.out_W + column.out(d.low)) * p.groups * p.columns;
    }
    if (my_chunk == 0) out_at[m] = out;
  }

  constexpr int size = static_cast<int>(sizeof(T));
  const index_t source = mma::global_address(p.source + static_cast<index_t>(group) * p.depth);
  const index_t weight = mma::global_address(p.weight + (static_cast<index_t>(group) * p.columns + first_column + my_row) * p.weight_row +
                                             (row.tap(0) * p.kernel_columns + column.tap(0)) * p.depth);
  const int pixel_bytes = p.groups * p.depth * size, tap_down = row.period * p.kernel_columns * p.depth,
            tap_across = column.period * p.depth;
  const index_t weight_step = static_cast<index_t>(rows_apart) * p.weight_row * size;
  const int taps_down = row.taps, taps_across = column.taps, spacing_down = row.spacing, spacing_across = column.spacing;
  const unsigned H = static_cast<unsigned>(p.H), W = static_cast<unsigned>(p.W);
  const int my_columns_left = p.columns - first_column - my_row;
  kernels::Digits k = kernels::digits(my_chunk * chunk, max(taps_across, 1), p.depth);
  const unsigned shared = mma::shared_address(memory);
  const unsigned copy_to = shared + static_cast<unsigned>(my_row * row_bytes + ((my_chunk ^ (my_row % 8)) * 16));

  const auto copy_step = [&](int stage) {  // the next one
    const bool exists = k.high < taps_down;
    const int across = k.middle * spacing_across, down = k.high * spacing_down, columns_left = exists ? my_columns_left : 0;
    const int down_or_out = exists ? down : 1 << 29;  // no row is there
    const index_t from = source + static_cast<index_t>(down * p.W + across) * pixel_bytes + k.low * size;
    const unsigned to = copy_to + static_cast<unsigned>(stage * stage_bytes);
#pragma unroll
    for (int i = 0; i < my_rows; ++i)
      mma::copy16(to + static_cast<unsigned>(i * rows_apart * row_bytes), from + static_cast<index_t>(at[i]) * pixel_bytes,
                  (static_cast<unsigned>(h[i] + down_or_out) < H) & (static_cast<unsigned>(w[i] + across) < W));
    const index_t tap = weight + static_cast<index_t>(k.high * tap_down + k.middle * tap_across + k.low) * size;
#pragma unroll
    for (int i = 0; i < my_columns; ++i)
      mma::copy16(to + static_cast<unsigned>((Tile::rows + i * rows_apart) * row_bytes), tap + i * weight_step,
                  i * rows_apart < columns_left);
    k = kernels::add(k, step, taps_across, p.depth);
  };

  constexpr int fragments_down = Tile::warp_rows / 16, fragments_across = Tile::warp_columns / 8;
  static_assert(fragments_across % 2 == 0);
  float sum[fragments_down][fragments_across][4] = {};
  const int warp_row = warp / Tile::warps_across * Tile::warp_rows, warp_column = warp % Tile::warps_across * Tile::warp_columns;
  // Lanes point to rows of four matrices: A (rows 0-7 and 8-15) x (first, second half), B (columns 0-7, halves), (columns 8-15, halves).
  const unsigned a_row = static_cast<unsigned>((warp_row + lane % 16) * row_bytes), a_half = static_cast<unsigned>(lane / 16);
  const unsigned b_row = static_cast<unsigned>((Tile::rows + warp_column + lane % 8 + lane / 16 * 8) * row_bytes);
  const unsigned b_half = static_cast<unsigned>(lane / 8 % 2), turn = static_cast<unsigned>(lane % 8);
  [[maybe_unused]] constexpr int unrolled = std::is_same_v<T, float> && precision == Precision::full ? 1 : 4;  // or registers run out
  const auto multiply_step = [&](int stage) {
    const unsigned from = shared + static_cast<unsigned>(stage * stage_bytes);
#pragma unroll(unrolled)
    for (unsigned part = 0; part < 4; ++part) {  // 32 bytes of the inner dimension
      unsigned a[fragments_down][4], b[fragments_across][2];
#pragma unroll
      for (int i = 0; i < fragments_down; ++i)
        mma::load_matrices(a[i][0], a[i][1], a[i][2], a[i][3],
                           from + a_row + static_cast<unsigned>(i * 16 * row_bytes) + ((2 * part + a_half) ^ turn) * 16);
#pragma unroll
      for (int j = 0; j < fragments_across; j += 2)
        mma::load_matrices(b[j][0], b[j][1], b[j + 1][0], b[j + 1][1],
                           from + b_row + static_cast<unsigned>(j * 8 * row_bytes) + ((2 * part + b_half) ^ turn) * 16);
      mma::multiply_fragments<T, precision>(sum, a, b);
    }
  };

  const int steps = (taps_down * taps_across * p.depth + 8 * chunk - 1) / (8 * chunk);
#pragma unroll
  for (int s = 0; s < Tile::stages - 1; ++s) {
    if (s < steps) copy_step(s);
    mma::commit_copies();
  }
  int reading = 0, writing = Tile::stages - 1;
  for (int s = 0; s < steps; ++s) {
    mma::wait_for_copies<Tile::stages - 2>();
    __syncthreads();  // everybody's copies of this step are there, and everybody is done with the step before, which is overwritten next
    if (s + Tile::stages - 1 < steps) copy_step(writing);
    mma::commit_copies();
    multiply_step(reading);
    reading = reading + 1 == Tile::stages ? 0 : reading + 1;
    writing = writing + 1 == Tile::stages ? 0 : writing + 1;
  }
  mma::wait_for_copies<0>();
  __syncthreads();

  // Through shared memory, so that whole rows are written at once. 8 columns of padding keep the fragments' rows out of each other's banks.
  constexpr int pitch = Tile::columns + 8;
  T* const tile = reinterpret_cast<T*>(memory);
  const T* const bias = p.bias ? p.bias + static_cast<index_t>(group) * p.columns : nullptr;
#pragma unroll
  for (int j = 0; j < fragments_across; ++j) {
    const int n = warp_column + j * 8 + lane % 4 * 2, in_group = first_column + n;
    const float bias0 = bias && in_group < p.columns ? static_cast<float>(bias[in_group]) : 0.0f;
    const float bias1 = bias && in_group + 1 < p.columns ? static_cast<float>(bias[in_group + 1]) : 0.0f;
#pragma unroll
    for (int i = 0; i < fragments_down; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        T* to = tile + (warp_row + i * 16 + half * 8 + lane / 4) * pitch + n;
        struct alignas(2 * sizeof(T)) Two {
          T first, second;
        };
        *reinterpret_cast<Two*>(to) = {static_cast<T>(sum[i][j][2 * half] + bias0), static_cast<T>(sum[i][j][2 * half + 1] + bias1)};
      }
  }
  __syncthreads();

  T* const out = p.out + static_cast<index_t>(group) * p.columns + first_column;
  const int columns = min(Tile::columns, p.columns - first_column);
  if (p.whole_chunks) {
    constexpr int chunks = Tile::columns / chunk;
    for (int i = thread; i < Tile::rows * chunks; i += Tile::threads) {
      const int m = i / chunks, n = i % chunks * chunk;
      if (out_at[m] >= 0 && n < columns) Pack<T>::load(tile + m * pitch + n).store(out + out_at[m] + n);
    }
  } else {
    for (int i = thread; i < Tile::rows * Tile::columns; i += Tile::threads) {
      const int m = i / Tile::columns, n = i % Tile::columns;
      if (out_at[m] >= 0 && n < columns) out[out_at[m] + n] = tile[m * pitch + n];
    }
  }
#endif
}

}  // namespace segnet::cuda
