#include "conv2d_wgmma.cuh"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "conv2d_wgmma_gather.cuh"
#include "conv2d_wgmma_weight.cuh"

namespace segnet::cuda {

namespace sm90 {
namespace {

using kernels::ConvGeometry;

/// The driver's functions that describe tensors to TMA; they are looked up, so that nothing links to the driver.
template <class F>
F* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  SEGNET_CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
#else
  SEGNET_CUDA_CHECK(cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found));
#endif
  if (found != cudaDriverEntryPointSuccess) check(cudaErrorInsufficientDriver, name, __FILE__, __LINE__);
  return reinterpret_cast<F*>(function);
}
void check_map(CUresult result, const char* call, int line) {
  if (result != CUDA_SUCCESS) check(cudaErrorInvalidValue, call, __FILE__, line);
}

template <class T>
constexpr CUtensorMapDataType element = std::is_same_v<T, float> ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
template <class T>
constexpr unsigned chunk = 128 / sizeof(T);

/// Boxes of box[0] x ... x box[rank - 1] elements of a dense tensor of those sizes, fastest first.
template <class T, std::size_t rank>
CUtensorMap box_map(const T* data, const index_t (&sizes)[rank], const unsigned (&box)[rank]) {
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  cuuint64_t size[rank], stride[rank];
  cuuint32_t step[rank];
  for (std::size_t i = 0; i < rank; ++i) {
    size[i] = static_cast<cuuint64_t>(sizes[i]);
    stride[i] = size[i] * (i == 0 ? sizeof(T) : stride[i - 1]);
    step[i] = 1;
  }
  CUtensorMap map;
  check_map(encode(&map, element<T>, rank, const_cast<T*>(data), size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                   CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
            "cuTensorMapEncodeTiled", __LINE__);
  return map;
}

/// The images that a gathering reads: [N, H, W, C].
struct Images {
  index_t N, H, W, C;
};

/// Runs of `pixels` pixels of a chunk of channels, starting at places low + i * stride for i < rows, j < columns: what a tap at
/// offset 0 reads. The box of places that TMA walks ends with the last of them; `high` is relative to the last pixel.
template <class T>
CUtensorMap pixel_map(const T* data, const Images& x, const Gathering& g, unsigned pixels) {
  static auto* const encode = driver_function<decltype(cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const cuuint64_t size[] = {static_cast<cuuint64_t>(x.C), static_cast<cuuint64_t>(x.W), static_cast<cuuint64_t>(x.H),
                             static_cast<cuuint64_t>(x.N)};
  const cuuint64_t row = size[0] * sizeof(T), stride[] = {row, row * size[1], row * size[1] * size[2]};
  const cuuint32_t step[] = {1, static_cast<cuuint32_t>(g.stride_w), static_cast<cuuint32_t>(g.stride_h), 1};
  const int low[] = {g.low_w, g.low_h}, high[] = {g.high_w, g.high_h};
  CUtensorMap map;
  check_map(
      encode(&map, element<T>, 4, const_cast<T*>(data), size, stride, low, high, chunk<T>, pixels, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeIm2col", __LINE__);
  return map;
}

/// One dimension of a gathering: result place i < count reads image places low + i * stride + offset of each tap.
struct Axis {
  index_t count = 0, low = 0, stride = 1;
  std::vector<std::pair<index_t, index_t>> taps;  // index in the kernel, offset >= 0

  [[nodiscard]] index_t high(index_t size) const { return low + (count - 1) * stride - (size - 1); }
  /// Whether TMA can walk it over an image of that size: 8-bit corners and offsets, strides of at most 8.
  [[nodiscard]] bool fits(index_t size) const {
    const auto corner = [](index_t v) { return v >= -128 && v <= 127; };
    if (taps.empty() || stride > 8 || !corner(low) || !corner(high(size))) return false;
    return std::all_of(taps.begin(), taps.end(), [](const auto& t) { return t.second <= 255; });
  }
};
Axis forward_axis(index_t count, index_t kernel, index_t stride, index_t padding, index_t dilation) {
  Axis a{count, -padding, stride, {}};
  for (index_t k = 0; k < kernel; ++k) a.taps.emplace_back(k, k * dilation);
  return a;
}
/// Of grad_input: the input places phase, phase + stride, ..., which some taps reach. Place phase + i * stride is read by output
/// place i + (phase + padding - k * dilation) / stride where that is whole.
Axis backward_axis(index_t size, index_t kernel, index_t stride, index_t padding, index_t dilation, index_t phase) {
  Axis a{(size - phase + stride - 1) / stride, 0, 1, {}};
  for (index_t k = kernel - 1; k >= 0; --k)
    if (const index_t t = phase + padding - k * dilation; t % stride == 0) {
      if (a.taps.empty()) a.low = t / stride;  // the last tap reads first
      a.taps.emplace_back(k, t / stride - a.low);
    }
  return a;
}

Gathering gathering(index_t N, const Axis& h, const Axis& w, index_t kernel_w, const Images& image, index_t channels, unsigned chunk) {
  const auto narrow = [](index_t v) { return static_cast<int>(v); };
  Gathering g{};
  g.rows = static_cast<unsigned>(h.count);
  g.columns = static_cast<unsigned>(w.count);
  g.pixels = static_cast<unsigned>(N * h.count * w.count);
  g.channels = static_cast<unsigned>(channels);
  g.chunks = static_cast<unsigned>((image.C + chunk - 1) / chunk);
  g.low_h = narrow(h.low), g.low_w = narrow(w.low), g.stride_h = narrow(h.stride), g.stride_w = narrow(w.stride);
  g.high_h = narrow(h.high(image.H)), g.high_w = narrow(w.high(image.W));
  g.taps_h = static_cast<unsigned>(h.taps.size());
  g.taps_w = static_cast<unsigned>(w.taps.size());
  for (const auto& [ki, dh] : h.taps)
    for (const auto& [kj, dw] : w.taps) {
      g.tap[g.taps] = static_cast<std::uint8_t>(ki * kernel_w + kj);
      g.tap_h[g.taps] = static_cast<std::uint8_t>(dh);
      g.tap_w[g.taps++] = static_cast<std::uint8_t>(dw);
    }
  return g;
}

/// Elements from one result image, row, pixel to the next.
void place_result(Gathering& g, index_t image, index_t row, index_t pixel) {
  g.step_n = image, g.step_i = row, g.step_j = pixel;
  g.dense = pixel == g.channels && row == pixel * g.columns && image == row * g.rows;
}

Axis forward_rows(const ConvGeometry& g) { return forward_axis(g.OH, g.kh, g.stride.h, g.padding.h, g.dilation.h); }
Axis forward_columns(const ConvGeometry& g) { return forward_axis(g.OW, g.kw, g.stride.w, g.padding.w, g.dilation.w); }

/// w is [outputs, taps, inputs] in memory; its rows are chunks of k for all channels of a tile, or of 64 channels for a chunk of k.
template <class T, int warpgroups, bool transposed>
CUtensorMap weight_map(const T* w, index_t inputs, index_t taps, index_t outputs) {
  return transposed ? box_map<T, 3>(w, {inputs, taps, outputs}, {64, 1, 64})
                    : box_map<T, 3>(w, {inputs, taps, outputs}, {chunk<T>, 1, 64 * warpgroups});
}

template <class T, int warpgroups, int pixels, int stages, bool transposed>
void launch_gather(const Gathering& g, const Images& images, const T* image, const T* w, index_t inputs, index_t taps, index_t outputs,
                   const T* bias, T* y) {
  using Tile = GatherTile<T, warpgroups, pixels, stages>;
  const index_t tiles = (static_cast<index_t>(g.pixels) + pixels - 1) / pixels * ((g.channels + Tile::channels - 1) / Tile::channels);
  const index_t grid = std::min<index_t>(tiles, multiprocessors() * Tile::blocks_per_sm);
  launch(gather_kernel<T, warpgroups, pixels, stages, transposed>, static_cast<unsigned>(grid), Tile::threads, Tile::shared,
         pixel_map(image, images, g, pixels), weight_map<T, warpgroups, transposed>(w, inputs, taps, outputs), g, bias, y);
}

/// The rectangles for a gathering, if its taps can share boxes and few pixels of the tiles are outside of the images.
std::optional<Rectangles> rectangles_of(const Gathering& g, bool one_box_for_all) {
  std::optional<Rectangles> best;
  if (g.taps < 2 || g.stride_h != 1 || g.stride_w != 1) return best;
  const unsigned reach_h = g.tap_h[g.taps - 1], reach_w = g.tap_w[g.taps - 1];
  double least = 1.25 * g.pixels;
  for (unsigned log_w = one_box_for_all ? 3 : 5; log_w >= 3; --log_w) {
    const unsigned w = 1u << log_w, h = 256 / w;
    const Rectangles r{h,
                       w,
                       log_w,
                       (g.rows + h - 1) / h,
                       (g.columns + w - 1) / w,
                       h + reach_h,
                       one_box_for_all ? w + reach_w : w,
                       one_box_for_all ? 1 : g.taps_w};
    const double covered = static_cast<double>(g.pixels / (g.rows * g.columns)) * r.down * r.across * 256;
    if (r.boxes == g.taps || r.box_h * r.box_w > Rectangles::most_rows || r.box_h > 256 || covered > least) continue;
    if (best && covered == least && r.box_h * w > best->box_h * best->tile_w) continue;
    best = r;
    least = covered;
  }
  return best;
}

template <class T, int warpgroups, bool transposed>
void launch_rectangles(const Gathering& g, const Rectangles& r, const Images& images, const T* image, const T* w, index_t inputs,
                       index_t taps, index_t outputs, const T* bias, T* y) {
  using Tile = RectangleTile<T, warpgroups>;
  const index_t tiles =
      static_cast<index_t>(g.pixels / (g.rows * g.columns)) * r.down * r.across * ((g.channels + Tile::channels - 1) / Tile::channels);
  launch(rectangle_kernel<T, warpgroups, transposed>,
         static_cast<unsigned>(std::min<index_t>(tiles, multiprocessors() * Tile::blocks_per_sm)), Tile::threads, Tile::shared,
         box_map<T, 4>(image, {images.C, images.W, images.H, images.N}, {chunk<T>, r.box_w, r.box_h, 1}),
         weight_map<T, warpgroups, transposed>(w, inputs, taps, outputs), g, r, bias, y);
}

/// Chooses tiles: 64 or 128 channels, and the shape of pixels that leaves few multiprocessors idle in the last round and copies little.
/// Costs are in pixels, weighted by what was measured on an H200.
template <bool transposed, class T>
void gather(const Gathering& g, const Images& images, const T* image, const T* w, index_t inputs, index_t taps, index_t outputs,
            const T* bias, T* y, WgmmaTiles wish) {
  if (g.pixels == 0) return;
  const bool narrow = g.channels <= 64;
  const auto cost = [&](index_t pixel_tiles, index_t pixels, double per_pixel) {
    const index_t tiles = pixel_tiles * (narrow ? 1 : (g.channels + 127) / 128), slots = multiprocessors() * (narrow ? 2 : 1);
    return static_cast<double>((tiles + slots - 1) / slots * pixels) * per_pixel;
  };
  const auto run_cost = [&](index_t pixels, double per_pixel) { return cost((g.pixels + pixels - 1) / pixels, pixels, per_pixel); };
  const double c192 = run_cost(192, 1.1), c128 = run_cost(128, 1.1), runs = std::min(c192, c128);

  std::optional<Rectangles> rectangles;
  double least = runs;
  for (const bool one_box_for_all : {true, false})
    if (const auto r = rectangles_of(g, one_box_for_all); r && wish != WgmmaTiles::runs) {
      const double c = cost(static_cast<index_t>(g.pixels / (g.rows * g.columns)) * r->down * r->across, 256, one_box_for_all ? 0.97 : 1.0);
      if (wish == (one_box_for_all ? WgmmaTiles::boxes : WgmmaTiles::columns)) least = 0;
      else if (c >= least) continue;
      else least = c;
      rectangles = r;
    }
  const auto run = [&](auto launch_it) { launch_it(g, images, image, w, inputs, taps, outputs, bias, y); };
  if (rectangles) {
    if (narrow) launch_rectangles<T, 1, transposed>(g, *rectangles, images, image, w, inputs, taps, outputs, bias, y);
    else launch_rectangles<T, 2, transposed>(g, *rectangles, images, image, w, inputs, taps, outputs, bias, y);
  } else if (narrow) {
    if (c192 == runs) run(launch_gather<T, 1, 192, 3, transposed>);
    else run(launch_gather<T, 1, 128, 4, transposed>);
  } else {
    if (c192 == runs) run(launch_gather<T, 2, 192, 5, transposed>);
    else run(launch_gather<T, 2, 128, 6, transposed>);
  }
}

/// to [columns, taps, rows] from [rows, taps, columns], in squares of 32 x 32 of one tap.
template <class T>
__global__ void __launch_bounds__(256) swap_ends_kernel(const T* from, T* to, unsigned rows, unsigned taps, unsigned columns) {
  __shared__ T square[32][33];
  const unsigned across = (columns + 31) / 32, tap = blockIdx.x % taps, c0 = blockIdx.x / taps % across * 32,
                 r0 = blockIdx.x / taps / across * 32, x = threadIdx.x % 32;
  for (unsigned y = threadIdx.x / 32; y < 32; y += 8)
    if (r0 + y < rows && c0 + x < columns) square[y][x] = from[(static_cast<index_t>(r0 + y) * taps + tap) * columns + c0 + x];
  __syncthreads();
  for (unsigned y = threadIdx.x / 32; y < 32; y += 8)
    if (c0 + y < columns && r0 + x < rows) to[(static_cast<index_t>(c0 + y) * taps + tap) * rows + r0 + x] = square[x][y];
}

/// Splits the steps of a gradient so that `slots` blocks at a time have equal work, and joins what they sum up. A tile's step takes
/// `cycles`. run(g, partial) launches the kernel.
template <class Run>
void split_weight_gradient(WeightGradient g, index_t tiles, index_t slots, index_t steps, int cycles, bfloat16* dw, const Run& run) {
  const index_t size = static_cast<index_t>(g.channels) * g.taps * g.inputs;
  // A round of blocks multiplies, and starts and ends in 4000 cycles or so; partial sums are written and read at 1800 bytes a cycle.
  const auto cost = [&](index_t splits) {
    const index_t rounds = (tiles * splits + slots - 1) / slots, per_split = (steps + splits - 1) / splits;
    return static_cast<double>(rounds * (per_split * cycles + 4000)) + static_cast<double>(splits * size) * 8 / 1800;
  };
  index_t splits = 1;
  for (index_t s = 2; s <= std::min<index_t>(steps, 2 * slots); ++s)
    if (cost(s) < cost(splits)) splits = s;
  g.steps_per_split = static_cast<unsigned>((steps + splits - 1) / splits);
  g.splits = static_cast<unsigned>((steps + g.steps_per_split - 1) / g.steps_per_split);  // none is empty
  const Scratch<float> partial(size * g.splits);
  run(g, static_cast<unsigned>(std::min<index_t>(tiles * g.splits, slots)), partial.data());
  for_each(size, JoinSplits<bfloat16>{dw, partial.data(), size, static_cast<index_t>(g.splits)});
}

template <int warpgroups, int blocks, int stages>
void launch_weight_gradient(const WeightGradient& g, const Gathering& places, const Images& images, const bfloat16* dy, const bfloat16* x,
                            bfloat16* dw) {
  using Tile = WeightTile<warpgroups, blocks, stages>;
  const index_t tiles = (g.taps * g.chunks + blocks - 1) / blocks * ((g.channels + Tile::channels - 1) / Tile::channels);
  const auto dy_map = box_map<bfloat16, 2>(dy, {static_cast<index_t>(g.channels), static_cast<index_t>(g.pixels)}, {64, 64});
  const auto x_map = pixel_map(x, images, places, 64);
  split_weight_gradient(g, tiles, multiprocessors() * Tile::blocks_per_sm, (static_cast<index_t>(g.pixels) + 63) / 64, blocks * 256, dw,
                        [&](const WeightGradient& split, unsigned grid, float* partial) {
                          launch(weight_gradient_kernel<warpgroups, blocks, stages>, grid, Tile::threads, Tile::shared, dy_map, x_map,
                                 split, partial);
                        });
}
inline bool squares_take(const Gathering& g) {
  return g.taps_h == 3 && g.taps_w == 3 && g.stride_h == 1 && g.stride_w == 1 && g.tap_h[3] <= WeightSquares::most_step;
}
void launch_weight_squares(const WeightGradient& g, const Gathering& places, const Images& images, const bfloat16* dy, const bfloat16* x,
                           bfloat16* dw) {
  using Tile = WeightSquareTile;
  const WeightSquares r{(g.rows + 7) / 8, (g.columns + 7) / 8, places.tap_h[3]};
  const auto dy_map = box_map<bfloat16, 4>(
      dy, {static_cast<index_t>(g.channels), static_cast<index_t>(g.columns), static_cast<index_t>(g.rows), images.N}, {64, 8, 8, 1});
  const auto x_map = box_map<bfloat16, 4>(x, {images.C, images.W, images.H, images.N}, {64, 8, 8 + 2 * r.step_h, 1});
  split_weight_gradient(g, (static_cast<index_t>(g.channels) + 63) / 64 * g.chunks, multiprocessors(), images.N * r.down * r.across, 1152,
                        dw, [&](const WeightGradient& split, unsigned grid, float* partial) {
                          launch(weight_square_kernel, grid, Tile::threads, Tile::shared, dy_map, x_map, split, r, partial);
                        });
}
WeightGradient weight_gradient(const Gathering& places, index_t inputs) {
  WeightGradient p{};
  p.pixels = places.pixels, p.rows = places.rows, p.columns = places.columns;
  p.channels = places.channels, p.inputs = static_cast<unsigned>(inputs), p.chunks = places.chunks, p.taps = places.taps;
  p.low_h = places.low_h, p.low_w = places.low_w, p.stride_h = places.stride_h, p.stride_w = places.stride_w;
  std::copy_n(places.tap_h, places.taps, p.tap_h);
  std::copy_n(places.tap_w, places.taps, p.tap_w);
  return p;
}

/// Whether tiles that hold multiples of `unit` are filled to half at least.
bool fills(index_t n, index_t unit) { return n * 2 >= (n + unit - 1) / unit * unit; }

}  // namespace
}  // namespace sm90

template <class T>
bool wgmma_takes(const kernels::ConvGeometry& g, ConvPass pass) {
  using namespace sm90;
  constexpr index_t unit = 16 / sizeof(T), most = index_t{1} << 31;
  if (g.groups != 1 || g.C % unit || g.O % unit || g.taps() > sm90::most_taps) return false;
  if (g.N * g.H * g.W >= most || g.N * g.OH * g.OW >= most || g.N * g.OH * g.OW == 0 || device_info().compute_capability != 90)
    return false;
  // TMA walks small tensors wrongly in some drivers.
  const index_t pixels = pass == ConvPass::grad_input ? g.N * g.OH * g.OW * g.O : g.N * g.H * g.W * g.C;
  if (pixels * static_cast<index_t>(sizeof(T)) < 131072) return false;
  switch (pass) {
    case ConvPass::forward:
      return fills(g.O, 64) && fills(g.C, chunk<T>) && forward_rows(g).fits(g.H) && forward_columns(g).fits(g.W);
    case ConvPass::grad_weight:
      return std::is_same_v<T, bfloat16> && fills(g.O, 64) && fills(g.C, 64) && forward_rows(g).fits(g.H) && forward_columns(g).fits(g.W);
    case ConvPass::grad_input:
      if (!fills(g.C, 64) || !fills(g.O, chunk<T>) || g.H < g.stride.h || g.W < g.stride.w) return false;
      for (index_t p = 0; p < g.stride.h; ++p)
        if (!backward_axis(g.H, g.kh, g.stride.h, g.padding.h, g.dilation.h, p).fits(g.OH)) return false;
      for (index_t p = 0; p < g.stride.w; ++p)
        if (!backward_axis(g.W, g.kw, g.stride.w, g.padding.w, g.dilation.w, p).fits(g.OW)) return false;
      return true;
  }
  return false;
}

template <class T>
void wgmma_forward(const kernels::ConvGeometry& g, const T* x, const T* w, const T* bias, T* y, WgmmaTiles tiles) {
  using namespace sm90;
  const Images images{g.N, g.H, g.W, g.C};
  Gathering gather_y = gathering(g.N, forward_rows(g), forward_columns(g), g.kw, images, g.O, chunk<T>);
  place_result(gather_y, g.OH * g.OW * g.O, g.OW * g.O, g.O);
  gather<false>(gather_y, images, x, w, g.C, g.taps(), g.O, bias, y, tiles);
}

template <class T>
void wgmma_grad_input(const kernels::ConvGeometry& g, const T* dy, const T* w, const T* bias, T* dx, WgmmaTiles tiles) {
  using namespace sm90;
  constexpr bool transposed = std::is_same_v<T, bfloat16>;  // wgmma can read the weights as they are; of float it cannot
  const Images images{g.N, g.OH, g.OW, g.O};
  const Scratch<T> swapped(transposed ? 0 : g.O * g.taps() * g.C);
  if constexpr (!transposed)
    launch(swap_ends_kernel<T>, static_cast<unsigned>((g.O + 31) / 32 * ((g.C + 31) / 32) * g.taps()), 256, 0, w, swapped.data(), g.O,
           g.taps(), g.C);
  for (index_t ph = 0; ph < g.stride.h; ++ph)
    for (index_t pw = 0; pw < g.stride.w; ++pw) {
      const Axis h = backward_axis(g.H, g.kh, g.stride.h, g.padding.h, g.dilation.h, ph);
      const Axis v = backward_axis(g.W, g.kw, g.stride.w, g.padding.w, g.dilation.w, pw);
      Gathering gather_dx = gathering(g.N, h, v, g.kw, images, g.C, chunk<T>);
      place_result(gather_dx, g.H * g.W * g.C, g.stride.h * g.W * g.C, g.stride.w * g.C);
      T* const to = dx + (ph * g.W + pw) * g.C;
      if constexpr (transposed) gather<true>(gather_dx, images, dy, w, g.C, g.taps(), g.O, bias, to, tiles);
      else gather<false>(gather_dx, images, dy, swapped.data(), g.O, g.taps(), g.C, bias, to, tiles);
    }
}

template <class T>
void wgmma_grad_weight(const kernels::ConvGeometry& g, const T* dy, const T* x, T* dw) {
  using namespace sm90;
  if constexpr (std::is_same_v<T, bfloat16>) {
    const Images images{g.N, g.H, g.W, g.C};
    const Gathering places = gathering(g.N, forward_rows(g), forward_columns(g), g.kw, images, g.O, 64);
    const WeightGradient p = weight_gradient(places, g.C);
    if (squares_take(places)) return launch_weight_squares(p, places, images, dy, x, dw);
    const unsigned blocks = p.taps * p.chunks;
    const bool thirds = (blocks + 2) / 3 * 3 <= (blocks + 3) / 4 * 4;
    if (g.O <= 64) {
      if (thirds) launch_weight_gradient<1, 3, 3>(p, places, images, dy, x, dw);
      else launch_weight_gradient<1, 4, 2>(p, places, images, dy, x, dw);
    } else {
      if (thirds) launch_weight_gradient<2, 3, 5>(p, places, images, dy, x, dw);
      else launch_weight_gradient<2, 4, 4>(p, places, images, dy, x, dw);
    }
  } else {
    throw NotImplemented("conv2d", "grad_weight by wgmma for float");
  }
}

#define SEGNET_INSTANTIATE(T)                                                                                 \
  template bool wgmma_takes<T>(const kernels::ConvGeometry&, ConvPass);                                       \
  template void wgmma_forward(const kernels::ConvGeometry&, const T*, const T*, const T*, T*, WgmmaTiles);    \
  template void wgmma_grad_input(const kernels::ConvGeometry&, const T*, const T*, const T*, T*, WgmmaTiles); \
  template void wgmma_grad_weight(const kernels::ConvGeometry&, const T*, const T*, T*);
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(float)

}  // namespace segnet::cuda
