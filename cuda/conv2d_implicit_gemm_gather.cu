#include "conv2d_implicit_gemm_gather.cuh"

#include "conv2d_implicit_gemm.cuh"
#include "conv2d_implicit_gemm_operands.cuh"

namespace segnet::cuda {

namespace {

/// Tiles to choose from. Warps of bfloat16 take 64 x 64 products: fewer would read shared memory more often than the tensor cores wait
/// for. Those of float need registers for rounded factors.
template <class T, Precision precision>
using Large = std::conditional_t<std::is_same_v<T, bfloat16>, GemmTile<128, 128, 64, 64, 3, 2>,
                                 GemmTile<128, 128, 64, 32, 3, precision == Precision::full ? 1 : 2>>;
using Medium = GemmTile<128, 64, 64, 32, 4, 2>;
using Small = GemmTile<64, 64, 32, 32, 4, 3>;
using Narrow = GemmTile<128, 32, 32, 32, 4, 2>;

/// Time that the busiest multiprocessor needs, in products of a perfect tile.
template <class Tile>
double cost(index_t pixels, index_t columns, index_t copies, double efficiency) {
  const index_t blocks = (pixels + Tile::rows - 1) / Tile::rows * ((columns + Tile::columns - 1) / Tile::columns) * copies;
  const index_t each = (blocks + multiprocessors() - 1) / multiprocessors();
  return static_cast<double>(each * Tile::rows * Tile::columns) / efficiency;
}

template <class Tile, Precision precision, class T>
void start(GatherProblem<T> p, index_t pixels, unsigned phases) {
  p.pixel_tiles = static_cast<int>((pixels + Tile::rows - 1) / Tile::rows);
  p.column_tiles = (p.columns + Tile::columns - 1) / Tile::columns;
  const index_t blocks = static_cast<index_t>(p.pixel_tiles) * p.column_tiles * p.groups;
  launch(gather_gemm<T, Tile, precision>, dim3(static_cast<unsigned>(blocks), phases), Tile::threads, gather_shared_bytes<T, Tile>, p);
}

template <Precision precision, class T>
void start_best(const GatherProblem<T>& p, index_t pixels, unsigned phases) {
  const index_t copies = static_cast<index_t>(phases) * p.groups;
  const double large = cost<Large<T, precision>>(pixels, p.columns, copies, 1.0), medium = cost<Medium>(pixels, p.columns, copies, 0.9);
  const double small = cost<Small>(pixels, p.columns, copies, 0.7), narrow = cost<Narrow>(pixels, p.columns, copies, 0.7);
  const double best = std::min({large, medium, small, narrow});
  if (large == best) start<Large<T, precision>, precision>(p, pixels, phases);
  else if (medium == best) start<Medium, precision>(p, pixels, phases);
  else if (narrow == best) start<Narrow, precision>(p, pixels, phases);
  else start<Small, precision>(p, pixels, phases);
}

/// All phases of a product, whose pixels are most numerous in the first.
template <class T>
void multiply(GatherProblem<T>& p, int phase_rows, int phase_columns, Precision precision) {
  p.phase_columns = phase_columns;
  for (int i = 0; i < phase_columns; ++i) p.step[i] = kernels::digits(8 * Pack<T>::size, std::max(p.column[i].taps, 1), p.depth);
  p.whole_chunks = p.columns % Pack<T>::size == 0 && aligned16(p.out);
  const index_t pixels = static_cast<index_t>(p.N) * p.row[0].size * p.column[0].size;
  const auto phases = static_cast<unsigned>(phase_rows * phase_columns);
  if (std::is_same_v<T, float> && precision == Precision::tf32) {
    if constexpr (std::is_same_v<T, float>) start_best<Precision::tf32>(p, pixels, phases);
  } else {
    start_best<Precision::full>(p, pixels, phases);
  }
}

}  // namespace

template <class T>
bool implicit_gemm_takes(const kernels::ConvGeometry& g, ConvPass pass) {
  const index_t inputs = round_up_to_chunks<T>(g.group_inputs()), outputs = round_up_to_chunks<T>(g.group_outputs());
  if (device_info().compute_capability < 80 || !kernels::fits_32_bits(g, inputs, outputs)) return false;
  if (pass == ConvPass::grad_weight) return true;
  const index_t pixels = pass == ConvPass::forward ? g.N * g.OH * g.OW : g.N * g.H * g.W;
  const index_t columns = pass == ConvPass::forward ? outputs : inputs;
  return (pixels / 64 + 1) * (columns / 32 + 1) < (index_t{1} << 31) / g.groups;  // blocks of a grid
}

template <class T>
void implicit_gemm_forward(const kernels::ConvGeometry& g, const T* x, const T* w, const T* bias, T* y, Precision precision) {
  const ChunkedRows<T> source(x, g.N * g.H * g.W * g.groups, g.group_inputs()), weight(w, g.O * g.taps(), g.group_inputs());
  GatherProblem<T> p{.source = source.data(),
                     .weight = weight.data(),
                     .bias = bias,
                     .out = y,
                     .N = static_cast<int>(g.N),
                     .H = static_cast<int>(g.H),
                     .W = static_cast<int>(g.W),
                     .out_H = static_cast<int>(g.OH),
                     .out_W = static_cast<int>(g.OW),
                     .groups = static_cast<int>(g.groups),
                     .depth = static_cast<int>(source.padded()),
                     .columns = static_cast<int>(g.group_outputs()),
                     .kernel_columns = static_cast<int>(g.kw),
                     .weight_row = static_cast<int>(g.taps() * weight.padded())};
  p.row[0] = kernels::forward_axis(g.OH, g.kh, g.stride.h, g.padding.h, g.dilation.h);
  p.column[0] = kernels::forward_axis(g.OW, g.kw, g.stride.w, g.padding.w, g.dilation.w);
  multiply(p, 1, 1, precision);
}

template <class T>
void implicit_gemm_grad_input(const kernels::ConvGeometry& g, const T* dy, const T* w, const T* bias, T* dx, Precision precision) {
  const ChunkedRows<T> source(dy, g.N * g.OH * g.OW * g.groups, g.group_outputs());
  const Scratch<T> weight(g.C * g.taps() * source.padded());
  transpose_weight(w, weight.data(), g.groups, g.taps(), g.group_outputs(), source.padded(), g.group_inputs());
  GatherProblem<T> p{.source = source.data(),
                     .weight = weight.data(),
                     .bias = bias,
                     .out = dx,
                     .N = static_cast<int>(g.N),
                     .H = static_cast<int>(g.OH),
                     .W = static_cast<int>(g.OW),
                     .out_H = static_cast<int>(g.H),
                     .out_W = static_cast<int>(g.W),
                     .groups = static_cast<int>(g.groups),
                     .depth = static_cast<int>(source.padded()),
                     .columns = static_cast<int>(g.group_inputs()),
                     .kernel_columns = static_cast<int>(g.kw),
                     .weight_row = static_cast<int>(g.taps() * source.padded())};
  constexpr index_t most = GatherProblem<T>::most_phases;
  for (index_t i = 0; i < std::min(g.stride.h, g.H); i += most)
    for (index_t j = 0; j < std::min(g.stride.w, g.W); j += most) {
      const index_t rows = std::min(most, std::min(g.stride.h, g.H) - i), columns = std::min(most, std::min(g.stride.w, g.W) - j);
      for (index_t a = 0; a < rows; ++a) p.row[a] = kernels::phase_axis(g.H, g.kh, g.stride.h, g.padding.h, g.dilation.h, i + a);
      for (index_t a = 0; a < columns; ++a) p.column[a] = kernels::phase_axis(g.W, g.kw, g.stride.w, g.padding.w, g.dilation.w, j + a);
      multiply(p, static_cast<int>(rows), static_cast<int>(columns), precision);
    }
}

#define SEGNET_INSTANTIATE(T)                                                                                     \
  template bool implicit_gemm_takes<T>(const kernels::ConvGeometry&, ConvPass);                                   \
  template void implicit_gemm_forward(const kernels::ConvGeometry&, const T*, const T*, const T*, T*, Precision); \
  template void implicit_gemm_grad_input(const kernels::ConvGeometry&, const T*, const T*, const T*, T*, Precision);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::cuda
