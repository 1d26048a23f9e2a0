// Convolution as a matrix product whose left operand is never built: row p of it is the patch under output pixel p, read
// through pointers into the image (or at a row of zeros outside of it). The gradient to the input is the same product with
// dy as the image: for stride s it falls into s.h * s.w smaller convolutions, one per phase of the input pixel, each with the
// taps that reach that phase, so no zero is ever multiplied.
//
// Where a tile of pixels lies inside the image, dilation is 1 and there is one group, the kw * C numbers under a row of the
// kernel are adjacent, and read as one run: this is what makes the stem (C = 3) fast.
//
// Measured per core of a 2.6 GHz Zen 5 (AVX-512, FMA peak 240 GFLOP/s): see bench/conv2d_bench.cpp.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels::implicit_gemm {

/// to[m] = from + offset + m * step for m < count, and up to a vector of pointers more. Addresses are integers here, since those
/// of pixels outside the image are formed as well; they are replaced before anybody reads through them.
template <Isa isa, class T>
SEGNET_INLINE void fill_pointers(T** to, T* from, index_t offset, index_t step, index_t count) {
  using S = Simd<index_t, isa>;
  static constexpr index_t iota[] = {0, 1, 2, 3, 4, 5, 6, 7};
  constexpr index_t size = sizeof(T);
  typename S::Vector address = S::load(iota) * (step * size) + (reinterpret_cast<index_t>(from) + offset * size);
  for (index_t m = 0; m < count; m += S::lanes, address += S::lanes * step * size) S::at(reinterpret_cast<index_t*>(to + m)) = address;
}
constexpr index_t slack = 8;

/// A list of numbers that rise or fall all the way: where the rows, or columns, of a kernel read.
class Offsets {
 public:
  void push_back(index_t offset) { values_.push_back(offset); }
  index_t size() const { return static_cast<index_t>(values_.size()); }
  index_t operator[](index_t i) const { return values_[static_cast<std::size_t>(i)]; }
  index_t least() const { return std::min(values_.front(), values_.back()); }
  index_t most() const { return std::max(values_.front(), values_.back()); }

 private:
  std::vector<index_t> values_;
};

/// A pixel of a lattice: image, row, column.
struct Position {
  index_t n, u, v;
};

/// Pixel (n, u, v) of a lattice is the sum over taps (i, j) of source pixel (n, u * step.h + row[i], v * step.w + column[j])
/// times that tap's matrix.
template <class T>
struct Gather {
  const T* source;  // [N, H, W, pixel]: the channels of one group lie `run` apart from those of the next
  index_t H, W, pixel, run;
  index_t N, U, V;
  Extent2 step;
  Offsets row, column;
  T* out;
  index_t out_n, out_u, out_v;  // distances between images, rows and columns of the lattice in `out`
  const T* zeros;               // [run]

  index_t size() const { return N * U * V; }
  index_t taps() const { return row.size() * column.size(); }

  /// Whether the taps of a kernel row are adjacent in memory.
  bool merges() const {
    if (run != pixel) return false;
    for (index_t j = 1; j < column.size(); ++j)
      if (column[j] != column[j - 1] + 1) return false;
    return true;
  }

  /// A 1 x 1 kernel that reads every pixel: one long row, in which no tile meets an edge.
  void flatten() {
    const bool plain = taps() == 1 && step == Extent2(1) && row[0] == 0 && column[0] == 0 && U == H && V == W;
    if (!plain || out_u != V * out_v || out_n != U * out_u) return;
    W = V = size();
    N = H = U = 1;
  }

  Position position(index_t p) const { return {p / (U * V), p / V % U, p % V}; }

  /// Pointers for the `height` pixels from `at` on, of which `valid` exist, written to rows [taps][height] and outs [height].
  /// Both have room for `slack` more, since vectors of pointers are stored whole. Moves `at` to the pixel behind.
  template <Isa isa>
  SEGNET_INLINE Tile<T> tile(Position& at, index_t height, index_t valid, index_t source_channel, index_t out_channel, bool merge,
                             const T** rows, T** outs) const {
    const index_t I = row.size(), J = column.size();
    const T* base = source + source_channel;
    T* to = out + out_channel;
    const Position first = at;
    if (valid == height && first.v + height <= V && inside(first, height)) {
      fill_pointers<isa>(outs, to, offset_out(first), out_v, height);
      const index_t runs = merge ? 1 : J;
      for (index_t i = 0; i < I; ++i)
        for (index_t j = 0; j < runs; ++j)
          fill_pointers<isa>(rows + (i * runs + j) * height, base, offset_in(first, i, j), step.w * pixel, height);
      advance(at, height);
      return {rows, outs, I * runs, merge ? J * run : run, valid};
    }

    for (index_t m = 0, count; m < valid; m += count, advance(at, count)) {
      count = std::min(valid - m, V - at.v);
      fill_pointers<isa>(outs + m, to, offset_out(at), out_v, count);
    }
    const T** r = rows;
    for (index_t i = 0; i < I; ++i)
      for (index_t j = 0; j < J; ++j, r += height) {
        Position p = first;
        for (index_t m = 0, count; m < valid; m += count, advance(p, count)) {  // the pixels that lie in the same row
          count = std::min(valid - m, V - p.v);
          const index_t h = p.u * step.h + row[i], w = p.v * step.w + column[j];
          const bool no_row = h < 0 || h >= H;
          fill_pointers<isa>(r + m, base, offset_in(p, i, j), step.w * pixel, count);
          for (index_t k = 0; k < count && (no_row || w + k * step.w < 0); ++k) r[m + k] = zeros;
          for (index_t k = count; k-- > 0 && w + k * step.w >= W;) r[m + k] = zeros;
        }
        for (index_t m = valid; m < height; ++m) r[m] = zeros;
      }
    return {rows, outs, I * J, run, valid};
  }

