// The kernels of conv2d_wgmma.cuh for grad_weight.
#pragma once

#include "conv2d_wgmma_ring.cuh"

namespace segnet::cuda::sm90 {

/// dw [channels, taps, inputs] = sum over pixels of dy[pixel, m] * image[pixel moved by the tap, c]: pixels are the k of the product.
/// The columns of the product come in blocks of 64 channels c of one tap: block b is tap b % taps, channels from b / taps * 64 on.
struct WeightGradient {
  unsigned pixels, rows, columns;           // of dy
  unsigned channels, inputs, chunks, taps;  // m, c; chunks of 64 c
  unsigned splits, steps_per_split;         // pixels are split; steps of 64 pixels
  int low_h, low_w, stride_h, stride_w;
  std::uint8_t tap_h[most_taps], tap_w[most_taps];
};

template <int warpgroups, int blocks, int stages>
struct WeightTile {
  static constexpr int channels = 64 * warpgroups, threads = 128 * warpgroups + 32, blocks_per_sm = warpgroups == 1 ? 2 : 1;
  static constexpr int stage_bytes = (warpgroups + blocks) * 8192;
  static constexpr int shared = 1024 + stages * stage_bytes + Ring<warpgroups, stages>::bytes;
  static_assert((shared + 1024) * blocks_per_sm <= 228 * 1024);
};

/// 32 registers of d, a thread's share of 64 columns, to rows m and m + 8 of `to`, from column c on.
__device__ inline void store_partial(const float* d, float* to, unsigned m, unsigned c, index_t row, const WeightGradient& g) {
#pragma unroll
  for (int j = 0; j < 32; j += 4, c += 8) {
    if (c >= g.inputs) return;
    if (m < g.channels) *reinterpret_cast<float2*>(to + c) = make_float2(d[j], d[j + 1]);
    if (m + 8 < g.channels) *reinterpret_cast<float2*>(to + 8 * row + c) = make_float2(d[j + 2], d[j + 3]);
  }
}

/// partial [splits, channels, taps, inputs]: the sums over each split's pixels.
template <int warpgroups, int blocks, int stages>
__global__ void __launch_bounds__(WeightTile<warpgroups, blocks, stages>::threads, WeightTile<warpgroups, blocks, stages>::blocks_per_sm)
    weight_gradient_kernel(const __grid_constant__ CUtensorMap dy_map, const __grid_constant__ CUtensorMap image_map,
                           const __grid_constant__ WeightGradient g, float* __restrict__ partial) {
#if SEGNET_SM90A
  using Tile = WeightTile<warpgroups, blocks, stages>;
  const Address buffers = (shared_address(dynamic_shared<char>()) + 1023) / 1024 * 1024;
  Ring<warpgroups, stages> ring(buffers + stages * Tile::stage_bytes);
  if (threadIdx.x == 0) ring.init();
  __syncthreads();

  const unsigned all_blocks = g.taps * g.chunks, block_tiles = (all_blocks + blocks - 1) / blocks;
  const unsigned channel_tiles = (g.channels + Tile::channels - 1) / Tile::channels, tiles = channel_tiles * block_tiles;
  const unsigned all_steps = (g.pixels + 63) / 64, warp = threadIdx.x / 32;

  if (warp == 4 * warpgroups) {  // fills
    if (threadIdx.x % 32 != 0) return;
    prefetch_map(&dy_map);
    prefetch_map(&image_map);
    for (unsigned item = blockIdx.x; item < tiles * g.splits; item += gridDim.x) {
      const unsigned split = item / tiles, tile = item % tiles;
      const unsigned channel = tile / block_tiles * Tile::channels, first = tile % block_tiles * blocks;
      const unsigned count = min(all_blocks - first, static_cast<unsigned>(blocks));
      const unsigned begin = split * g.steps_per_split, end = min(begin + g.steps_per_split, all_steps);
      for (unsigned step = begin; step < end; ++step) {
        const unsigned pixel = step * 64, row = pixel / g.columns, n = row / g.rows;
        const int h = static_cast<int>(row - n * g.rows) * g.stride_h + g.low_h;
        const int w = static_cast<int>(pixel - row * g.columns) * g.stride_w + g.low_w;
        const Address barrier = ring.begin_fill((warpgroups + count) * 8192), to = buffers + ring.stage * Tile::stage_bytes;
        for (int group = 0; group < warpgroups; ++group)
          copy_box(to + group * 8192, &dy_map, barrier, static_cast<int>(channel) + group * 64, static_cast<int>(pixel));
        for (unsigned b = 0; b < count; ++b) {  // the columns of blocks that do not exist are whatever was there: nobody stores them
          const unsigned c = (first + b) / g.taps, t = first + b - c * g.taps;
          copy_pixels(to + (warpgroups + b) * 8192, &image_map, barrier, static_cast<int>(c) * 64, w, h, static_cast<int>(n), g.tap_w[t],
                      g.tap_h[t]);
        }
        ring.advance();
      }
    }
    return;
  }

  const unsigned group = warp / 4, lane = threadIdx.x % 32;  // multiplies
  float d[blocks * 32] = {};
  for (unsigned item = blockIdx.x; item < tiles * g.splits; item += gridDim.x) {
    const unsigned split = item / tiles, tile = item % tiles;
    const unsigned begin = split * g.steps_per_split, end = min(begin + g.steps_per_split, all_steps);
    unsigned previous = 0;
    for (unsigned step = begin; step < end; ++step) {
      const Address from = buffers + ring.stage * Tile::stage_bytes;
      const std::uint64_t a = matrix(from + group * 8192, 8192, 1024), b = matrix(from + warpgroups * 8192, 8192, 1024);
      ring.wait_full();
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < 4; ++k) wgmma<bfloat16, true, true>(d, a + k * 128, b + k * 128, step > begin || k > 0);
      wgmma_commit();
      wgmma_wait<1>();
      if (step > begin) ring.release(previous);
      previous = ring.stage;
      ring.advance();
    }
    wgmma_wait<0>();
    ring.release(previous);
    settle(d);

    const unsigned first = tile % block_tiles * blocks, m = tile / block_tiles * Tile::channels + warp * 16 + lane / 4;
    const index_t row = static_cast<index_t>(g.taps) * g.inputs;
#pragma unroll
    for (int b = 0; b < blocks; ++b) {
      const unsigned block = first + b, c0 = block / g.taps, t = block - c0 * g.taps;
      if (block >= all_blocks) break;
      store_partial(d + b * 32, partial + (static_cast<index_t>(split) * g.channels + m) * row + t * g.inputs, m, c0 * 64 + lane % 4 * 2,
                    row, g);
    }
  }
#endif
}

