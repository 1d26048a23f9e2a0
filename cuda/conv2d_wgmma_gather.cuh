// The kernels of conv2d_wgmma.cuh that gather: forward and grad_input.
#pragma once

#include "conv2d_wgmma_ring.cuh"

namespace segnet::cuda::sm90 {

/// Forward and grad_input are one thing here. Result pixel (n, i, j) in channel m is
///   bias[m] + sum over taps t and channels k of weight[m, tap[t], k] * image[n, low_h + i * stride_h + tap_h[t], (alike), k].
struct Gathering {
  unsigned pixels, rows, columns;                        // of the result: N * rows * columns, i < rows, j < columns
  unsigned channels, chunks;                             // m < channels; k in chunks of 128 bytes
  unsigned taps, taps_h, taps_w;                         // taps = taps_h * taps_w; tap u * taps_w + v is in row u, column v
  int low_h, low_w, stride_h, stride_w, high_h, high_w;  // high: of the last place, from the last row and column of the image
  index_t step_n, step_i, step_j;                        // elements from one result image, row, pixel to the next
  bool dense;                                            // nothing between them
  std::uint8_t tap[most_taps], tap_h[most_taps], tap_w[most_taps];

  __device__ index_t place(unsigned n, unsigned i, unsigned j) const { return n * step_n + i * step_i + j * step_j; }
};

/// What a warpgroup needs to turn `pixels_at_once` pixels of 64 channels over before it stores them.
template <class T, int pixels_at_once>
struct Strip {
  static constexpr int pixels = pixels_at_once, bytes = pixels * 64 * static_cast<int>(sizeof(T));
};

/// d [64 channels of this warpgroup from `channel` on, pixels] + bias to the result, through shared memory, so that whole lines of
/// 128 bytes are stored: one for each pixel, 32 bytes at a time would cost more than the products. 16-byte unit u of pixel q lies in
/// place u ^ q % 8 of its row. place(q): where the result has pixel q of the tile, or -1.
template <class Strip, int half, class Place>
__device__ void store_result(const float (&d)[half], float bias_low, float bias_high, Address strip, unsigned channel, unsigned channels,
                             const Place& place, bfloat16* y) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  // Lane 8 m + k of a store_transposed gives the place of pixel 8 (m / 2) + k, channels 8 (m % 2) to + 7 of the warp's 16.
  const unsigned to_pixel = lane / 16 * 8 + lane % 8, to_unit = warp * 2 + lane / 8 % 2;
  const unsigned from_pixel = threadIdx.x % 128 / 8, from_unit = threadIdx.x % 8;
  const Address to = strip + to_pixel * 128 + (to_unit ^ to_pixel % 8) * 16;
  const Address from = strip + from_pixel * 128 + (from_unit ^ from_pixel % 8) * 16;
  const bool wanted = channel + from_unit * 8 < channels;
  const auto pack = [](float a, float b) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const std::uint32_t*>(&v);
  };
#pragma unroll
  for (int s = 0; s < 2 * half; s += Strip::pixels) {
#pragma unroll
    for (int q = 0; q < Strip::pixels; q += 16) {
      const float* e = d + (s + q) / 2;
      store_transposed(to + q * 128, pack(e[0] + bias_low, e[1] + bias_low), pack(e[2] + bias_high, e[3] + bias_high),
                       pack(e[4] + bias_low, e[5] + bias_low), pack(e[6] + bias_high, e[7] + bias_high));
    }
    warpgroup_sync();
#pragma unroll
    for (int q = 0; q < Strip::pixels; q += 16) {
      const index_t at = place(static_cast<unsigned>(s + q) + from_pixel);
      const uint4 v = load_shared(from + q * 128);
      if (wanted && at >= 0) *reinterpret_cast<uint4*>(y + at + channel + from_unit * 8) = v;
    }
    warpgroup_sync();
  }
}
/// The same for float: unit u of pixel q in place u ^ (q & 6).
template <class Strip, int half, class Place>
__device__ void store_result(const float (&d)[half], float bias_low, float bias_high, Address strip, unsigned channel, unsigned channels,
                             const Place& place, float* y) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const unsigned to_pixel = lane % 4 * 2, to_unit = warp * 4 + lane / 16, from_pixel = threadIdx.x % 128 / 16, from_unit = threadIdx.x % 16;
  const Address to = strip + to_pixel * 256 + lane / 4 % 4 * 4, low = to + (to_unit ^ to_pixel) * 16,
                high = to + ((to_unit + 2) ^ to_pixel) * 16;
  const Address from = strip + from_pixel * 256 + (from_unit ^ (from_pixel & 6)) * 16;
  const bool wanted = channel + from_unit * 4 < channels;
