// The gradient to the weight as a matrix product over pixels, without an im2col buffer:
//
//   dw[o, (ki, kj, c)] = sum over pixels (n, oh, ow) of dy[n, oh, ow, o] * x[n, input_row(oh, ki), input_column(ow, kj), c]
//
// A register tile holds a few outputs o times a panel of columns (ki, kj, c), and walks through a block of pixels. Both operands are
// copied for it: dy once for a block, tile after tile; x panel after panel, each at once multiplied with all of dy while it is in the
// cache. Copies are what makes this fast: channels of one pixel are far from those of the next, often by a power of two, and the cache
// holds few lines so far apart. Where dy has few outputs and few panels would read its copy, it is read as it lies; so is x under a 1x1
// kernel where its pixels are close together. Columns are those of dw as it is, so that thin images fill vectors as well as wide ones do.
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
  bool flat;                      // a convolution that reads each pixel once and alone: g is one long row then; smaller tiles gain nothing
  index_t lanes, outputs, width;  // of a vector, of a register tile, columns of a panel
  index_t columns;                // of dw, per group
  index_t vectors, panels;        // that hold them
  index_t tiles;                  // of outputs, per group
  index_t pixels, block, blocks;  // all, those summed up in registers, blocks
  bool dy_in_place;               // not copied: its blocks fit the cache, few panels would use a copy; smaller tiles gain from copies
  index_t slots;
  index_t tiles_each, panels_each;  // of a task

  WeightPlan(const ConvGeometry& geometry, Isa isa, index_t element_size, index_t threads)
      : g(geometry),
        flat(isa == Isa::avx512 && g.taps() == 1 && g.stride == Extent2(1) && g.padding == Extent2(0) && g.OH == g.H && g.OW == g.W),
        lanes(vector_bytes(isa) / element_size),
        outputs(weight_tile_outputs(isa)),
        width(lanes * weight_tile_vectors(isa)),
        columns(g.taps() * g.group_inputs()),
        vectors(divide_up(columns, lanes)),
        panels(divide_up(columns, width)),
        tiles(divide_up(g.group_outputs(), outputs)),
        pixels(g.N * g.OH * g.OW),
        block(even_part(pixels, 256)),
        dy_in_place(isa == Isa::avx512 && g.groups == 1 && g.O % outputs == 0 && panels <= 4 && g.O * element_size <= 1024) {
    if (flat) {
      g.W = g.OW = pixels;
      g.N = g.H = g.OH = 1;
    }
    if (dy_in_place) block = even_part(pixels, std::min<index_t>(256, (1 << 16) / (g.O * element_size)));
    blocks = divide_up(pixels, block);
    const index_t fits = (index_t{1} << 20) / (sum_size() * element_size);  // the sums of all slots, in bytes
    slots = std::clamp<index_t>(std::min<index_t>(32, fits), 1, std::max<index_t>(blocks, 1));
    // What a task sums up stays in the cache. Sums are apart from each other, so how they are shared out may depend on the threads.
    const index_t wanted = divide_up(threads == 1 ? 1 : 4 * threads, slots * g.groups);
    tiles_each = even_part(tiles, 256 / outputs);
    const index_t cached = std::max<index_t>((1 << 20) / (tiles_each * outputs * width * element_size), 1);
    panels_each = std::min(even_part(panels, cached), divide_up(panels, wanted));
    tiles_each = std::min(tiles_each, divide_up(tiles, divide_up(wanted, panel_blocks())));
  }

  static index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }
  /// Size of the parts when n is cut evenly into parts of at most `most`.
  static index_t even_part(index_t n, index_t most) { return n == 0 ? 1 : divide_up(n, divide_up(n, most)); }
  index_t tile_blocks() const { return divide_up(tiles, tiles_each); }
  index_t panel_blocks() const { return divide_up(panels, panels_each); }
  /// A panel's first column: vectors are shared out evenly.
  index_t panel_begin(index_t panel) const { return panel * vectors / panels * lanes; }
  /// Elements of a slot's sums: [groups][tiles][vectors][outputs][lanes].
  index_t sum_size() const { return g.groups * tiles * vectors * outputs * lanes; }
};