/// The same for 3 x 3 kernels with stride 1, with less to copy. A step is a square of 8 x 8 pixels; each of three warpgroups has a
/// column of taps, for which one box of x, taller than the square, serves all three: 64 columns of the product start some rows of the
/// box below the 64 before, so they overlap in shared memory. Tiles are 64 channels m x 9 taps x 64 channels c.
struct WeightSquares {
  unsigned down, across, step_h;  // of an image: down * across squares; tap row u has tap_h = u * step_h
  static constexpr unsigned most_step = 2;
};
struct WeightSquareTile {
  static constexpr int warpgroups = 3, stages = 5, threads = 128 * warpgroups + 32;
  static constexpr int dy_bytes = 64 * 128, box_bytes = (8 + 2 * WeightSquares::most_step) * 8 * 128;
  static constexpr int stage_bytes = dy_bytes + 3 * box_bytes;
  static constexpr int shared = 1024 + stages * stage_bytes + Ring<warpgroups, stages>::bytes;
  static_assert(stage_bytes % 1024 == 0 && shared <= 227 * 1024);
};

static __global__ void __launch_bounds__(WeightSquareTile::threads, 1)
    weight_square_kernel(const __grid_constant__ CUtensorMap dy_map, const __grid_constant__ CUtensorMap image_map,
                         const __grid_constant__ WeightGradient g, const __grid_constant__ WeightSquares r, float* __restrict__ partial) {
#if SEGNET_SM90A
  using Tile = WeightSquareTile;
  const Address buffers = (shared_address(dynamic_shared<char>()) + 1023) / 1024 * 1024;
  Ring<Tile::warpgroups, Tile::stages> ring(buffers + Tile::stages * Tile::stage_bytes);
  if (threadIdx.x == 0) ring.init();
  __syncthreads();

  const unsigned tiles = (g.channels + 63) / 64 * g.chunks;
  const unsigned all_steps = g.pixels / (g.rows * g.columns) * r.down * r.across, warp = threadIdx.x / 32;

  if (warp == 4 * Tile::warpgroups) {  // fills
    if (threadIdx.x % 32 != 0) return;
    prefetch_map(&dy_map);
    prefetch_map(&image_map);
    const unsigned box_bytes = (8 + 2 * r.step_h) * 8 * 128;
    for (unsigned item = blockIdx.x; item < tiles * g.splits; item += gridDim.x) {
      const unsigned split = item / tiles, tile = item % tiles;
      const int channel = static_cast<int>(tile / g.chunks) * 64, c = static_cast<int>(tile % g.chunks) * 64;
      const unsigned begin = split * g.steps_per_split, end = min(begin + g.steps_per_split, all_steps);
      for (unsigned step = begin; step < end; ++step) {
        const unsigned row = step / r.across, image = row / r.down;
        const int h = static_cast<int>(row - image * r.down) * 8, w = static_cast<int>(step - row * r.across) * 8,
                  n = static_cast<int>(image);
        const Address barrier = ring.begin_fill(Tile::dy_bytes + 3 * box_bytes), to = buffers + ring.stage * Tile::stage_bytes;
        copy_box(to, &dy_map, barrier, channel, w, h, n);
        for (int v = 0; v < 3; ++v)
          copy_box(to + Tile::dy_bytes + v * Tile::box_bytes, &image_map, barrier, c, w + g.low_w + g.tap_w[v], h + g.low_h, n);
        ring.advance();
      }
    }
    return;
  }

  const unsigned group = warp / 4, lane = threadIdx.x % 32;  // multiplies
  float d[96] = {};
  for (unsigned item = blockIdx.x; item < tiles * g.splits; item += gridDim.x) {
    const unsigned split = item / tiles, tile = item % tiles;
    const unsigned begin = split * g.steps_per_split, end = min(begin + g.steps_per_split, all_steps);
    unsigned previous = 0;
    for (unsigned step = begin; step < end; ++step) {
      const Address from = buffers + ring.stage * Tile::stage_bytes;
      const std::uint64_t a = matrix(from, 8192, 1024);
      const std::uint64_t b = matrix(from + Tile::dy_bytes + group * Tile::box_bytes, r.step_h * 1024, 1024);
      ring.wait_full();
      wgmma_begin();
#pragma unroll
      for (int k = 0; k < 4; ++k) wgmma<bfloat16, true, true>(d, a + k * 128, b + k * 128, step > begin || k > 0);
      wgmma_commit();
      wgmma_wait<1>();
      if (step > begin) ring.release(previous);
      previous = ring.stage;
      ring.advance();
    }
    wgmma_wait<0>();
    ring.release(previous);
    settle(d);

    const unsigned m = tile / g.chunks * 64 + warp % 4 * 16 + lane / 4;
    const index_t row = static_cast<index_t>(g.taps) * g.inputs;
#pragma unroll
    for (int u = 0; u < 3; ++u)
      store_partial(d + u * 32, partial + (static_cast<index_t>(split) * g.channels + m) * row + (u * 3 + group) * g.inputs, m,
                    tile % g.chunks * 64 + lane % 4 * 2, row, g);
  }
#endif
}

/// to[i] = sum over splits of partial[split][i], first to last.
template <class T>
struct JoinSplits {
  T* to;
  const float* partial;
  index_t size, splits;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    float sum = 0;
    for (index_t s = 0; s < splits; ++s) sum += partial[s * size + i];
    to[i] = static_cast<T>(sum);
  }
};

}  // namespace segnet::cuda::sm90
