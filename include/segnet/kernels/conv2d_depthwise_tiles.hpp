// How depth-wise convolution walks over an image: tiles of pixels, and where their taps read.
//
// A tile is a few pixels in each of several rows, so that a pixel which many taps read comes from the nearest cache. Where what a tile
// reads hangs over the edge of the image, it is copied beside zeros first, and one loop serves all tiles.
#pragma once

#include "segnet/kernels/conv2d_gather.hpp"

namespace segnet::kernels::depthwise::inline SEGNET_LAYOUT {

/// A tile has tile_rows x tile_columns(isa) pixels: half of the registers hold their sums, the others weights and what is read.
constexpr int tile_rows = 4;
[[nodiscard]] constexpr int tile_columns(Isa isa) { return isa == Isa::avx512 ? 4 : 2; }

/// Elements from one row of channels to the next in scratch memory: whole vectors, and one more, so that rows whose length is a power of
/// two do not meet in the same few lines of the cache.
template <class T>
[[nodiscard]] index_t pitch(index_t channels) {
  constexpr index_t lanes = 64 / static_cast<index_t>(sizeof(T));
  return (channels + lanes - 1) / lanes * lanes + lanes;
}

/// Calls f(c, known) so that vectors from c on cover [0, channels). The last one may overlap the one before: its first `known` lanes
/// are those. Where there are fewer channels than lanes, the only vector reaches beyond them.
template <index_t lanes, class F>
SEGNET_INLINE void for_vectors(index_t channels, const F& f) {
  for (index_t c = 0, known = 0;;) {
    f(c, known);
    const index_t next = c + lanes;
    if (next >= channels) return;
    c = std::min(next, channels - lanes);
    known = next - c;
  }
}

/// Pixels of a tile: (r, m) lies at base + r * row + m * column.
template <class T>
struct Pixels {
  T* base;
  index_t row, column;
  SEGNET_INLINE T* operator()(int r, int m) const { return base + (r * row + m * column); }
};

/// What the taps of a tile read: tap t the pixels that lie offsets[t] behind these.
template <class T>
struct Window {
  Pixels<const T> pixels;
  const index_t* offsets;
};

/// Channels in blocks, the last of which takes the rest. A long row of channels is read faster than several short ones.
struct Blocks {
  index_t channels, width = 256, count = std::max<index_t>(channels / width, 1);
  index_t begin(index_t block) const { return block * width; }
  index_t size(index_t block) const { return block + 1 == count ? channels - begin(block) : width; }
  index_t most() const { return size(count - 1); }
};

/// The rows, or columns, that a window copies.
struct Reach {
  std::vector<index_t> source;  ///< where each lies in the image, from where the tile does
  std::vector<index_t> first;   ///< for each tap that which the tile's first pixel reads
  index_t step = 1;             ///< from one pixel of the tile to the next

  Reach(const Offsets& taps, index_t stride, index_t extent) {
    if (taps.size() == 0) return;
    const index_t span = taps.most() - taps.least() + (extent - 1) * stride + 1;
    if (span <= taps.size() * extent) {
      step = stride;
      for (index_t i = 0; i < span; ++i) source.push_back(taps.least() + i);
      for (index_t t = 0; t < taps.size(); ++t) first.push_back(taps[t] - taps.least());
      return;
    }
    for (index_t t = 0; t < taps.size(); ++t) {  // far apart: for each tap its own
      first.push_back(t * extent);
      for (index_t k = 0; k < extent; ++k) source.push_back(taps[t] + k * stride);
    }
  }
  index_t size() const { return static_cast<index_t>(source.size()); }
};

/// The lattice of a gather in tiles; in lines as long where it has fewer rows than a tile. Rows of tiles are called bands.
template <class T>
struct Tiles {
  const Gather<T>& gather;
  Blocks blocks;
  index_t columns = tile_columns(current_isa()), pixels = tile_rows * columns;
  index_t height = gather.U < tile_rows ? 1 : tile_rows, width = pixels / height;
  index_t image_bands = (gather.U + height - 1) / height, bands = gather.N * image_bands;
  Reach rows{gather.row, gather.step.h, height}, cols{gather.column, gather.step.w, width};
  index_t pixel = pitch<T>(blocks.most());  ///< of a copy
  std::vector<index_t> inner, copied;       ///< offsets of the taps: in the image, in a copy
  index_t run = 1;                          ///< taps that read pixels side by side, if there is a loop for so many: 1, 3 or 5

  Tiles(const Gather<T>& g, index_t channels) : gather(g), blocks{channels} {
    const index_t I = g.row.size(), J = g.column.size();
    for (index_t i = 0; i < I; ++i)
      for (index_t j = 0; j < J; ++j) {
        inner.push_back(((g.row[i] - g.row.least()) * g.W + g.column[j] - g.column.least()) * g.pixel);
        copied.push_back((rows.first[static_cast<std::size_t>(i)] * cols.size() + cols.first[static_cast<std::size_t>(j)]) * pixel);
      }
    if (specialized && (J == 3 || J == 5) && g.step.w == 1 && g.column.most() - g.column.least() == J - 1) run = J;
  }

