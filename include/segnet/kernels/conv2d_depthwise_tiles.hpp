// How depth-wise convolution walks over an image: tiles of pixels, and where their taps read.
//
// A tile is a few pixels in each of several rows, so that a pixel which many taps read is loaded once or comes from the nearest cache. It
// reads through a table of pointers to pixels, those beyond the edge of the image to zeros, and one loop serves all tiles.
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

/// What the taps of a tile read: tap t of the tile's pixel (r, m) the pixel at pointers[offsets[t] + r * row + m * column].
template <class T>
struct Window {
  const T* const* pointers;
  const index_t* offsets;
  index_t row, column;
};

/// Memory of a thread: the pointers of a window, and copies of pixels with fewer channels than a vector has lanes.
template <class T>
struct Room {
  const T** pointers;
  T* copies;
};

/// Channels in blocks, the last of which takes the rest. A long row of channels is read faster than several short ones.
struct Blocks {
  index_t channels, width = 256, count = std::max<index_t>(channels / width, 1);
  index_t begin(index_t block) const { return block * width; }
  index_t size(index_t block) const { return block + 1 == count ? channels - begin(block) : width; }
  index_t most() const { return size(count - 1); }
};

/// The rows, or columns, of a window.
struct Reach {
  std::vector<index_t> source;  ///< where each lies in the image, from where the tile does; behind them `pointer_slack` more
  index_t size = 0;
  std::vector<index_t> first;  ///< for each tap that which the tile's first pixel reads
  index_t step = 1;            ///< from one pixel of the tile to the next

  Reach(const Offsets& taps, index_t stride, index_t extent) {
    if (taps.size() > 0) fill(taps, stride, extent);
    size = static_cast<index_t>(source.size());
    source.resize(source.size() + pointer_slack);
  }

 private:
  void fill(const Offsets& taps, index_t stride, index_t extent) {
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
  index_t pixel = pitch<T>(Simd<T, Isa::avx512>::lanes);                           ///< of a copy
  index_t line = (cols.size + pointer_slack - 1) / pointer_slack * pointer_slack;  ///< of pointers, for a row of the window
  Scratch<T> zeros{pitch<T>(blocks.most())};
  std::vector<index_t> offsets;  ///< of the taps in a window
  index_t run = 1;               ///< taps that read pixels side by side, if there is a loop for so many: 1, 3, 5 or 7
  bool square = false;           ///< whether they are three, in three rows that lie side by side

  Tiles(const Gather<T>& g, index_t channels) : gather(g), blocks{channels} {
    const index_t I = g.row.size(), J = g.column.size();
    for (index_t i = 0; i < I; ++i)
      for (index_t j = 0; j < J; ++j) {
        offsets.push_back(rows.first[static_cast<std::size_t>(i)] * line + cols.first[static_cast<std::size_t>(j)]);
      }
    std::fill_n(zeros.data(), pitch<T>(blocks.most()), T(0));
    if (specialized && (J == 3 || J == 5 || J == 7) && g.step.w == 1 && g.column.most() - g.column.least() == J - 1) run = J;
    square = run == 3 && I == 3 && height > 1 && g.step.h == 1 && g.row.most() - g.row.least() == 2;
  }

  /// The tile's pixels in memory where rows and columns of the lattice lie that far apart.
  template <class U>
  SEGNET_INLINE Pixels<U> layout(U* base, index_t row, index_t column) const {
    return {base, height == 1 ? columns * column : row, column};
  }
  unsigned all_valid() const { return (1u << pixels) - 1; }

  /// Scratch memory for each thread: pointers; elements of a window and behind it a tile.
  index_t pointers() const { return rows.size * line; }
  index_t window_size() const { return rows.size * cols.size * pixel; }
  index_t room() const { return window_size() + pixels * pixel; }

  /// Points at the pixels that lie at (rows.source, cols.source) from (h, w) in image n, or at zeros.
  template <Isa isa>
  SEGNET_INLINE void point(index_t n, index_t h, index_t w, index_t channel, const T** to) const {
    using S = Simd<index_t, isa>;
    using V = typename S::Vector;
    constexpr index_t size = sizeof(T);
    const index_t none = reinterpret_cast<index_t>(zeros.data());
    for (index_t i = 0; i < rows.size; ++i, to += line) {
      const index_t y = h + rows.source[static_cast<std::size_t>(i)], row = y | (gather.H - 1 - y);
      const index_t first = reinterpret_cast<index_t>(gather.source) + ((n * gather.H + y) * gather.W * gather.pixel + channel) * size;
      for (index_t k = 0; k < cols.size; k += S::lanes) {
        const V x = S::load(cols.source.data() + k) + w, pixel_x = x * (gather.pixel * size) + first;
        const V outside = (x | (gather.W - 1 - x) | row) >> 63;  // all bits, or none: compilers make a mess of comparisons
        S::at(reinterpret_cast<index_t*>(to + k)) = pixel_x ^ ((pixel_x ^ none) & outside);
      }
    }
  }

  /// Copies the channels of a pixel, fewer than a vector's lanes, with zeros behind them, and returns the copy.
  const T* copy(const T* from, index_t channels, T* to) const {
    std::fill_n(std::copy_n(from, channels, to), pixel - channels, T(0));
    return to;
  }

  /// Calls f(window, offset, valid) for the tiles of a band, on one block of channels. `offset` is that of the tile in `out`, bit k of
  /// `valid` whether pixel k counts: the last tile of a row or column overlaps the one before, or reaches beyond the lattice.
  template <Isa isa, class F>
  SEGNET_INLINE void for_each(index_t band, index_t block, const Room<T>& room, const F& f) const {
    const Gather<T>& g = gather;
    const index_t channel = blocks.begin(block), channels = blocks.size(block);
    const index_t n = band / image_bands, first_u = band % image_bands * height, u = std::max<index_t>(0, std::min(first_u, g.U - height));
    const Window<T> window{room.pointers, offsets.data(), height == 1 ? columns * cols.step : rows.step * line, cols.step};
    for (index_t first_v = 0; first_v < g.V; first_v += width) {
      const index_t v = std::max<index_t>(0, std::min(first_v, g.V - width));
      point<isa>(n, u * g.step.h, v * g.step.w, channel, room.pointers);
      if (channels < Simd<T, isa>::lanes) {
        T* to = room.copies;
        for (index_t i = 0; i < rows.size; ++i)
          for (index_t j = 0; j < cols.size; ++j, to += pixel) {
            const T*& from = room.pointers[i * line + j];
            if (from != zeros.data()) from = copy(from, channels, to);
          }
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
  const Scratch<T> copies(num_threads() * tiles.room());
  const Scratch<const T*> pointers(num_threads() * tiles.pointers());
  parallel_workers(pieces * tiles.blocks.count, [&](index_t task, int worker) {
    const index_t piece = task / tiles.blocks.count, begin = piece * bands_each;
    f(piece, task % tiles.blocks.count, begin, std::min(tiles.bands, begin + bands_each),
      Room<T>{pointers.data() + worker * tiles.pointers(), copies.data() + worker * tiles.room()});
  });
}

}  // namespace segnet::kernels::depthwise::inline SEGNET_LAYOUT