/// to[tile][pixel][output]: dy of `pixels` pixels, outputs of a register tile adjacent, zeros beyond the last output.
template <Isa isa, class T>
SEGNET_INLINE void pack_outputs(const T* dy, index_t stride, index_t pixels, index_t outputs, T* to) {
  constexpr index_t MR = weight_tile_outputs(isa), few = 16;  // pixels whose outputs the first-level cache holds
  for (index_t begin = 0; begin < pixels; begin += few) {
    const index_t end = std::min(pixels, begin + few);
    for (index_t o = 0; o < outputs; o += MR) {
      const T* from = dy + begin * stride + o;
      T* tile = to + (o * pixels + begin * MR);
      const index_t count = std::min(MR, outputs - o);
      for (index_t p = begin; p < end; ++p, from += stride, tile += MR) {
        if (count == MR) {
          std::memcpy(tile, from, MR * sizeof(T));
        } else {
          for (index_t m = 0; m < MR; ++m) tile[m] = m < count ? from[m] : T(0);
        }
      }
    }
  }
}

/// The columns [begin, end) of dw, as they are found in x: a panel's. Columns that are adjacent in a row of the image are copied as one
/// run: a tap's channels, or those of all taps of a row of the kernel.
template <Isa isa, class T>
struct InputPanel {
  using S = Simd<T, isa>;
  static constexpr index_t most = weight_tile_vectors(isa) * S::lanes;
  struct Run {
    index_t ki, from;      // row of the kernel; where it begins, from where the row's tap 0 reads
    index_t column, size;  // place in the panel
  };
  const ConvGeometry& g;
  const T *x, *x_end;  // from the group's first channel on
  index_t width, count = 0;
  Run runs[most];

  SEGNET_INLINE InputPanel(const ConvGeometry& geometry, const T* images, index_t group, index_t begin, index_t end)
      : g(geometry),
        x(images + group * g.group_inputs()),
        x_end(images + g.N * g.H * g.W * g.C),
        width((end - begin + S::lanes - 1) / S::lanes * S::lanes) {
    const index_t Cg = g.group_inputs(), adjacent = g.dilation.w == 1 && Cg == g.C ? g.kw * Cg : Cg;
    for (index_t at = begin; at < end; at += runs[count++].size) {
      const index_t k = at / adjacent * adjacent, tap = k / Cg;
      runs[count] = {tap / g.kw, tap % g.kw * g.dilation.w * g.C + at - k, at - begin, std::min(end, k + adjacent) - at};
    }
  }

  /// Where one pixel's columns after the other's may be read in place from pixel `first` on, or null. One long row is asked for; pixels far
  /// apart would not stay in the first-level cache.
  SEGNET_INLINE const T* adjacent(index_t first, index_t pixels) const {
    const T* from = x + first * g.C + runs[0].from;
    return g.C * static_cast<index_t>(sizeof(T)) <= 1024 && x_end - from >= pixels * g.C + most ? from : nullptr;
  }