  /// The tile's pixels in memory where rows and columns of the lattice lie that far apart.
  template <class U>
  SEGNET_INLINE Pixels<U> layout(U* base, index_t row, index_t column) const {
    return {base, height == 1 ? columns * column : row, column};
  }
  unsigned all_valid() const { return (1u << pixels) - 1; }

  /// Elements of scratch memory for each thread: a window, and behind it a tile.
  index_t window_size() const { return rows.size() * cols.size() * pixel; }
  index_t room() const { return window_size() + pixels * pixel; }

  /// Copies the channels of a pixel, and zeros up to whole vectors; zeros alone if `from` is null.
  template <Isa isa>
  SEGNET_INLINE void copy(const T* from, index_t channels, T* to) const {
    using S = Simd<T, isa>;
    const bool narrow = channels < S::lanes;
    if (!from || narrow)
      for (index_t c = 0; c < channels; c += S::lanes) S::at(to + c) = typename S::Vector{};
    if (!from) return;
    if (narrow)
      for (index_t c = 0; c < channels; ++c) to[c] = from[c];
    else for_vectors<S::lanes>(channels, [&](index_t c, index_t) SEGNET_INLINE_LAMBDA { S::at(to + c) = S::load(from + c); });
  }

  /// Calls f(window, offset, valid) for the tiles of a band, on one block of channels. `offset` is that of the tile in `out`, bit k of
  /// `valid` whether pixel k counts: the last tile of a row or column overlaps the one before, or reaches beyond the lattice.
  template <Isa isa, class F>
  SEGNET_INLINE void for_each(index_t band, index_t block, T* room, const F& f) const {
    const Gather<T>& g = gather;
    const bool taps = !inner.empty();
    const index_t channel = blocks.begin(block), channels = blocks.size(block);
    const index_t n = band / image_bands, first_u = band % image_bands * height, u = std::min(first_u, g.U - height), h = u * g.step.h;
    const index_t top = h + (taps ? g.row.least() : 0), bottom = h + (height - 1) * g.step.h + (taps ? g.row.most() : 0);
    const bool whole = channels >= Simd<T, isa>::lanes && g.V >= width && top >= 0 && bottom < g.H;
    for (index_t first_v = 0; first_v < g.V; first_v += width) {
      const index_t v = std::max<index_t>(0, std::min(first_v, g.V - width)), w = v * g.step.w;
      const index_t left = w + (taps ? g.column.least() : 0), right = w + (width - 1) * g.step.w + (taps ? g.column.most() : 0);
      Window<T> window;
      if (whole && left >= 0 && right < g.W) {
        const T* first = g.source + (((n * g.H + top) * g.W + left) * g.pixel + channel);
        window = {layout(first, g.step.h * g.W * g.pixel, g.step.w * g.pixel), inner.data()};
      } else {
        T* to = room;
        for (const index_t row : rows.source)
          for (const index_t column : cols.source) {
            const index_t y = h + row, x = w + column;
            const bool inside = y >= 0 && y < g.H && x >= 0 && x < g.W;
            copy<isa>(inside ? g.source + (((n * g.H + y) * g.W + x) * g.pixel + channel) : nullptr, channels, to);
            to += pixel;
          }
        window = {layout<const T>(room, rows.step * cols.size() * pixel, cols.step * pixel), copied.data()};
      }
      unsigned valid = all_valid();
      if (u != first_u || v != first_v || g.V < width)
        for (index_t k = 0; k < pixels; ++k)
          if (u + k / width < first_u || v + k % width < first_v || v + k % width >= g.V) valid &= ~(1u << k);
      f(window, n * g.out_n + u * g.out_u + v * g.out_v + channel, valid);
    }
  }
};

/// Calls f(piece, block, first band, last band, room) for every block of channels of every `bands_each` bands.
template <class T, class F>
void for_each_piece(const Tiles<T>& tiles, index_t bands_each, const F& f) {
  const index_t pieces = (tiles.bands + bands_each - 1) / bands_each;
  const Scratch<T> rooms(num_threads() * tiles.room());
  parallel_workers(pieces * tiles.blocks.count, [&](index_t task, int worker) {
    const index_t piece = task / tiles.blocks.count, begin = piece * bands_each;
    f(piece, task % tiles.blocks.count, begin, std::min(tiles.bands, begin + bands_each), rooms.data() + worker * tiles.room());
  });
}

}  // namespace segnet::kernels::depthwise::inline SEGNET_LAYOUT