#pragma unroll
  for (int s = 0; s < 2 * half; s += Strip::pixels) {
#pragma unroll
    for (int q = 0; q < Strip::pixels; q += 8) {
      const float* e = d + (s + q) / 2;
      store_shared(low + q * 256, e[0] + bias_low);
      store_shared(low + q * 256 + 256, e[1] + bias_low);
      store_shared(high + q * 256, e[2] + bias_high);
      store_shared(high + q * 256 + 256, e[3] + bias_high);
    }
    warpgroup_sync();
#pragma unroll
    for (int q = 0; q < Strip::pixels; q += 8) {
      const index_t at = place(static_cast<unsigned>(s + q) + from_pixel);
      const uint4 v = load_shared(from + q * 256);
      if (wanted && at >= 0) *reinterpret_cast<uint4*>(y + at + channel + from_unit * 4) = v;
    }
    warpgroup_sync();
  }
}

/// Weights of one tap for 64 * warpgroups channels from `channel` on and a chunk of k, 8 KiB for each warpgroup. The map is
/// [m][tap][k], or [k][tap][m] if `transposed` (16-bit types only): then chunks are MN-major.
template <int warpgroups, bool transposed>
__device__ void copy_weights(Address to, const CUtensorMap* map, Address barrier, unsigned channel, unsigned tap, int k) {
  if constexpr (transposed)
    for (int group = 0; group < warpgroups; ++group)
      copy_box(to + group * 8192, map, barrier, static_cast<int>(channel) + group * 64, static_cast<int>(tap), k);
  else copy_box(to, map, barrier, k, static_cast<int>(tap), static_cast<int>(channel));
}
/// d (+)= weights * pixels^T over one chunk of one tap. group_bytes: from eight pixels to the next eight.
template <class T, bool transposed, int half>
__device__ void multiply_chunk(float (&d)[half], Address weights, Address pixels, unsigned group_bytes, bool add) {
  const std::uint64_t a = transposed ? matrix(weights, 8192, 1024) : k_major(weights), b = matrix(pixels, 16, group_bytes);
  wgmma_begin();
#pragma unroll
  for (int k = 0; k < 4; ++k) wgmma<T, transposed, false>(d, a + k * (transposed ? 128 : 2), b + k * 2, add || k > 0);
  wgmma_commit();
}
/// d + bias to y, for the warpgroup whose channels start at `channel`.
template <class Strip, int half, class T, class Place>
__device__ void finish(const float (&d)[half], const T* bias, Address strip, unsigned channel, unsigned channels, const Place& place,
                       T* y) {
  const unsigned low = channel + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
  const float bias_low = bias && low < channels ? static_cast<float>(bias[low]) : 0.0f;
  const float bias_high = bias && low + 8 < channels ? static_cast<float>(bias[low + 8]) : 0.0f;
  store_result<Strip>(d, bias_low, bias_high, strip, channel, channels, place, y);
}

/// Tiles of 64 * warpgroups channels x `pixels` pixels.
template <class T, int warpgroups, int pixels, int stages>
struct GatherTile {
  using Strip = sm90::Strip<T, sizeof(T) == 2 ? 64 : 32>;
  static constexpr int channels = 64 * warpgroups, threads = 128 * warpgroups + 32, blocks_per_sm = warpgroups == 1 ? 2 : 1;
  static constexpr int chunk = 128 / sizeof(T);  // elements of k in a stage
  static constexpr int weight_bytes = channels * 128, stage_bytes = weight_bytes + pixels * 128;
  static constexpr int shared = 1024 + stages * stage_bytes + warpgroups * Strip::bytes + Ring<warpgroups, stages>::bytes;
  static_assert(pixels % Strip::pixels == 0 && stage_bytes % 1024 == 0);
  static_assert((shared + 1024) * blocks_per_sm <= 228 * 1024);
};