  /// to[pixel][column] for output pixels [first, last), zeros outside the image. Whole vectors are copied: what they put beyond a run is
  /// nobody's column, or is overwritten by what comes later.
  SEGNET_INLINE void pack(index_t first, index_t last, T* to) const {
    const T zeros[most] = {};
    const index_t left = g.input_column(0, 0), right = g.input_column(0, g.kw - 1), step = g.stride.w * g.C;
    for (index_t p = first; p < last;) {
      const index_t ow = p % g.OW, oh = p / g.OW % g.OH, n = p / (g.OW * g.OH), end = std::min(g.OW, ow + last - p);
      // Pixels [inner, outer) have all their taps inside, and whole vectors to read there.
      const index_t inner = std::clamp((g.stride.w - 1 - left) / g.stride.w, ow, end);
      index_t outer = right >= g.W ? inner : std::clamp((g.W - 1 - right) / g.stride.w + 1, inner, end);
      const index_t bottom = n * g.H + std::min(g.input_row(oh, g.kh - 1), g.H - 1);
      while (outer > inner && x_end - x < (bottom * g.W + g.input_column(outer - 1, g.kw - 1) + 1) * g.C + most) --outer;
      for (index_t w = ow; w < inner; ++w, to += width) pack_edge(n, oh, w, to);
      for (index_t i = 0; i < count && inner < outer; ++i) {
        const index_t h = g.input_row(oh, runs[i].ki);
        const bool inside = h >= 0 && h < g.H;
        const T* from = inside ? x + ((n * g.H + h) * g.W + g.input_column(inner, 0)) * g.C + runs[i].from : zeros;
        copy_run(runs[i], from, inside ? step : 0, outer - inner, to);
      }
      to += (outer - inner) * width;
      for (index_t w = outer; w < end; ++w, to += width) pack_edge(n, oh, w, to);
      p += end - ow;
    }
  }

 private:
  /// A run of several pixels, no farther than to the end of the panel, where the next pixel begins.
  SEGNET_INLINE void copy_run(const Run& run, const T* from, index_t step, index_t pixels, T* to) const {
    const index_t room = width - run.column, vectors = (run.size + S::lanes - 1) / S::lanes, whole = std::min(vectors, room / S::lanes);
    const index_t rest = whole < vectors ? room % S::lanes : 0;
    const auto copy = [&]<int count>(std::integral_constant<int, count>) SEGNET_INLINE_LAMBDA {
      T* at = to + run.column;
      for (index_t p = 0; p < pixels; ++p, from += step, at += width) {
        SEGNET_UNROLL for (int k = 0; k < count; ++k) S::at(at + k * S::lanes) = S::load(from + k * S::lanes);
        if (rest) S::store_partial(at + count * S::lanes, from + count * S::lanes, rest);
      }
    };
    if (whole == 0) copy(std::integral_constant<int, 0>{});
    else if (whole == 1) copy(std::integral_constant<int, 1>{});
    else if (whole == 2) copy(std::integral_constant<int, 2>{});
    else copy(std::integral_constant<int, weight_tile_vectors(isa)>{});
  }

  /// A pixel near the image's edge.
  SEGNET_INLINE void pack_edge(index_t n, index_t oh, index_t ow, T* to) const {
    const index_t row = g.W * g.C;
    for (const Run* run = runs; run < runs + count; ++run) {
      const index_t h = g.input_row(oh, run->ki), at = g.input_column(ow, 0) * g.C + run->from;
      const T* from = x + (n * g.H + h) * row + at;
      T* place = to + run->column;
      if (h < 0 || h >= g.H || at + run->size <= 0 || at >= row) {
        for (index_t k = 0; k < run->size; k += S::lanes) S::at(place + k) = typename S::Vector{};
      } else if (at >= 0 && at + run->size <= row && x_end - from >= most) {
        for (index_t k = 0; k < run->size; k += S::lanes) S::at(place + k) = S::load(from + k);
      } else {
        for (index_t k = 0; k < width - run->column; ++k) place[k] = k < run->size && at + k >= 0 && at + k < row ? from[k] : T(0);
      }
    }
  }
};

/// What is brought into the cache while a tile is computed: an address a pixel.
template <class T>
struct Ahead {
  const T* from;
  index_t step;
};

