// How kernels over pixels and their channels share out the work: a thread keeps to one pack of channels and walks over pixels, so that
// what belongs to a channel (factors, sums) stays in its registers, and no pixel waits for an integer division.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "launch.cuh"

namespace segnet::cuda {

inline constexpr int tile_threads = 256;

/// Channels cut into tiles of `width` packs (along gridDim.y), which a block takes for `lines` pixels at a time. Neighbouring threads
/// have neighbouring packs: all of a pixel's, then the next pixel's, or 32 of them (512 bytes) where a pixel has many.
struct ChannelTiles {
  int width = 1, lines = 1;
  unsigned tiles = 0;

  ChannelTiles() = default;
  explicit ChannelTiles(index_t packs)
      : width(static_cast<int>(packs < 1                    ? 1
                               : packs <= 64                ? packs
                               : packs < (index_t{1} << 20) ? 32
                                                            : tile_threads)),  // tiles < 65,536
        lines(tile_threads / width),
        tiles(static_cast<unsigned>((packs + width - 1) / width)) {}

  /// This thread's line; `lines` or more where it has none.
  __device__ int line() const { return static_cast<int>(threadIdx.x) / width; }
  /// The first of its V channels; C or more where it has none.
  template <int V>
  __device__ index_t channel() const {
    return (static_cast<index_t>(blockIdx.y) * width + static_cast<int>(threadIdx.x) % width) * V;
  }
};

/// f(integral_constant<int, V>) for packs of V channels: 16 bytes of T, or single elements where C or an address does not allow that.
template <class T, class F>
void with_packs(index_t C, std::initializer_list<const void*> pointers, const F& f) {
  bool wide = C % Pack<T>::size == 0;
  for (const void* p : pointers) wide = wide && aligned16(p);
  if (wide) f(std::integral_constant<int, Pack<T>::size>{});
  else f(std::integral_constant<int, 1>{});
}

/// V elements at p as numbers to compute with.
template <int V, class T>
__device__ void load_as(const T* p, Master<T> (&to)[V]) {
  const auto pack = Pack<T, V>::load(p);
#pragma unroll
  for (int i = 0; i < V; ++i) to[i] = static_cast<Master<T>>(pack.values[i]);
}
template <int V, class T>
__device__ void store_as(T* p, const Master<T> (&from)[V]) {
  if constexpr (std::is_same_v<T, bfloat16> && V > 1) {  // two at once, as the device rounds them
    Pack<__nv_bfloat162, V / 2> pack;
#pragma unroll
    for (int i = 0; i < V; i += 2) pack.values[i / 2] = __floats2bfloat162_rn(from[i], from[i + 1]);
    pack.store(reinterpret_cast<__nv_bfloat162*>(p));
  } else {
    Pack<T, V> pack;
#pragma unroll
    for (int i = 0; i < V; ++i) pack.values[i] = static_cast<T>(from[i]);
    pack.store(p);
  }
}

/// use(r, load(r)) for r = first, first + step, ... before end, four loads under way at a time.
template <class Load, class Use>
__device__ void each_row(index_t first, index_t step, index_t end, const Load& load, const Use& use) {
  index_t r = first;
  for (; r + 3 * step < end; r += 4 * step) {
    const decltype(load(r)) values[4] = {load(r), load(r + step), load(r + 2 * step), load(r + 3 * step)};
#pragma unroll
    for (int k = 0; k < 4; ++k) use(r + k * step, values[k]);
  }
  for (; r < end; r += step) use(r, load(r));
}

/// Images [N, H, W, C] of which a kernel computes every pack of channels by itself. A block takes a stretch of a row of pixels.
struct PixelTiles {
  ChannelTiles tile;
  index_t H, W, C, stretch, stretches;
  dim3 grid;

