// dw[o, tap, c] = sum over output pixels of dy[pixel, o] * x[pixel at tap, c] on tensor cores.
//
// A block owns a tile of output channels times (tap, channel), for a range of the pixels. Both operands lie pixel by pixel, the inner
// dimension, so fragments are read from shared memory across its rows: by ldmatrix.trans for bfloat16, word by word for float. Rows are
// 8 elements longer than the tile: lanes then read 8 rows of 16 bytes (bfloat16), or 4 rows of 8 words (float), from different banks.
// A thread copies one chunk, always of the same tap and channel, of every few pixels, whose rows and columns move by addition.
//
// Ranges of pixels are cut by shape alone; their sums are joined in order by a second kernel. Equal bits from run to run.
#pragma once

#include "conv2d_implicit_gemm_gather.cuh"

namespace segnet::cuda {

/// Channels of dy and x are counted per group and fill whole chunks.
template <class T>
struct WeightProblem {
  const T* dy;               // [N, OH, OW, groups * out_depth]
  const T* x;                // [N, H, W, groups * depth]
  float* partial = nullptr;  // [splits, groups * outputs, inputs]
  int pixels, H, W;          // pixels = N * OH * OW
  int groups, outputs, out_depth, depth, kernel_columns;
  int inputs;  // kernel rows * kernel_columns * depth
  int row_tiles = 0, column_tiles = 0, splits = 0, split_pixels = 0;
  kernels::LatticeAxis row = {}, column = {};  // of the forward pass
  kernels::Digits step = {};                   // 64 bytes' worth of pixels as (image, row, column)
};

template <class T>
inline constexpr int weight_step_pixels = 64 / static_cast<int>(sizeof(T));

template <class T, class Tile>
inline constexpr int weight_shared_bytes =
    Tile::stages * weight_step_pixels<T> * (Tile::rows + Tile::columns + 16) * static_cast<int>(sizeof(T));

template <class T, class Tile, Precision precision>
__global__ void __launch_bounds__(Tile::threads, Tile::blocks) weight_gemm(const __grid_constant__ WeightProblem<T> p) {
#if SEGNET_TENSOR_CORES
  constexpr int chunk = Pack<T>::size, depth = weight_step_pixels<T>, size = static_cast<int>(sizeof(T));
  constexpr int a_pitch = (Tile::rows + 8) * size, b_pitch = (Tile::columns + 8) * size, b_begin = depth * a_pitch;
  constexpr int stage_bytes = b_begin + depth * b_pitch;
  constexpr int a_chunks = Tile::rows / chunk, b_chunks = Tile::columns / chunk;
  constexpr int a_apart = Tile::threads / a_chunks, b_apart = Tile::threads / b_chunks;  // pixels between those of one thread
  constexpr int my_a = depth / a_apart, my_b = depth / b_apart;
  static_assert(depth % a_apart == 0 && depth % b_apart == 0 && my_a > 0 && my_b > 0);

  unsigned char* const memory = dynamic_shared<unsigned char>();

  unsigned block = blockIdx.x;
  const int column_tile = static_cast<int>(block % static_cast<unsigned>(p.column_tiles));
  block /= static_cast<unsigned>(p.column_tiles);
  const int row_tile = static_cast<int>(block % static_cast<unsigned>(p.row_tiles));
  block /= static_cast<unsigned>(p.row_tiles);
  const int split = static_cast<int>(block % static_cast<unsigned>(p.splits)),
            group = static_cast<int>(block / static_cast<unsigned>(p.splits));
  const int first_output = row_tile * Tile::rows, first_input = column_tile * Tile::columns;
  const int first_pixel = split * p.split_pixels, end_pixel = min(p.pixels - first_pixel, p.split_pixels) + first_pixel;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;

  // My part of dy: one chunk of output channels.
  const int a_channel = first_output + thread % a_chunks * chunk, a_pixel = thread / a_chunks;
  const bool a_exists = a_channel < p.out_depth;
  const int dy_bytes = p.groups * p.out_depth * size, x_bytes = p.groups * p.depth * size;
  index_t dy = mma::global_address(p.dy + static_cast<index_t>(group) * p.out_depth + a_channel) +
               static_cast<index_t>(first_pixel + a_pixel) * dy_bytes;
  int a_pixels_left = a_exists ? end_pixel - first_pixel - a_pixel : 0;
  // My part of x: one chunk of one tap.
  const int b_input = first_input + thread % b_chunks * chunk, b_pixel = thread / b_chunks;
  const bool b_exists = b_input < p.inputs;
  const kernels::Digits tap = kernels::digits(b_exists ? b_input : 0, p.kernel_columns, p.depth);
  const int h0 = p.row.source(0, tap.high), w0 = p.column.source(0, tap.middle);
  const index_t x = mma::global_address(p.x + static_cast<index_t>(group) * p.depth + tap.low);
  int b_pixels_left = b_exists ? end_pixel - first_pixel - b_pixel : 0;
  kernels::Digits at[my_b];
#pragma unroll
  for (int i = 0; i < my_b; ++i) at[i] = kernels::digits(first_pixel + b_pixel + i * b_apart, p.row.size, p.column.size);

  const unsigned shared = mma::shared_address(memory);
  const unsigned a_to = shared + static_cast<unsigned>(a_pixel * a_pitch + thread % a_chunks * 16);
  const unsigned b_to = shared + static_cast<unsigned>(b_begin + b_pixel * b_pitch + thread % b_chunks * 16);
  const unsigned H = static_cast<unsigned>(p.H), W = static_cast<unsigned>(p.W);
  const auto copy_step = [&](int stage) {  // the next one
    const unsigned moved = static_cast<unsigned>(stage * stage_bytes);
#pragma unroll
    for (int i = 0; i < my_a; ++i)
      mma::copy16(a_to + moved + static_cast<unsigned>(i * a_apart * a_pitch), dy + static_cast<index_t>(i * a_apart) * dy_bytes,
                  i * a_apart < a_pixels_left);
    dy += static_cast<index_t>(depth) * dy_bytes;
    a_pixels_left -= depth;
#pragma unroll
    for (int i = 0; i < my_b; ++i) {
      const int h = at[i].middle * p.row.step + h0, w = at[i].low * p.column.step + w0;
      const unsigned pixel = (static_cast<unsigned>(at[i].high) * H + static_cast<unsigned>(h)) * W + static_cast<unsigned>(w);
      mma::copy16(b_to + moved + static_cast<unsigned>(i * b_apart * b_pitch), x + static_cast<index_t>(pixel) * x_bytes,
                  (i * b_apart < b_pixels_left) & (static_cast<unsigned>(h) < H) & (static_cast<unsigned>(w) < W));
      at[i] = kernels::add(at[i], p.step, p.row.size, p.column.size);
    }
    b_pixels_left -= depth;
  };

  constexpr int fragments_down = Tile::warp_rows / 16, fragments_across = Tile::warp_columns / 8;
  static_assert(fragments_across % 2 == 0);
  float sum[fragments_down][fragments_across][4] = {};
  const int warp_row = warp / Tile::warps_across * Tile::warp_rows, warp_column = warp % Tile::warps_across * Tile::warp_columns;
  [[maybe_unused]] constexpr int unrolled = std::is_same_v<T, float> && precision == Precision::full ? 1 : 2;  // as in gather_gemm
  const auto multiply_step = [&](int stage) {
#pragma unroll(unrolled)
    for (int part = 0; part < 2; ++part) {  // 16 pixels of bfloat16, 8 of float
      unsigned a[fragments_down][4], b[fragments_across][2];
      if constexpr (size == 2) {
        // Lanes point to rows (pixels) of four matrices. A: pixels 0-7 of (channels 0-7, 8-15), pixels 8-15 of the same.
        // B: channels 0-7 of (pixels 0-7, 8-15), channels 8-15 of the same.
        const unsigned from = shared + static_cast<unsigned>(stage * stage_bytes);
        const unsigned a_from =
            from + static_cast<unsigned>((part * 16 + lane % 8 + lane / 16 * 8) * a_pitch + (warp_row + lane / 8 % 2 * 8) * size);
        const unsigned b_from =
            from + static_cast<unsigned>(b_begin + (part * 16 + lane % 16) * b_pitch + (warp_column + lane / 16 * 8) * size);
#pragma unroll
        for (int i = 0; i < fragments_down; ++i)
          mma::load_matrices_transposed(a[i][0], a[i][1], a[i][2], a[i][3], a_from + static_cast<unsigned>(i * 16 * size));
#pragma unroll
        for (int j = 0; j < fragments_across; j += 2)
          mma::load_matrices_transposed(b[j][0], b[j][1], b[j + 1][0], b[j + 1][1], b_from + static_cast<unsigned>(j * 8 * size));
      } else {
        const unsigned char* from = memory + stage * stage_bytes;
        const unsigned char* a_from = from + (part * 8 + lane % 4) * a_pitch + (warp_row + lane / 4) * size;
        const unsigned char* b_from = from + b_begin + (part * 8 + lane % 4) * b_pitch + (warp_column + lane / 4) * size;
#pragma unroll
        for (int i = 0; i < fragments_down; ++i)
#pragma unroll
          for (int r = 0; r < 4; ++r)
            a[i][r] = *reinterpret_cast<const unsigned*>(a_from + r / 2 * 4 * a_pitch + (i * 16 + r % 2 * 8) * size);
#pragma unroll
        for (int j = 0; j < fragments_across; ++j)
#pragma unroll
          for (int r = 0; r < 2; ++r) b[j][r] = *reinterpret_cast<const unsigned*>(b_from + r * 4 * b_pitch + j * 8 * size);
      }
      mma::multiply_fragments<T, precision>(sum, a, b);
    }
  };

  const int steps = (end_pixel - first_pixel + depth - 1) / depth;
#pragma unroll
  for (int s = 0; s < Tile::stages - 1; ++s) {
    if (s < steps) copy_step(s);
    mma::commit_copies();
  }
  int reading = 0, writing = Tile::stages - 1;
  for (int s = 0; s < steps; ++s) {
    mma::wait_for_copies<Tile::stages - 2>();
    __syncthreads();  // as in gather_gemm
    if (s + Tile::stages - 1 < steps) copy_step(writing);
    mma::commit_copies();
    multiply_step(reading);
    reading = reading + 1 == Tile::stages ? 0 : reading + 1;
    writing = writing + 1 == Tile::stages ? 0 : writing + 1;
  }

  float* const partial = p.partial + (static_cast<index_t>(split) * p.groups + group) * p.outputs * p.inputs;
#pragma unroll
  for (int i = 0; i < fragments_down; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int o = first_output + warp_row + i * 16 + half * 8 + lane / 4;
#pragma unroll
      for (int j = 0; j < fragments_across; ++j) {
        const int n = first_input + warp_column + j * 8 + lane % 4 * 2;
        if (o < p.outputs && n < p.inputs)  // inputs is even: both columns exist or none
          *reinterpret_cast<float2*>(partial + static_cast<index_t>(o) * p.inputs + n) =
              make_float2(sum[i][j][2 * half], sum[i][j][2 * half + 1]);
      }
    }
#endif
}

/// dw[o, tap, c] = the sum over the splits, in order. Channels that only filled up chunks are dropped.
template <class T>
struct JoinWeightSplits {
  const float* partial;  // [splits, outputs of all groups, taps, depth]; null for no splits
  T* dw;                 // [outputs, taps, channels]
  int splits, channels, depth;
  index_t split_size;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t first = i / channels * depth + i % channels;
    float sum = 0;
    int s = 0;
    for (; s + 8 <= splits; s += 8) {  // eight loads on their way, then added in order
      float part[8];
      for (int e = 0; e < 8; ++e) part[e] = partial[first + (s + e) * split_size];
      for (int e = 0; e < 8; ++e) sum += part[e];
    }
    for (; s < splits; ++s) sum += partial[first + s * split_size];
    dw[i] = static_cast<T>(sum);
  }
};

}  // namespace segnet::cuda