/// Weights are the rows of wgmma and pixels its columns, so that 64 output channels, too, make large products.
/// Each stage of the ring holds one chunk of one tap: weights, then pixels.
template <class T, int warpgroups, int pixels, int stages, bool transposed>
__global__ void __launch_bounds__(GatherTile<T, warpgroups, pixels, stages>::threads,
                                  GatherTile<T, warpgroups, pixels, stages>::blocks_per_sm)
    gather_kernel(const __grid_constant__ CUtensorMap image_map, const __grid_constant__ CUtensorMap weight_map,
                  const __grid_constant__ Gathering g, const T* __restrict__ bias, T* __restrict__ y) {
#if SEGNET_SM90A
  using Tile = GatherTile<T, warpgroups, pixels, stages>;
  const Address buffers = (shared_address(dynamic_shared<char>()) + 1023) / 1024 * 1024, strips = buffers + stages * Tile::stage_bytes;
  Ring<warpgroups, stages> ring(strips + warpgroups * Tile::Strip::bytes);
  if (threadIdx.x == 0) ring.init();
  __syncthreads();

  const unsigned channel_tiles = (g.channels + Tile::channels - 1) / Tile::channels;
  const unsigned tiles = channel_tiles * ((g.pixels + pixels - 1) / pixels);
  const unsigned warp = threadIdx.x / 32, steps = g.taps * g.chunks;

  if (warp == 4 * warpgroups) {  // fills
    if (threadIdx.x % 32 != 0) return;
    prefetch_map(&image_map);
    prefetch_map(&weight_map);
    for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const unsigned channel = tile % channel_tiles * Tile::channels, pixel = tile / channel_tiles * pixels;
      const unsigned row = pixel / g.columns, n = row / g.rows;
      const int h = static_cast<int>(row - n * g.rows) * g.stride_h + g.low_h;
      const int w = static_cast<int>(pixel - row * g.columns) * g.stride_w + g.low_w;
      for (unsigned c = 0; c < g.chunks; ++c)
        for (unsigned t = 0; t < g.taps; ++t) {
          const Address barrier = ring.begin_fill(Tile::stage_bytes), to = buffers + ring.stage * Tile::stage_bytes;
          const int k = static_cast<int>(c) * Tile::chunk;
          copy_pixels(to + Tile::weight_bytes, &image_map, barrier, k, w, h, static_cast<int>(n), g.tap_w[t], g.tap_h[t]);
          copy_weights<warpgroups, transposed>(to, &weight_map, barrier, channel, g.tap[t], k);
          ring.advance();
        }
    }
    return;
  }

  const unsigned group = warp / 4;  // multiplies
  float d[pixels / 2] = {};
  for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    unsigned previous = 0;
    for (unsigned step = 0; step < steps; ++step) {
      const Address from = buffers + ring.stage * Tile::stage_bytes;
      ring.wait_full();
      multiply_chunk<T, transposed>(d, from + group * 8192, from + Tile::weight_bytes, 1024, step > 0);
      wgmma_wait<1>();
      if (step > 0) ring.release(previous);  // its products are done, these are under way
      previous = ring.stage;
      ring.advance();
    }
    wgmma_wait<0>();
    ring.release(previous);
    settle(d);

    const auto place = [&, first = tile / channel_tiles * pixels](unsigned q) {
      const unsigned pixel = first + q;
      if (pixel >= g.pixels) return index_t{-1};
      if (g.dense) return pixel * g.step_j;
      const unsigned row = pixel / g.columns, n = row / g.rows;
      return g.place(n, row - n * g.rows, pixel - row * g.columns);
    };
    finish<typename Tile::Strip>(d, bias, strips + group * Tile::Strip::bytes, tile % channel_tiles * Tile::channels + group * 64,
                                 g.channels, place, y);
  }
#endif
}

/// The same for stride 1, with less to copy: neighbouring taps read almost the same pixels. Tiles are rectangles here, and a box of
/// pixels that is larger by what the taps reach lies in shared memory; each tap reads 256 of its rows from another start. wgmma takes
/// rows in groups of eight at equal distances, so there are two ways:
///   a box for all taps: tiles are 8 pixels wide and a group is a row of the tile;
///   a box for each column of taps: the tile's rows follow each other without a gap, and each tap starts some of them later.
struct Rectangles {
  unsigned tile_h, tile_w, log_w;             // tile_w = 1 << log_w
  unsigned down, across;                      // of an image: down * across tiles
  unsigned box_h, box_w, boxes;               // boxes of a chunk: 1, or one for each column of taps; tap i * boxes + b uses box b
  static constexpr unsigned most_rows = 340;  // of shared memory: box_h * box_w

  [[nodiscard]] SEGNET_HOST_DEVICE unsigned group_bytes() const { return tile_w == 8 ? box_w * 128 : 1024; }
};

template <class T, int warpgroups>
struct RectangleTile {
  static constexpr int pixels = 256, box_stages = 2, weight_stages = warpgroups == 2 ? 6 : sizeof(T) == 2 ? 3 : 2;
  using Strip = sm90::Strip<T, warpgroups == 1 || sizeof(T) == 4 ? 16 : 64>;
  using BoxRing = Ring<warpgroups, box_stages>;
  using WeightRing = Ring<warpgroups, weight_stages>;
  static constexpr int channels = 64 * warpgroups, threads = 128 * warpgroups + 32, blocks_per_sm = warpgroups == 1 ? 2 : 1;
  static constexpr int chunk = 128 / sizeof(T), weight_bytes = channels * 128;
  static constexpr int box_bytes = (Rectangles::most_rows + 7) / 8 * 1024;  // from one box to the next
  static constexpr int boxes_bytes = (box_stages - 1) * box_bytes + Rectangles::most_rows * 128;
  static constexpr int shared =
      1024 + weight_stages * weight_bytes + boxes_bytes + warpgroups * Strip::bytes + BoxRing::bytes + WeightRing::bytes;
  static_assert((shared + 1024) * blocks_per_sm <= 228 * 1024);
};

