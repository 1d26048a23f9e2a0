// The gradient to the weight as a matrix product over pixels, without an im2col buffer:
//
//   dw[o, ki, kj, c] = sum_{n, oh, ow} dy[n, oh, ow, o] * x[n, input_row(oh, ki), input_column(ow, kj), c]
//
// A register tile holds a few outputs o times a few vectors of (ki, kj, c), and walks through a block of output pixels: through
// dy and x where they are, or through a copy of the block's part with zeros where x reaches over the edge of the image.
// Where C is small, the kw * C numbers under a row of the kernel are adjacent in x and share vectors.
//
// Reductions: blocks are dealt out to `slots`, each with its own sum, added up in order at the end. How many slots there are
// depends on the shape alone, so the bits do not depend on the number of threads.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels::implicit_gemm::inline SEGNET_LAYOUT {

/// Outputs and vectors of a register tile.
[[nodiscard]] constexpr int weight_tile_outputs(Isa isa) { return isa == Isa::avx512 ? 8 : 4; }
[[nodiscard]] constexpr int weight_tile_vectors(Isa isa) { return isa == Isa::baseline ? 2 : 3; }

/// How the work of one weight gradient is cut up.
struct WeightPlan {
  ConvGeometry g;
  index_t lanes, outputs;             // of a vector, of a register tile
  bool merged;                        // vectors run over (kj, c) together
  index_t row_vectors;                // vectors of a kernel row if merged, else of a pixel
  index_t vectors;                    // of all taps and channels: order (ki, part of the row), else (channels, ki, kj)
  index_t output_tiles;               // per group
  index_t block_rows, block_columns;  // output pixels of a block, the last ones may be smaller
  index_t rows_cut, columns_cut;      // blocks per image
  index_t slots, output_blocks, tiles_per_output_block;

  WeightPlan(const ConvGeometry& geometry, Isa isa, index_t element_size, index_t threads)
      : g(flat(geometry)), lanes(vector_bytes(isa) / element_size), outputs(weight_tile_outputs(isa)) {
    const index_t Cg = g.group_inputs(), whole_row = divide_up(g.kw * Cg, lanes), pixel = divide_up(Cg, lanes);
    merged = g.dilation.w == 1 && whole_row < g.kw * pixel;
    row_vectors = merged ? whole_row : pixel;
    vectors = g.kh * row_vectors * (merged ? 1 : g.kw);
    output_tiles = divide_up(g.group_outputs(), outputs);
    block_columns = even_part(g.OW, g.OH == 1 ? 512 : 64);
    block_rows = even_part(g.OH, std::max<index_t>(512 / block_columns, 1));
    columns_cut = divide_up(g.OW, block_columns);
    rows_cut = divide_up(g.OH, block_rows);
    const index_t fits = (index_t{1} << 23) / (sum_size() * element_size);  // the sums of all slots, in bytes
    slots = std::clamp<index_t>(std::min<index_t>(32, fits), 1, std::max<index_t>(blocks(), 1));
    // Outputs are computed apart from each other, so how they are shared out may depend on the threads.
    const index_t wanted = divide_up(4 * threads, slots * g.groups);
    tiles_per_output_block = std::min(even_part(output_tiles, 64 / outputs), divide_up(output_tiles, wanted));
    output_blocks = divide_up(output_tiles, tiles_per_output_block);
  }

  static index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }
  /// Size of the parts when n is cut evenly into parts of at most `most`.
  static index_t even_part(index_t n, index_t most) { return divide_up(n, divide_up(n, most)); }
  index_t blocks() const { return g.N * rows_cut * columns_cut; }
  /// A 1 x 1 kernel that reads every pixel sees one long row.
  static ConvGeometry flat(ConvGeometry g) {
    if (g.N == 0 || g.taps() != 1 || g.stride != Extent2(1) || g.padding != Extent2(0) || g.OH != g.H || g.OW != g.W) return g;
    g.W = g.OW = g.N * g.H * g.W;
    g.N = g.H = g.OH = 1;
    return g;
  }
  /// Elements of a slot's sum: [groups][output_tiles][vectors][outputs][lanes].
  index_t sum_size() const { return g.groups * output_tiles * vectors * outputs * lanes; }

  // The copy of x under a block. Rows (columns alike) of neighbouring taps overlap unless the dilation is larger than the block;
  // a single tap reads every stride-th row only.
  struct Axis {
    index_t first, tap_step, pixel_step, count;  // input index of tap 0 and pixel 0; distances in the copy; rows of the copy
    index_t stride, dilation;                    // distances in the image, of a single tap's rows and of taps
    index_t input(index_t i) const { return first + i / tap_step * dilation + i % tap_step * stride; }
  };
  static Axis axis(index_t first, index_t pixels, index_t kernel, index_t stride, index_t dilation) {
    const index_t step = kernel == 1 ? 1 : stride, reach = (pixels - 1) * step + 1;
    const index_t tap_step = kernel == 1 ? reach : std::min(dilation, reach);
    return {first, tap_step, step, (kernel - 1) * tap_step + reach, kernel == 1 ? stride : 1, dilation};
  }
  Axis rows(index_t oh, index_t count) const { return axis(g.input_row(oh, 0), count, g.kh, g.stride.h, g.dilation.h); }
  Axis columns(index_t ow, index_t count) const { return axis(g.input_column(ow, 0), count, g.kw, g.stride.w, g.dilation.w); }

  /// Elements of one row of the copy.
  index_t line(const Axis& columns) const { return merged ? columns.count * g.group_inputs() + lanes : columns.count * lanes; }
  /// Vectors of channels that are copied and multiplied at a time: what the cache holds.
  index_t channel_block(index_t element_size) const {
    if (merged) return 1;
    const index_t bytes = rows(0, block_rows).count * columns(0, block_columns).count * lanes * element_size;
    return std::clamp<index_t>((1 << 18) / bytes, 1, row_vectors);
  }
};