/// sum[n][m] (+)= sum over pixels of a[pixel * a_step + m] * b[pixel * b_step + n].
template <Isa isa, int NV, class T>
SEGNET_INLINE void weight_tile(const T* a, index_t a_step, const T* b, index_t b_step, index_t pixels, T* sum, bool first, Ahead<T> ahead) {
  using S = Simd<T, isa>;
  constexpr int MR = weight_tile_outputs(isa);
  typename S::Vector acc[NV][MR];
  SEGNET_UNROLL for (int n = 0; n < NV; ++n) SEGNET_UNROLL for (int m = 0; m < MR; ++m) acc[n][m] = typename S::Vector{};
  for (index_t i = 0; i < NV * MR * S::lanes; i += S::lanes) __builtin_prefetch(sum + i, 1);
  for (index_t p = 0; p < pixels; ++p, a += a_step, b += b_step) {
    __builtin_prefetch(ahead.from, 0, 2);
    ahead.from += ahead.step;
    typename S::Vector v[NV];
    SEGNET_UNROLL for (int n = 0; n < NV; ++n) v[n] = S::load(b + n * S::lanes);
    SEGNET_UNROLL for (int m = 0; m < MR; ++m) SEGNET_UNROLL for (int n = 0; n < NV; ++n) acc[n][m] += a[m] * v[n];
  }
  SEGNET_UNROLL for (int n = 0; n < NV; ++n) SEGNET_UNROLL for (int m = 0; m < MR; ++m) {
    T* to = sum + (n * MR + m) * S::lanes;
    S::at(to) = first ? acc[n][m] : S::load(to) + acc[n][m];
  }
}

/// One block's share of the sums of tiles x panels [first, last) of a group.
template <Isa isa, class T>
SEGNET_INLINE void weight_block(const WeightPlan& plan, index_t group, index_t block, index_t first_tile, index_t last_tile,
                                index_t first_panel, index_t last_panel, const T* dy, const T* x, T* dy_copy, T* x_copy, T* sum,
                                bool first) {
  constexpr index_t MR = weight_tile_outputs(isa), NV = weight_tile_vectors(isa), lanes = Simd<T, isa>::lanes;
  const ConvGeometry& g = plan.g;
  constexpr index_t line = 64 / static_cast<index_t>(sizeof(T));
  const index_t Og = g.group_outputs(), o = first_tile * MR, p = block * plan.block, pixels = std::min(plan.block, plan.pixels - p);
  const T* outputs = dy + p * g.O + group * Og + o;
  const index_t next_pixel = plan.dy_in_place ? g.O : MR, next_tile = plan.dy_in_place ? MR : pixels * MR;
  if (!plan.dy_in_place) {
    pack_outputs<isa>(outputs, g.O, pixels, std::min(Og, last_tile * MR) - o, dy_copy);
    outputs = dy_copy;
  }
  for (index_t panel = first_panel; panel < last_panel; ++panel) {
    const index_t begin = plan.panel_begin(panel), end = plan.panel_begin(panel + 1), vectors = (end - begin) / lanes;
    const InputPanel<isa, T> inputs(g, x, group, begin, std::min(plan.columns, end));
    const T* input = plan.flat ? inputs.adjacent(p, pixels) : nullptr;
    const index_t next_input = input ? g.C : end - begin;
    if (!input) {
      inputs.pack(p, p + pixels, x_copy);
      input = x_copy;
    }
    // The first tiles bring lines of the next panel along, those of the last panel otherwise the next block of dy.
    const bool last = panel + 1 == last_panel, more = p + 2 * pixels <= plan.pixels;
    const bool fetch = last && more && g.groups == 1 && last_tile - first_tile == plan.tiles;
    const T* coming = x + group * g.group_inputs() + (last ? (p + pixels) * g.C + plan.panel_begin(first_panel) : p * g.C + end);
    const index_t lines = plan.flat && (!last || more) ? plan.width / line : 0;
    for (index_t t = 0; t < last_tile - first_tile; ++t) {
      T* to = sum + ((group * plan.tiles + first_tile + t) * plan.vectors * lanes + begin) * MR;
      const T* a = outputs + t * next_tile;
      Ahead<T> ahead{a, 0};
      if (t < lines) ahead = {coming + t * line, g.C};
      else if (fetch) ahead = {dy + (p + pixels) * g.O + (first_tile + t) * pixels * MR, MR};
      if (vectors >= NV) weight_tile<isa, NV>(a, next_pixel, input, next_input, pixels, to, first, ahead);
      else if (vectors == 1) weight_tile<isa, 1>(a, next_pixel, input, next_input, pixels, to, first, ahead);
      else if constexpr (NV > 2) weight_tile<isa, 2>(a, next_pixel, input, next_input, pixels, to, first, ahead);
    }
  }
}

