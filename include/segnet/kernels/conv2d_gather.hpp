// Where convolutions read: for every output pixel and tap a pointer to the input pixel, or to zeros outside of the image.
//
// The gradient to the input is the same question with dy as the image: for stride s it falls into s.h * s.w smaller
// convolutions, one per phase of the input pixel, each with the taps that reach that phase, so no zero is ever multiplied.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_blocks.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels {

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
constexpr index_t pointer_slack = 8;

/// A list of numbers that rise or fall all the way: where the rows, or columns, of a kernel read.
class Offsets {
 public:
  Offsets() = default;
  explicit Offsets(std::vector<index_t> values) : values_(std::move(values)) {}
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
  Extent2 block = 1;            // output pixels of a pixel of the lattice, from [N, out_H, out_W, out_C]; else 1 x 1
  index_t out_H = 0, out_W = 0, out_C = 0;

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

  /// Whether pixels of a tile lie whole pages apart, and so compete for the same few lines of the first-level cache.
  bool competes() const { return step.w * pixel * static_cast<index_t>(sizeof(T)) % 4096 == 0; }

  Position position(index_t p) const { return {p / (U * V), p / V % U, p % V}; }

  /// Pointers for the `height` pixels from `at` on, of which `valid` exist, written to rows [taps][height] and outs [height].
  /// Both have room for `pointer_slack` more, since vectors of pointers are stored whole. Moves `at` to the pixel behind. Where taps that
  /// read only zeros may be skipped, theirs begin with null.
  template <Isa isa>
  SEGNET_INLINE Tile<T> tile(Position& at, index_t height, index_t valid, index_t source_channel, index_t out_channel, bool merge,
                             const T** rows, T** outs, bool skip = false) const {
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
        bool reads = false;
        for (index_t m = 0, count; m < valid; m += count, advance(p, count)) {  // the pixels that lie in the same row
          count = std::min(valid - m, V - p.v);
          const index_t h = p.u * step.h + row[i], w = p.v * step.w + column[j];
          index_t left = 0, right = h < 0 || h >= H ? 0 : count;
          while (left < right && w + left * step.w < 0) ++left;
          while (left < right && w + (right - 1) * step.w >= W) --right;
          fill_pointers<isa>(r + m, base, offset_in(p, i, j), step.w * pixel, count);
          for (index_t k = 0; k < left; ++k) r[m + k] = zeros;
          for (index_t k = right; k < count; ++k) r[m + k] = zeros;
          reads |= left < right;
        }
        for (index_t m = valid; m < height; ++m) r[m] = zeros;
        if (skip && !reads) *r = nullptr;
      }
    return {rows, outs, I * J, run, valid};
  }

  /// Writes blocks [count][block.h][block.w][out_C], as far as they lie in the output, for the pixels from `at` on.
  void store_blocks(Position at, index_t count, const T* blocks) const {
    for (index_t m = 0; m < count; ++m, advance(at, 1)) {
      const index_t h = at.u * block.h, w = at.v * block.w, width = std::min(block.w, out_W - w) * out_C;
      for (index_t i = 0; i < block.h; ++i, blocks += block.w * out_C)
        if (h + i < out_H) std::copy_n(blocks, width, out + ((at.n * out_H + h + i) * out_W + w) * out_C);
    }
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

/// What conv2d gathers for one group: x under the taps of y's pixels. `zeros` [C / groups].
template <class T>
Gather<T> forward_gather(const ConvGeometry& g, const T* x, T* y, const T* zeros) {
  Gather<T> gather{.source = x,
                   .H = g.H,
                   .W = g.W,
                   .pixel = g.C,
                   .run = g.group_inputs(),
                   .N = g.N,
                   .U = g.OH,
                   .V = g.OW,
                   .step = g.stride,
                   .row = {},
                   .column = {},
                   .out = y,
                   .out_n = g.OH * g.OW * g.O,
                   .out_u = g.OW * g.O,
                   .out_v = g.O,
                   .zeros = zeros};
  for (index_t ki = 0; ki < g.kh; ++ki) gather.row.push_back(g.input_row(0, ki));
  for (index_t kj = 0; kj < g.kw; ++kj) gather.column.push_back(g.input_column(0, kj));
  gather.flatten();
  return gather;
}

/// What the gradient to x gathers: calls f(gather, kis, kjs) for every phase, with the kernel's rows and columns that its taps are.
/// `zeros` [O / groups].
template <class T, class F>
void for_each_phase(const ConvGeometry& g, const T* dy, T* dx, const T* zeros, const F& f) {
  // Rows h = phase + u * stride of dx read row u + offset of dy through the taps for which the division leaves no rest.
  const auto taps_of = [](index_t phase, index_t padding, index_t dilation, index_t stride, index_t kernel, Offsets& taps,
                          Offsets& offsets) {
    for (index_t k = kernel; k-- > 0;)  // so that offsets rise
      if (const index_t t = phase + padding - k * dilation; t % stride == 0) {
        taps.push_back(k);
        offsets.push_back(t / stride);
      }
  };
  for (index_t h = 0; h < std::min(g.stride.h, g.H); ++h)
    for (index_t v = 0; v < std::min(g.stride.w, g.W); ++v) {
      Gather<T> gather{.source = dy,
                       .H = g.OH,
                       .W = g.OW,
                       .pixel = g.O,
                       .run = g.group_outputs(),
                       .N = g.N,
                       .U = (g.H - h + g.stride.h - 1) / g.stride.h,
                       .V = (g.W - v + g.stride.w - 1) / g.stride.w,
                       .step = 1,
                       .row = {},
                       .column = {},
                       .out = dx + (h * g.W + v) * g.C,
                       .out_n = g.H * g.W * g.C,
                       .out_u = g.stride.h * g.W * g.C,
                       .out_v = g.stride.w * g.C,
                       .zeros = zeros};
      Offsets kis, kjs;
      taps_of(h, g.padding.h, g.dilation.h, g.stride.h, g.kh, kis, gather.row);
      taps_of(v, g.padding.w, g.dilation.w, g.stride.w, g.kw, kjs, gather.column);
      gather.flatten();
      f(gather, kis, kjs);
    }
}

/// What both gather in blocks: x for y, or `back` dy for dx. `zeros` has the source's channels.
template <class T>
Gather<T> block_gather(const ConvGeometry& g, bool back, const BlockAxis& rows, const BlockAxis& columns, const T* source, T* out,
                       const T* zeros) {
  const index_t H = back ? g.H : g.OH, W = back ? g.W : g.OW, C = back ? g.C : g.O;
  return {.source = source,
          .H = back ? g.OH : g.H,
          .W = back ? g.OW : g.W,
          .pixel = back ? g.O : g.C,
          .run = back ? g.O : g.C,
          .N = g.N,
          .U = (H + rows.size - 1) / rows.size,
          .V = (W + columns.size - 1) / columns.size,
          .step = {rows.step, columns.step},
          .row = Offsets(rows.offsets()),
          .column = Offsets(columns.offsets()),
          .out = out,
          .out_n = 0,
          .out_u = 0,
          .out_v = 0,
          .zeros = zeros,
          .block = {rows.size, columns.size},
          .out_H = H,
          .out_W = W,
          .out_C = C};
}

}  // namespace segnet::kernels