/// to[tile][pixel][output]: dy of a block, outputs of a register tile adjacent, zeros beyond the last output.
template <Isa isa, class T>
SEGNET_INLINE void pack_outputs(const WeightPlan& plan, const T* dy, index_t rows, index_t columns, index_t outputs, T* to) {
  constexpr index_t MR = weight_tile_outputs(isa);
  for (index_t o = 0; o < outputs; o += MR) {
    const index_t count = std::min(MR, outputs - o);
    for (index_t r = 0; r < rows; ++r) {
      const T* from = dy + r * plan.g.OW * plan.g.O + o;
      for (index_t v = 0; v < columns; ++v, from += plan.g.O, to += MR) {
        if (count == MR) {
          std::memcpy(to, from, MR * sizeof(T));
        } else {
          for (index_t m = 0; m < MR; ++m) to[m] = m < count ? from[m] : T(0);
        }
      }
    }
  }
}

/// to[row][column][lane] of `channels` <= lanes channels from `image` on, or to[row][column * channels + c] if merged.
template <Isa isa, class T>
SEGNET_INLINE void pack_inputs(const WeightPlan& plan, const T* image, const WeightPlan::Axis& rows, const WeightPlan::Axis& columns,
                               index_t channels, T* to) {
  using S = Simd<T, isa>;
  const ConvGeometry& g = plan.g;
  const index_t each = plan.merged ? channels : S::lanes;
  for (index_t i = 0; i < rows.count; ++i, to += plan.line(columns)) {
    const index_t h = rows.input(i);
    const T* line = image + h * g.W * g.C;
    if (h < 0 || h >= g.H) {
      std::fill_n(to, plan.line(columns), T(0));
    } else if (plan.merged && channels == g.C) {  // all in one piece
      const index_t left = std::clamp<index_t>(-columns.first, 0, columns.count);
      const index_t right = std::clamp<index_t>(g.W - columns.first, left, columns.count);
      std::fill_n(to, left * each, T(0));
      std::copy_n(line + (columns.first + left) * each, (right - left) * each, to + left * each);
      std::fill(to + right * each, to + plan.line(columns), T(0));
    } else {
      for (index_t j = 0; j < columns.count; ++j) {
        const index_t w = columns.input(j);
        const bool inside = w >= 0 && w < g.W;
        if (channels == S::lanes) S::at(to + j * each) = inside ? S::load(line + w * g.C) : typename S::Vector{};
        else
          for (index_t c = 0; c < each; ++c) to[j * each + c] = inside && c < channels ? line[w * g.C + c] : T(0);
      }
      if (plan.merged) std::fill_n(to + columns.count * each, S::lanes, T(0));
    }
  }
}

/// Distances between pixels in memory.
struct PixelSteps {
  index_t row, column;
};