/// Adds up the slots of vector v of a tile, and writes it where it belongs in dw.
template <Isa isa, class T>
SEGNET_INLINE void sum_slots(const WeightPlan& plan, index_t group, index_t tile, index_t v, const T* sums, T* dw) {
  using S = Simd<T, isa>;
  constexpr index_t MR = weight_tile_outputs(isa);
  const index_t Og = plan.g.group_outputs(), count = plan.columns - v * S::lanes;
  const T* from = sums + ((group * plan.tiles + tile) * plan.vectors + v) * MR * S::lanes;
  for (index_t m = 0; m < std::min(MR, Og - tile * MR); ++m) {
    typename S::Vector sum = S::load(from + m * S::lanes);
    for (index_t slot = 1; slot < plan.slots; ++slot) sum += S::load(from + slot * plan.sum_size() + m * S::lanes);
    T* to = dw + (group * Og + tile * MR + m) * plan.columns + v * S::lanes;
    if (count >= S::lanes) S::at(to) = sum;
    else
      for (index_t i = 0; i < count; ++i) to[i] = sum[i];
  }
}

/// dw = the derivative of <dy, w * x>. See reference::conv2d_grad_weight for the formula.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  const index_t threads = num_threads();
  const WeightPlan plan(g, current_isa(), sizeof(T), threads);
  if (plan.blocks == 0) {
    std::fill_n(dw.data, dw.size(), T(0));
    return;
  }
  const index_t dy_each = plan.dy_in_place ? 0 : plan.tiles_each * plan.outputs * plan.block, x_each = plan.width * (plan.block + 1);
  const Scratch<T> dy_copies(threads * dy_each), x_copies(threads * x_each), sums(plan.slots * plan.sum_size());
  const index_t tile_blocks = plan.tile_blocks(), panel_blocks = plan.panel_blocks();
  parallel_workers(plan.slots * g.groups * panel_blocks * tile_blocks, [&](index_t task, int worker) {
    const index_t first_tile = task % tile_blocks * plan.tiles_each, first_panel = task / tile_blocks % panel_blocks * plan.panels_each;
    const index_t last_tile = std::min(plan.tiles, first_tile + plan.tiles_each);
    const index_t last_panel = std::min(plan.panels, first_panel + plan.panels_each);
    const index_t group = task / (tile_blocks * panel_blocks) % g.groups, slot = task / (tile_blocks * panel_blocks * g.groups);
    const index_t first_block = slot * plan.blocks / plan.slots, last_block = (slot + 1) * plan.blocks / plan.slots;
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      for (index_t block = first_block; block < last_block; ++block)
        weight_block<decltype(isa)::value>(plan, group, block, first_tile, last_tile, first_panel, last_panel, dy.data, x.data,
                                           dy_copies.data() + worker * dy_each, x_copies.data() + worker * x_each,
                                           sums.data() + slot * plan.sum_size(), block == first_block);
    });
  });

  const index_t vectors = g.groups * plan.tiles * plan.vectors;
  parallel_for(vectors, std::max<index_t>(1, (1 << 14) / (plan.outputs * plan.lanes * plan.slots)), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      for (index_t i = begin; i < end; ++i)
        sum_slots<decltype(isa)::value>(plan, i / plan.vectors / plan.tiles, i / plan.vectors % plan.tiles, i % plan.vectors, sums.data(),
                                        dw.data);
    });
  });
}

}  // namespace segnet::kernels::implicit_gemm::inline SEGNET_LAYOUT