  PixelTiles(index_t N, index_t rows, index_t columns, index_t channels, int pack)
      : tile(channels / pack), H(rows), W(columns), C(channels), stretch(4 * tile.lines) {
    const index_t enough = 8 * static_cast<index_t>(multiprocessors());
    if (N * H * ((W + stretch - 1) / stretch) * tile.tiles < enough) stretch = tile.lines;
    stretches = (W + stretch - 1) / stretch;
    grid = {static_cast<unsigned>(N * H * stretches), tile.tiles};
  }
};
template <int V, class F>
__global__ void __launch_bounds__(tile_threads) for_pixels_kernel(F f, PixelTiles cut) {
  const index_t c = cut.tile.channel<V>();
  if (cut.tile.line() >= cut.tile.lines || c >= cut.C) return;
  const index_t row = blockIdx.x / cut.stretches, n = row / cut.H, h = row % cut.H, begin = blockIdx.x % cut.stretches * cut.stretch;
  const index_t end = begin + cut.stretch < cut.W ? begin + cut.stretch : cut.W;
  for (index_t w = begin + cut.tile.line(); w < end; w += cut.tile.lines) f(n, h, w, c);
}
/// f(n, h, w, c) for every pixel and the first channel of every pack of V.
template <int V, class F>
void for_pixels(index_t N, index_t H, index_t W, index_t C, const F& f) {
  const PixelTiles cut(N, H, W, C, V);
  launch(for_pixels_kernel<V, F>, cut.grid, tile_threads, 0, f, cut);
}

/// Sums over the lines of a block, in the threads of line 0: a tree, so always in the same order. Every thread of the block calls it.
template <int N, class T>
__device__ void sum_over_lines(const ChannelTiles& tile, T (&values)[N]) {
  __shared__ T shared[N][tile_threads];
  const int t = static_cast<int>(threadIdx.x), line = tile.line();
#pragma unroll
  for (int i = 0; i < N; ++i) shared[i][t] = values[i];
  for (int step = 1; step < tile.lines; step *= 2) {
    __syncthreads();
    if (line % (2 * step) == 0 && line + step < tile.lines)
#pragma unroll
      for (int i = 0; i < N; ++i) shared[i][t] += shared[i][t + step * tile.width];
  }
  if (line == 0)  // each of these wrote its own sum
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = shared[i][t];
}

/// [sets, P, C] cut into chunks of `rows` rows of one set: blockIdx.x counts set by set, chunk by chunk.
struct RowChunks {
  ChannelTiles tile;
  index_t P, C, rows, chunks;
  index_t blocks;

  /// About `per_multiprocessor` blocks on each multiprocessor, none for less than a few rows to a thread.
  RowChunks(index_t sets, index_t pixels, index_t channels, int pack, int per_multiprocessor)
      : tile(channels / pack), P(pixels), C(channels) {
    const index_t fixed = std::max<index_t>(1, sets * tile.tiles);
    const index_t wanted = (static_cast<index_t>(multiprocessors()) * per_multiprocessor + fixed - 1) / fixed;
    const index_t step = 4 * tile.lines;  // whole steps of each_row
    rows = std::max<index_t>((P + wanted * step - 1) / (wanted * step), 1) * step;
    chunks = (P + rows - 1) / rows;
    blocks = sets * chunks;
  }
  [[nodiscard]] dim3 grid() const { return {static_cast<unsigned>(blocks), tile.tiles}; }

  __device__ index_t set(index_t block) const { return block / chunks; }
  __device__ index_t first(index_t block) const { return block % chunks * rows; }
  __device__ index_t count(index_t block) const {
    const index_t left = P - first(block);
    return left < rows ? left : rows;
  }
};

/// totals[s, i] = sum over the chunks of set s of partial[chunk, i], i < n, in double. A block of 32 x 32 threads takes 32 numbers, and a
/// thread every 32nd chunk: a fixed order again.
template <class T>
__global__ void __launch_bounds__(1024) add_chunks_kernel(index_t chunks, index_t n, const T* partial, double* totals) {
  __shared__ double shared[32][33];
  const int x = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const index_t blocks = (n + 31) / 32, s = blockIdx.x / blocks, i = blockIdx.x % blocks * 32 + x;
  double sum = 0;
  if (i < n)
#pragma unroll 4
    for (index_t chunk = lane; chunk < chunks; chunk += 32) sum += static_cast<double>(partial[(s * chunks + chunk) * n + i]);
  shared[lane][x] = sum;
  __syncthreads();
  sum = warp_reduce(shared[x][lane], Plus{});  // turned over: a warp has the 32 sums of one number
  const index_t mine = blockIdx.x % blocks * 32 + lane;
  if (x == 0 && mine < n) totals[s * n + mine] = sum;
}
template <class T>
void add_chunks(index_t sets, index_t chunks, index_t n, const T* partial, double* totals) {
  launch(add_chunks_kernel<T>, static_cast<unsigned>(sets * ((n + 31) / 32)), dim3(32, 32), 0, chunks, n, partial, totals);
}

}  // namespace segnet::cuda