/// sum[n][m] (+)= sum over rows x columns pixels of a[pixel][m] * b[n][pixel]
template <Isa isa, int NV, class T>
SEGNET_INLINE void weight_tile(const T* a, PixelSteps a_step, const T* const* b, PixelSteps b_step, index_t rows, index_t columns, T* sum,
                               bool first) {
  using S = Simd<T, isa>;
  constexpr int MR = weight_tile_outputs(isa);
  typename S::Vector acc[NV][MR];
  SEGNET_UNROLL for (int n = 0; n < NV; ++n) SEGNET_UNROLL for (int m = 0; m < MR; ++m) acc[n][m] = typename S::Vector{};
  for (index_t r = 0; r < rows; ++r) {
    const T* x[NV];
    SEGNET_UNROLL for (int n = 0; n < NV; ++n) x[n] = b[n] + r * b_step.row;
    const T* y = a + r * a_step.row;
    for (index_t v = 0; v < columns; ++v, y += a_step.column) {
      typename S::Vector pixel[NV];
      SEGNET_UNROLL for (int n = 0; n < NV; ++n) {
        pixel[n] = S::load(x[n]);
        x[n] += b_step.column;
      }
      SEGNET_UNROLL for (int m = 0; m < MR; ++m) SEGNET_UNROLL for (int n = 0; n < NV; ++n) acc[n][m] += y[m] * pixel[n];
    }
  }
  SEGNET_UNROLL for (int n = 0; n < NV; ++n) SEGNET_UNROLL for (int m = 0; m < MR; ++m) {
    T* to = sum + (n * MR + m) * S::lanes;
    S::at(to) = first ? acc[n][m] : S::load(to) + acc[n][m];
  }
}

/// One block's share of the sums of output tiles [first_tile, last_tile) of a group.
template <Isa isa, class T>
SEGNET_INLINE void weight_block(const WeightPlan& plan, index_t group, index_t block, index_t first_tile, index_t last_tile, const T* dy,
                                const T* x, T* dy_copy, T* x_copy, T* sum, bool first) {
  constexpr index_t MR = weight_tile_outputs(isa), NV = weight_tile_vectors(isa), lanes = Simd<T, isa>::lanes;
  const ConvGeometry& g = plan.g;
  const index_t Cg = g.group_inputs(), Og = g.group_outputs();
  const index_t n = block / (plan.rows_cut * plan.columns_cut);
  const index_t oh = block / plan.columns_cut % plan.rows_cut * plan.block_rows, ow = block % plan.columns_cut * plan.block_columns;
  const index_t R = std::min(plan.block_rows, g.OH - oh), V = std::min(plan.block_columns, g.OW - ow);
  const index_t outputs = std::min(Og, last_tile * MR) - first_tile * MR;

  // Where dy is read in place, a tile may read beyond the last output: other numbers of dy, whose products nobody looks at.
  const T* a = dy + ((n * g.OH + oh) * g.OW + ow) * g.O + group * Og + first_tile * MR;
  PixelSteps a_step{g.OW * g.O, g.O};
  index_t tile_step = MR;
  const index_t dy_end = ((R - 1) * g.OW + V - 1) * g.O + (last_tile - first_tile) * MR;
  if (a + dy_end > dy + g.y_shape().numel()) {
    pack_outputs<isa>(plan, a, R, V, outputs, dy_copy);
    a = dy_copy;
    a_step = {V * MR, MR};
    tile_step = R * V * MR;
  }

  const WeightPlan::Axis rows = plan.rows(oh, R), columns = plan.columns(ow, V);
  const T* image = x + n * g.H * g.W * g.C + group * Cg;
  const index_t last_row = rows.input(rows.count - 1), last_column = columns.input(columns.count - 1);
  const index_t x_end = plan.merged ? (last_row * g.W + columns.first) * g.C + (V - 1) * g.stride.w * g.C + plan.row_vectors * lanes
                                    : (last_row * g.W + last_column) * g.C + plan.row_vectors * lanes;
  const bool in_place = rows.first >= 0 && last_row < g.H && columns.first >= 0 && last_column < g.W &&
                        image + x_end <= x + g.x_shape().numel() && (!plan.merged || Cg == g.C);

  // A part is a vector of channels under all taps; merged, there is only one part.
  const index_t vectors_of_part = plan.merged ? plan.vectors : g.taps(), parts = plan.merged ? 1 : plan.row_vectors;
  const index_t parts_each = plan.channel_block(sizeof(T)), line = plan.line(columns);
  for (index_t part = 0; part < parts; part += parts_each) {
    const index_t last_part = std::min(parts, part + parts_each), end = last_part * vectors_of_part;
    const T* from = image + (rows.first * g.W + columns.first) * g.C + part * lanes;
    PixelSteps b_step{g.stride.h * g.W * g.C, g.stride.w * g.C}, tap_step{g.dilation.h * g.W * g.C, g.dilation.w * g.C};
    index_t part_step = lanes;
    if (!in_place) {
      for (index_t p = part; p < last_part; ++p)
        pack_inputs<isa>(plan, image + p * lanes, rows, columns, plan.merged ? Cg : std::min(lanes, Cg - p * lanes),
                         x_copy + (p - part) * rows.count * line);
      const index_t pixel = plan.merged ? Cg : lanes;
      from = x_copy;
      b_step = {rows.pixel_step * line, columns.pixel_step * pixel};
      tap_step = {rows.tap_step * line, columns.tap_step * pixel};
      part_step = rows.count * line;
    }
    if (plan.merged) tap_step.column = lanes;
    const index_t row_taps = plan.merged ? plan.row_vectors : g.kw;
    for (index_t j = part * vectors_of_part; j < end; j += NV) {
      const T* b[NV] = {};
      for (index_t k = 0; k < NV && j + k < end; ++k) {
        const index_t tap = (j + k) % vectors_of_part;
        b[k] = from + ((j + k) / vectors_of_part - part) * part_step + tap / row_taps * tap_step.row + tap % row_taps * tap_step.column;
      }
      const index_t left = end - j;
      for (index_t t = 0; t < last_tile - first_tile; ++t) {
        T* to = sum + ((group * plan.output_tiles + first_tile + t) * plan.vectors + j) * MR * lanes;
        const T* y = a + t * tile_step;
        if (left >= NV) weight_tile<isa, NV>(y, a_step, b, b_step, R, V, to, first);
        else if (left == 1) weight_tile<isa, 1>(y, a_step, b, b_step, R, V, to, first);
        else if constexpr (NV > 2) weight_tile<isa, 2>(y, a_step, b, b_step, R, V, to, first);
      }
    }
  }
}

