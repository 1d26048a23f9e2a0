#include "conv2d_implicit_gemm_weight.cuh"

#include "conv2d_implicit_gemm.cuh"
#include "conv2d_implicit_gemm_operands.cuh"

namespace segnet::cuda {

namespace {

template <class T, Precision precision>
using Large = std::conditional_t<std::is_same_v<T, bfloat16>, GemmTile<128, 128, 64, 64, 4, 2>,
                                 GemmTile<128, 128, 64, 32, 4, precision == Precision::full ? 1 : 2>>;
using Wide = GemmTile<64, 128, 32, 64, 4, 2>;
using Small = GemmTile<64, 64, 32, 32, 4, 3>;

/// In how many ranges of pixels to cut the sum, and the seconds that this may take. The same on every device: an H200's
/// multiprocessors and rates decide, so that sums do not depend on where they are computed.
struct Cut {
  index_t splits;
  double seconds;
};
template <class T, class Tile>
Cut best_cut(const WeightProblem<T>& p, Precision precision, double efficiency) {
  constexpr index_t processors = 132, depth = weight_step_pixels<T>;
  const double rate = std::is_same_v<T, bfloat16> ? 500e12 : precision == Precision::tf32 ? 220e12 : 75e12, bandwidth = 2.5e12;
  const index_t row_tiles = (p.outputs + Tile::rows - 1) / Tile::rows, column_tiles = (p.inputs + Tile::columns - 1) / Tile::columns;
  const index_t tiles = row_tiles * column_tiles * p.groups;
  // Long sums lose digits, most by what tensor cores cut off, but to rounding, too: after 2^14 pixels, floats are about 1e-6 of the
  // largest sum off, after 2^16 twice as much. A range is some steps long, or starting it costs more.
  const index_t longest = precision == Precision::full && !std::is_same_v<T, bfloat16> ? 1 << 14 : 1 << 16;
  const index_t least = (p.pixels + longest - 1) / longest, most = std::max(least, (p.pixels + 8 * depth - 1) / (8 * depth));
  const double partial_bytes = 8.0 * p.groups * p.outputs * p.inputs;
  Cut best{least, 1e30};
  for (index_t splits = std::max<index_t>(least, 1); splits <= std::min(most, least + 8 * processors / tiles + 1); ++splits) {
    const index_t each = (tiles * splits + processors - 1) / processors, pixels = (p.pixels + splits - 1) / splits;
    const double products = static_cast<double>(each) * Tile::rows * Tile::columns * static_cast<double>(pixels + 3 * depth);
    const double seconds =
        2 * processors * products / (rate * efficiency) + static_cast<double>(splits) * (partial_bytes / bandwidth + 2e-8);
    if (seconds < best.seconds) best = {splits, seconds};
  }
  return best;
}

template <class Tile, Precision precision, class T>
void start(WeightProblem<T> p, index_t splits, T* dw, index_t taps, index_t channels) {
  constexpr index_t depth = weight_step_pixels<T>;
  p.split_pixels = static_cast<int>(splits > 0 ? ((p.pixels + splits - 1) / splits + depth - 1) / depth * depth : depth);
  p.splits = (p.pixels + p.split_pixels - 1) / p.split_pixels;
  p.row_tiles = (p.outputs + Tile::rows - 1) / Tile::rows;
  p.column_tiles = (p.inputs + Tile::columns - 1) / Tile::columns;
  const index_t size = static_cast<index_t>(p.groups) * p.outputs * p.inputs;
  const Scratch<float> partial(p.splits * size);
  p.partial = partial.data();
  const index_t blocks = static_cast<index_t>(p.row_tiles) * p.column_tiles * p.splits * p.groups;
  launch(weight_gemm<T, Tile, precision>, static_cast<unsigned>(blocks), Tile::threads, weight_shared_bytes<T, Tile>, p);
  for_each(p.groups * p.outputs * taps * channels, JoinWeightSplits<T>{p.partial, dw, p.splits, static_cast<int>(channels), p.depth, size});
}

template <Precision precision, class T>
void start_best(const WeightProblem<T>& p, T* dw, index_t taps, index_t channels) {
  const Cut large = best_cut<T, Large<T, precision>>(p, precision, 1.0), wide = best_cut<T, Wide>(p, precision, 0.85);
  const Cut small = best_cut<T, Small>(p, precision, 0.65);
  if (large.seconds <= wide.seconds && large.seconds <= small.seconds)
    start<Large<T, precision>, precision>(p, large.splits, dw, taps, channels);
  else if (wide.seconds <= small.seconds) start<Wide, precision>(p, wide.splits, dw, taps, channels);
  else start<Small, precision>(p, small.splits, dw, taps, channels);
}

}  // namespace

template <class T>
void implicit_gemm_grad_weight(const kernels::ConvGeometry& g, const T* dy, const T* x, T* dw, Precision precision) {
  const ChunkedRows<T> rows(dy, g.N * g.OH * g.OW * g.groups, g.group_outputs()), columns(x, g.N * g.H * g.W * g.groups, g.group_inputs());
  WeightProblem<T> p{.dy = rows.data(),
                     .x = columns.data(),
                     .pixels = static_cast<int>(g.N * g.OH * g.OW),
                     .H = static_cast<int>(g.H),
                     .W = static_cast<int>(g.W),
                     .groups = static_cast<int>(g.groups),
                     .outputs = static_cast<int>(g.group_outputs()),
                     .out_depth = static_cast<int>(rows.padded()),
                     .depth = static_cast<int>(columns.padded()),
                     .kernel_columns = static_cast<int>(g.kw),
                     .inputs = static_cast<int>(g.taps() * columns.padded())};
  p.row = kernels::forward_axis(g.OH, g.kh, g.stride.h, g.padding.h, g.dilation.h);
  p.column = kernels::forward_axis(g.OW, g.kw, g.stride.w, g.padding.w, g.dilation.w);
  p.step = kernels::digits(weight_step_pixels<T>, p.row.size, p.column.size);
  if (std::is_same_v<T, float> && precision == Precision::tf32) {
    if constexpr (std::is_same_v<T, float>) start_best<Precision::tf32>(p, dw, g.taps(), g.group_inputs());
  } else {
    start_best<Precision::full>(p, dw, g.taps(), g.group_inputs());
  }
}

#define SEGNET_INSTANTIATE(T) template void implicit_gemm_grad_weight(const kernels::ConvGeometry&, const T*, const T*, T*, Precision);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::cuda