 private:
  index_t offset_out(const Position& p) const { return p.n * out_n + p.u * out_u + p.v * out_v; }
  index_t offset_in(const Position& p, index_t i, index_t j) const {
    return ((p.n * H + p.u * step.h + row[i]) * W + p.v * step.w + column[j]) * pixel;
  }
  /// Whether all taps of these pixels of one row lie in the image.
  bool inside(const Position& p, index_t count) const {
    if (taps() == 0) return false;
    const index_t h = p.u * step.h, w = p.v * step.w, last = w + (count - 1) * step.w;
    return h + row.least() >= 0 && h + row.most() < H && w + column.least() >= 0 && last + column.most() < W;
  }
  void advance(Position& p, index_t count) const {
    for (p.v += count; p.v >= V; p.v -= V)
      if (++p.u == U) p.u = 0, ++p.n;
  }
};

/// The product of a gathered image with packed weights: panels of group i begin at b.data + i * group_stride.
template <class T>
void multiply(const Gather<T>& gather, const PackedPanels<T>& b, index_t groups, index_t group_stride) {
  const index_t height = b.tile_height();
  const index_t tiles = (gather.size() + height - 1) / height, panels = b.count();
  const bool merge = gather.merges();
  // A team is a few tiles whose pointers are computed once for all panels, and whose pixels stay in the cache meanwhile.
  const index_t pixels_bytes = height * gather.run * static_cast<index_t>(sizeof(T));
  const index_t team = std::clamp<index_t>((1 << 19) / pixels_bytes, 4, 16);
  const index_t teams = (tiles + team - 1) / team;
  // A task is as many teams as make up for starting it; where that leaves threads idle, it has a part of the panels instead.
  const double team_flops = 2.0 * static_cast<double>(team * height * b.depth) * static_cast<double>(b.columns);
  const index_t grain = std::clamp<index_t>(static_cast<index_t>(4e6 / std::max(team_flops, 1.0)), 1, std::max<index_t>(teams, 1));
  const index_t pieces = (teams + grain - 1) / grain, threads = num_threads();
  const index_t splits =
      std::clamp<index_t>(pieces * groups >= 4 * threads ? 1 : 4 * threads / std::max<index_t>(pieces * groups, 1), 1, panels);
  const index_t panels_each = (panels + splits - 1) / splits;

  const index_t rows_each = team * height * gather.taps() + slack, outs_each = team * height + slack;
  const Scratch<const T*> all_rows(threads * rows_each);
  const Scratch<T*> all_outs(threads * outs_each);
  const Scratch<Tile<T>> all_tiles(threads * team);
  parallel_workers(groups * splits * pieces, [&](index_t task, int worker) {
    const index_t group = task / (splits * pieces), split = task / pieces % splits, piece = task % pieces;
    const index_t first = split * panels_each, last = std::min(panels, first + panels_each);
    const T** rows = all_rows.data() + worker * rows_each;
    T** outs = all_outs.data() + worker * outs_each;
    Tile<T>* list = all_tiles.data() + worker * team;
    PackedPanels<T> mine = b;
    mine.data += group * group_stride;
    if (mine.bias) mine.bias += group * PackedPanels<T>::rounded(b.columns);
    const index_t end = std::min(tiles, (piece + 1) * grain * team);
    Position at = gather.position(piece * grain * team * height);
    for (index_t begin = piece * grain * team; begin < end; begin += team) {
      const index_t count = std::min(team, end - begin);
      with_isa([&](auto isa) SEGNET_INLINE_LAMBDA {
        for (index_t t = 0; t < count; ++t)
          list[t] = gather.template tile<decltype(isa)::value>(at, height, std::min(height, gather.size() - (begin + t) * height),
                                                               group * gather.run, group * b.columns, merge,
                                                               rows + t * height * gather.taps(), outs + t * height);
      });
      multiply_tiles(list, count, mine, first, last, false);
    }
  });
}

/// Biases of all groups, each group rounded up to whole vectors.
template <class T>
void pack_bias(ConstView<T> b, index_t groups, index_t columns, T* to) {
  const index_t rounded = PackedPanels<T>::rounded(columns);
  for (index_t i = 0; i < groups * rounded; ++i) to[i] = i % rounded < columns ? b[i / rounded * columns + i % rounded] : T(0);
}