/// Adds up the slots of vector j of an output tile, and writes it where it belongs in dw.
template <Isa isa, class T>
SEGNET_INLINE void sum_slots(const WeightPlan& plan, index_t group, index_t tile, index_t j, const T* sums, T* dw) {
  using S = Simd<T, isa>;
  constexpr index_t MR = weight_tile_outputs(isa);
  const ConvGeometry& g = plan.g;
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), row = g.taps() * Cg;
  index_t at = j / g.taps() * S::lanes + j % g.taps() * Cg, count = Cg - j / g.taps() * S::lanes;
  if (plan.merged) {
    const index_t ki = j / plan.row_vectors, k = j % plan.row_vectors * S::lanes;
    at = ki * g.kw * Cg + k;
    count = g.kw * Cg - k;
  }
  const T* from = sums + ((group * plan.output_tiles + tile) * plan.vectors + j) * MR * S::lanes;
  for (index_t m = 0; m < std::min(MR, Og - tile * MR); ++m) {
    typename S::Vector sum = S::load(from + m * S::lanes);
    for (index_t slot = 1; slot < plan.slots; ++slot) sum += S::load(from + slot * plan.sum_size() + m * S::lanes);
    T* to = dw + (group * Og + tile * MR + m) * row + at;
    if (count >= S::lanes) S::at(to) = sum;
    else
      for (index_t i = 0; i < count; ++i) to[i] = sum[i];
  }
}

/// dw = the derivative of <dy, w * x>. See reference::conv2d_grad_weight for the formula.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  const WeightPlan plan(g, current_isa(), sizeof(T), num_threads());
  if (plan.blocks() == 0) {
    std::fill_n(dw.data, dw.size(), T(0));
    return;
  }
  const index_t dy_each = plan.tiles_per_output_block * plan.outputs * plan.block_rows * plan.block_columns;
  const WeightPlan::Axis rows = plan.rows(0, plan.block_rows), columns = plan.columns(0, plan.block_columns);
  const index_t x_each = plan.channel_block(sizeof(T)) * rows.count * plan.line(columns), threads = num_threads();
  const Scratch<T> dy_copies(threads * dy_each), x_copies(threads * x_each), sums(plan.slots * plan.sum_size());
  parallel_workers(plan.slots * g.groups * plan.output_blocks, [&](index_t task, int worker) {
    const index_t slot = task / (g.groups * plan.output_blocks), group = task / plan.output_blocks % g.groups;
    const index_t first_tile = task % plan.output_blocks * plan.tiles_per_output_block;
    const index_t last_tile = std::min(plan.output_tiles, first_tile + plan.tiles_per_output_block);
    const index_t first_block = slot * plan.blocks() / plan.slots, last_block = (slot + 1) * plan.blocks() / plan.slots;
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      for (index_t block = first_block; block < last_block; ++block)
        weight_block<decltype(isa)::value>(plan, group, block, first_tile, last_tile, dy.data, x.data, dy_copies.data() + worker * dy_each,
                                           x_copies.data() + worker * x_each, sums.data() + slot * plan.sum_size(), block == first_block);
    });
  });

  const index_t vectors = g.groups * plan.output_tiles * plan.vectors;
  parallel_for(vectors, std::max<index_t>(1, (1 << 14) / (plan.outputs * plan.lanes * plan.slots)), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      for (index_t i = begin; i < end; ++i)
        sum_slots<decltype(isa)::value>(plan, i / plan.vectors / plan.output_tiles, i / plan.vectors % plan.output_tiles, i % plan.vectors,
                                        sums.data(), dw.data);
    });
  });
}

}  // namespace segnet::kernels::implicit_gemm::inline SEGNET_LAYOUT