template <class T, int warpgroups, bool transposed>
__global__ void __launch_bounds__(RectangleTile<T, warpgroups>::threads, RectangleTile<T, warpgroups>::blocks_per_sm)
    rectangle_kernel(const __grid_constant__ CUtensorMap image_map, const __grid_constant__ CUtensorMap weight_map,
                     const __grid_constant__ Gathering g, const __grid_constant__ Rectangles r, const T* __restrict__ bias,
                     T* __restrict__ y) {
#if SEGNET_SM90A
  using Tile = RectangleTile<T, warpgroups>;
  const Address buffers = (shared_address(dynamic_shared<char>()) + 1023) / 1024 * 1024,
                boxes = buffers + Tile::weight_stages * Tile::weight_bytes;
  const Address strips = boxes + Tile::boxes_bytes, barriers = strips + warpgroups * Tile::Strip::bytes;
  typename Tile::BoxRing pixels(barriers);
  typename Tile::WeightRing weights(barriers + Tile::BoxRing::bytes);
  if (threadIdx.x == 0) {
    pixels.init();
    weights.init();
  }
  __syncthreads();

  const unsigned channel_tiles = (g.channels + Tile::channels - 1) / Tile::channels;
  const unsigned tiles = channel_tiles * (g.pixels / (g.rows * g.columns)) * r.down * r.across;
  const unsigned warp = threadIdx.x / 32, taps_per_box = g.taps / r.boxes;

  if (warp == 4 * warpgroups) {  // fills
    if (threadIdx.x % 32 != 0) return;
    prefetch_map(&image_map);
    prefetch_map(&weight_map);
    const unsigned bytes = r.box_h * r.box_w * 128;
    for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const unsigned channel = tile % channel_tiles * Tile::channels, at = tile / channel_tiles, row = at / r.across, n = row / r.down;
      const int h = static_cast<int>((row - n * r.down) * r.tile_h) + g.low_h;
      const int w = static_cast<int>((at - row * r.across) * r.tile_w) + g.low_w;
      for (unsigned c = 0; c < g.chunks; ++c)
        for (unsigned b = 0; b < r.boxes; ++b) {
          const int k = static_cast<int>(c) * Tile::chunk;
          const Address filled = pixels.begin_fill(bytes);
          copy_box(boxes + pixels.stage * Tile::box_bytes, &image_map, filled, k, w + g.tap_w[b], h, static_cast<int>(n));
          pixels.advance();
          for (unsigned i = 0; i < taps_per_box; ++i) {
            const Address barrier = weights.begin_fill(Tile::weight_bytes), to = buffers + weights.stage * Tile::weight_bytes;
            copy_weights<warpgroups, transposed>(to, &weight_map, barrier, channel, g.tap[i * r.boxes + b], k);
            weights.advance();
          }
        }
    }
    return;
  }

  const unsigned group = warp / 4;  // multiplies
  float d[Tile::pixels / 2] = {};
  for (unsigned tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    unsigned previous_box = 0, previous = 0;
    bool first = true;
    for (unsigned box = 0; box < g.chunks * r.boxes; ++box) {
      const Address from = boxes + pixels.stage * Tile::box_bytes;
      pixels.wait_full();
      for (unsigned i = 0; i < taps_per_box; ++i) {
        const unsigned t = i * r.boxes, row = g.tap_h[t] * r.box_w + (r.boxes == 1 ? g.tap_w[t] : 0);
        weights.wait_full();
        multiply_chunk<T, transposed>(d, buffers + weights.stage * Tile::weight_bytes + group * 8192, from + row * 128, r.group_bytes(),
                                      !first);
        wgmma_wait<1>();
        if (!first) weights.release(previous);  // its products are done, these are under way
        if (!first && i == 0) pixels.release(previous_box);
        first = false;
        previous = weights.stage;
        weights.advance();
      }
      previous_box = pixels.stage;
      pixels.advance();
    }
    wgmma_wait<0>();
    weights.release(previous);
    pixels.release(previous_box);
    settle(d);

    const unsigned at = tile / channel_tiles, row = at / r.across, n = row / r.down;
    const auto place = [&, i0 = (row - n * r.down) * r.tile_h, j0 = (at - row * r.across) * r.tile_w](unsigned q) {
      const unsigned i = q >> r.log_w, j = j0 + (q & (r.tile_w - 1));
      return i0 + i < g.rows && j < g.columns ? g.place(n, i0 + i, j) : -1;
    };
    finish<typename Tile::Strip>(d, bias, strips + group * Tile::Strip::bytes, tile % channel_tiles * Tile::channels + group * 64,
                                 g.channels, place, y);
  }
#endif
}

}  // namespace segnet::cuda::sm90