/// y = b + x * w. See reference::conv2d for the formula.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, ConstView<T> b, View<T> y) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const index_t rounded = PackedPanels<T>::rounded(Og), width = PackedPanels<T>::width(), panels = (Og + width - 1) / width;
  const Scratch<T> packed(g.groups * depth * rounded), bias(b ? g.groups * rounded : 1), zeros(Cg);
  parallel_for(g.groups * panels, std::max<index_t>(1, (1 << 14) / (width * depth)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t group = i / panels, column = i % panels * width;
      pack_panel_transposed(&w[(group * Og + column) * depth], depth, depth, std::min(width, Og - column),
                            std::min(width, rounded - column), packed.data() + (group * rounded + column) * depth);
    }
  });
  if (b) pack_bias(b, g.groups, Og, bias.data());
  std::fill_n(zeros.data(), Cg, T(0));

  Gather<T> gather{.source = x.data,
                   .H = g.H,
                   .W = g.W,
                   .pixel = g.C,
                   .run = Cg,
                   .N = g.N,
                   .U = g.OH,
                   .V = g.OW,
                   .step = g.stride,
                   .row = {},
                   .column = {},
                   .out = y.data,
                   .out_n = g.OH * g.OW * g.O,
                   .out_u = g.OW * g.O,
                   .out_v = g.O,
                   .zeros = zeros.data()};
  for (index_t ki = 0; ki < g.kh; ++ki) gather.row.push_back(g.input_row(0, ki));
  for (index_t kj = 0; kj < g.kw; ++kj) gather.column.push_back(g.input_column(0, kj));
  gather.flatten();
  multiply(gather, PackedPanels<T>{packed.data(), b ? bias.data() : nullptr, depth, Og, Og <= PackedPanels<T>::lanes()}, g.groups,
           depth * rounded);
}

/// dx = b + dy * w^T. See reference::conv2d_grad_input for the formula.
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, ConstView<T> b, View<T> dx) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs();
  const index_t rounded = PackedPanels<T>::rounded(Cg), width = PackedPanels<T>::width(), panels = (Cg + width - 1) / width;
  const Scratch<T> packed(g.groups * g.taps() * Og * rounded), bias(b ? g.groups * rounded : 1), zeros(Og);
  if (b) pack_bias(b, g.groups, Cg, bias.data());
  std::fill_n(zeros.data(), Og, T(0));

  // Rows h = phase + u * stride of dx read row u + offset of dy through the taps for which the division leaves no rest.
  const auto taps_of = [](index_t phase, index_t padding, index_t dilation, index_t stride, index_t kernel, Offsets& taps,
                          Offsets& offsets) {
    for (index_t k = kernel; k-- > 0;)  // so that offsets rise
      if (const index_t t = phase + padding - k * dilation; t % stride == 0) {
        taps.push_back(k);
        offsets.push_back(t / stride);
      }
  };
  for (index_t phase = 0; phase < g.stride.h * g.stride.w; ++phase) {
    const index_t h = phase / g.stride.w, v = phase % g.stride.w;
    if (h >= g.H || v >= g.W) continue;
    Gather<T> gather{.source = dy.data,
                     .H = g.OH,
                     .W = g.OW,
                     .pixel = g.O,
                     .run = Og,
                     .N = g.N,
                     .U = (g.H - h + g.stride.h - 1) / g.stride.h,
                     .V = (g.W - v + g.stride.w - 1) / g.stride.w,
                     .step = 1,
                     .row = {},
                     .column = {},
                     .out = dx.data + (h * g.W + v) * g.C,
                     .out_n = g.H * g.W * g.C,
                     .out_u = g.stride.h * g.W * g.C,
                     .out_v = g.stride.w * g.C,
                     .zeros = zeros.data()};
    Offsets kis, kjs;
    taps_of(h, g.padding.h, g.dilation.h, g.stride.h, g.kh, kis, gather.row);
    taps_of(v, g.padding.w, g.dilation.w, g.stride.w, g.kw, kjs, gather.column);
    gather.flatten();
    const index_t taps = gather.taps(), depth = taps * Og;
    parallel_for(g.groups * panels, std::max<index_t>(1, (1 << 16) / (width * depth + 1)), [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t group = i / panels, column = i % panels * width, padded = std::min(width, rounded - column);
        for (index_t t = 0; t < taps; ++t) {
          const index_t ki = kis[t / kjs.size()], kj = kjs[t % kjs.size()];
          pack_panel(&w[(group * Og * g.taps() + ki * g.kw + kj) * Cg + column], g.taps() * Cg, Og, std::min(width, Cg - column), padded,
                     packed.data() + (group * rounded + column) * depth + t * Og * padded);
        }
      }
    });
    multiply(gather, PackedPanels<T>{packed.data(), b ? bias.data() : nullptr, depth, Cg, Cg <= PackedPanels<T>::lanes()}, g.groups,
             depth * rounded);
  }
}

}  // namespace segnet::kernels::implicit_gemm
