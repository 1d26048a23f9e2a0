// The register tile at the heart of every matrix product here: convolutions, matmul, linear.
//
// A tile is `rows` x (1 or 2 vectors) of the result, held in registers while the depth runs past. The left operand is read
// through row pointers, so a row may be a row of a matrix, or the patch of an image under a convolution kernel (Dukhan, "The
// indirect convolution algorithm", arXiv:1907.02129). The right operand is packed into panels, one vector or two wide.
#pragma once

#include <type_traits>
#include <vector>

#include "segnet/core/memory.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/kernels/conv2d_epilogue.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::kernels::inline SEGNET_LAYOUT {

/// Uninitialised, aligned scratch memory from the caching allocator.
template <class T>
class Scratch {
 public:
  explicit Scratch(index_t count) : buffer_(static_cast<std::size_t>(count) * sizeof(T), true) {}
  T* data() const { return static_cast<T*>(buffer_.data()); }

 private:
  segnet::detail::Buffer<Cpu> buffer_;
};

/// Rows of a tile whose result is two vectors wide; twice as many when it is one wide. Most registers are accumulators: 24 of
/// 32 with AVX-512, 12 of 16 otherwise.
[[nodiscard]] constexpr int tile_rows(Isa isa) { return isa == Isa::avx512 ? 12 : 6; }

/// What a tile multiplies and where the result goes.
template <class T>
struct Tile {
  const T* const* rows;  ///< [taps][MR]: run elements each, MR being the height of the tile; a tap that reads only zeros begins with null
  T* const* out;         ///< [MR]: where the columns of each row begin; the first `valid` are written
  index_t taps, run;
  index_t valid;
};

/// The right operand [depth, columns], packed for tiles: panel after panel of [depth][width], the columns rounded up to whole
/// vectors with zeros.
template <class T>
struct PackedPanels {
  const T* data;
  const T* bias;  ///< [columns rounded up], or nullptr
  index_t depth, columns;
  bool narrow;                               ///< tiles are one vector wide and twice as high; only where one vector holds all columns
  Activation activation = Activation::none;  ///< of the finished sums, after the residual was added to them
  const T* residual = nullptr;               ///< of the shape of the result, which begins at `result`; or nullptr
  const T* result = nullptr;

  /// The residual that belongs to a place in the result.
  const T* residual_of(const T* place) const { return residual ? residual + (place - result) : nullptr; }

  static index_t lanes() { return vector_bytes(current_isa()) / static_cast<index_t>(sizeof(T)); }
  static index_t width() { return 2 * lanes(); }
  static index_t rounded(index_t columns) { return (columns + lanes() - 1) / lanes() * lanes(); }
  index_t count() const { return (columns + width() - 1) / width(); }
  index_t tile_height() const { return tile_rows(current_isa()) * (narrow ? 2 : 1); }
  /// Whether tiles take little longer to compute than to write; see multiply_shallow_tiles. All panels stay in the cache.
  bool shallow() const {
    return current_isa() == Isa::avx512 && depth <= 128 && depth * columns <= (1 << 15) && (columns + width() - 1) % width() >= lanes();
  }
};

/// to[k * width + j] = b[k * stride + j] * scale[j], zero from `columns` on; `scale` may be null.
template <class T>
void pack_panel(const T* b, index_t stride, index_t depth, index_t columns, index_t width, T* to, const T* scale = nullptr) {
  constexpr index_t ahead = 16;  // rows far apart are not foreseen by the processor
  for (index_t k = 0; k < depth; ++k, to += width, b += stride) {
    if (k + ahead < depth) {
      __builtin_prefetch(b + ahead * stride);
      __builtin_prefetch(b + ahead * stride + columns - 1);
    }
    if (scale)
      for (index_t j = 0; j < columns; ++j) to[j] = b[j] * scale[j];
    else
      for (index_t j = 0; j < columns; ++j) to[j] = b[j];
    for (index_t j = columns; j < width; ++j) to[j] = 0;
  }
}

/// to[k * width + j] = b[j * stride + k] * scale[j], zero from `columns` on: the packed operand is the transpose of b. Squares of as many
/// rows as a vector has lanes are turned over in registers.
template <class T>
void pack_panel_transposed(const T* b, index_t stride, index_t depth, index_t columns, index_t width, T* to, const T* scale = nullptr) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = Simd<T, decltype(isa)::value>;
    constexpr index_t lanes = S::lanes;
    const auto one_by_one = [&](index_t j0, index_t j1, index_t k0, index_t k1) {
      for (index_t j = j0; j < j1; ++j)
        for (index_t k = k0; k < k1; ++k)
          to[k * width + j] = j >= columns ? T(0) : scale ? b[j * stride + k] * scale[j] : b[j * stride + k];
    };
    const index_t whole_depth = depth - depth % lanes, whole_columns = columns - columns % lanes;
    for (index_t k = 0; k < whole_depth; k += lanes) {
      for (index_t j = 0; j < whole_columns; j += lanes) {
        typename S::Vector v[lanes];
        SEGNET_UNROLL for (index_t i = 0; i < lanes; ++i) v[i] = S::load(b + (j + i) * stride + k);
        detail::transpose_registers<S>(v);
        if (scale) {
          SEGNET_UNROLL for (index_t i = 0; i < lanes; ++i) v[i] *= S::load(scale + j);
        }
        SEGNET_UNROLL for (index_t i = 0; i < lanes; ++i) S::at(to + (k + i) * width + j) = v[i];
      }
      one_by_one(whole_columns, width, k, k + lanes);
    }
    one_by_one(0, width, whole_depth, depth);
  });
}

/// acc[m][n] += sum over taps t and k < run of rows[t][m][k * step] * panel[t * run + k][n]. Calls meanwhile() again and again.
template <Isa isa, int MR, int NV, int step, class T, class Meanwhile>
SEGNET_INLINE void accumulate_tile(typename Simd<T, isa>::Vector (&acc)[MR][NV], const T* const* rows, index_t taps, index_t run,
                                   const T* panel, Meanwhile meanwhile) {
  using S = Simd<T, isa>;
  constexpr int ahead = 14;  // vectors: a panel comes out of the second-level cache
  const auto steps = [&]<int count>(std::integral_constant<int, count>, const T* const* row, index_t k) SEGNET_INLINE_LAMBDA {
    typename S::Vector b[count * NV];
    SEGNET_UNROLL for (int n = 0; n < count * NV; ++n) b[n] = S::load(panel + n * S::lanes);
    panel += count * NV * S::lanes;
    SEGNET_UNROLL for (int n = 0; n < count * NV; ++n) if (n * vector_bytes(isa) % 64 == 0)
        __builtin_prefetch(panel + (ahead + n) * S::lanes);
    SEGNET_UNROLL for (int m = 0; m < MR; ++m) {
      const T* a = row[m] + k * step;
      SEGNET_UNROLL for (int n = 0; n < count * NV; ++n) acc[m][n % NV] += a[n / NV * step] * b[n];
    }
  };
  // There are fewer registers for pointers than rows. Several steps at once share the fetches, as far as their vectors have room.
  constexpr int unroll = step != 1 ? 1 : isa == Isa::avx512 ? 4 / NV : NV == 1 ? 2 : 1;
  for (index_t t = 0; t < taps; ++t, rows += MR) {
    if (!*rows) {
      panel += run * NV * S::lanes;
      continue;
    }
    index_t k = 0;
    for (; k + unroll <= run; k += unroll) {
      meanwhile();
      steps(std::integral_constant<int, unroll>{}, rows, k);
    }
    if constexpr (unroll > 1)
      for (; k < run; ++k) steps(std::integral_constant<int, 1>{}, rows, k);
  }
}

/// Writes rows of a finished tile that need care: fewer than all of them, or fewer columns than vectors hold.
template <Isa isa, int NV, class T>
SEGNET_INLINE void store_rows(const Tile<T>& tile, const T* result, index_t column, index_t columns) {
  using S = Simd<T, isa>;
  // Where rows lie one behind the other, a whole vector may run over into the next ones, which are written after it.
  const bool dense = tile.out[tile.valid - 1] - tile.out[0] == (tile.valid - 1) * columns;
  for (index_t m = 0; m < tile.valid; ++m)
    for (index_t n = 0; n < NV; ++n, result += S::lanes) {
      T* to = tile.out[m] + column + n * S::lanes;
      const index_t left = columns - n * S::lanes;
      if (left >= S::lanes || (dense && left > 0 && (tile.valid - 1 - m) * columns >= S::lanes - left)) S::at(to) = S::load(result);
      else if (left > 0) S::store_partial(to, result, left);
    }
}

/// Adds the residual to the rows of such a tile, and activates them.
template <Isa isa, int NV, class T>
SEGNET_INLINE void activate_rows(const Tile<T>& tile, const PackedPanels<T>& b, index_t column, index_t columns, T* sums) {
  using S = Simd<T, isa>;
  constexpr index_t width = NV * S::lanes;
  T residual[width] = {};
  for (index_t m = 0; m < tile.valid; ++m, sums += width) {
    if (b.residual) std::copy_n(b.residual_of(tile.out[m] + column), std::min(columns, width), residual);
    typename S::Vector v[NV];
    SEGNET_UNROLL for (int n = 0; n < NV; ++n) v[n] = S::load(sums + n * S::lanes);
    activate<S>(b.activation, residual, v);
    SEGNET_UNROLL for (int n = 0; n < NV; ++n) S::at(sums + n * S::lanes) = v[n];
  }
}

/// What a tile does besides.
struct Nothing {
  SEGNET_INLINE void operator()() const {}
};

/// Fetches rows that will be written next, and their residual, one at a time: all at once they occupy every buffer between the caches,
/// and the tile waits.
template <class T>
struct FetchRows {
  T *const *row, *const *end;
  index_t column;
  const PackedPanels<T>& panels;
  SEGNET_INLINE void operator()() {
    if (row == end) return;
    constexpr index_t line = 64 / sizeof(T);
    const T* place = *row++ + column;
    __builtin_prefetch(place, 1);
    __builtin_prefetch(place + line, 1);
    if (!panels.residual) return;
    __builtin_prefetch(panels.residual_of(place));
    __builtin_prefetch(panels.residual_of(place) + line);
  }
};

/// One tile: out[m][j] = activation(bias[j] + sum_k rows[m][k] * b[k][j] + residual[m][j]) for one or two vectors of columns j from
/// `column` on; or a part of the sum, over taps [from, to), the first of which begins with the bias, and each other, or each if `add`, with
/// what is there.
template <Isa isa, int MR, int NV, int step, class T, class Meanwhile>
SEGNET_INLINE void multiply_tile(const Tile<T>& tile, const PackedPanels<T>& b, index_t column, index_t columns, index_t from, index_t to,
                                 bool add, Meanwhile meanwhile) {
  using S = Simd<T, isa>;
  constexpr index_t width = NV * S::lanes;
  const T* bias = b.bias && from == 0 ? b.bias + column : nullptr;
  const bool last = to == tile.taps, residual = b.residual && last, activates = b.activation != Activation::none && last;
  typename S::Vector acc[MR][NV];
  SEGNET_UNROLL for (int n = 0; n < NV; ++n) {
    const typename S::Vector first = bias ? S::load(bias + n * S::lanes) : typename S::Vector{};
    SEGNET_UNROLL for (int m = 0; m < MR; ++m) acc[m][n] = first;
  }
  if (add || from > 0) {
    T there[MR * width] = {};
    for (index_t m = 0; m < tile.valid; ++m) std::copy_n(tile.out[m] + column, std::min(columns, width), there + m * width);
    SEGNET_UNROLL for (int i = 0; i < MR * NV; ++i) acc[i / NV][i % NV] += S::load(there + i * S::lanes);
  }
  if constexpr (std::is_same_v<Meanwhile, Nothing>)
    for (index_t m = 0; m < tile.valid; ++m)  // on its way while the sums are computed
      for (index_t n = 0; n < NV; ++n) {
        const T* out = tile.out[m] + column + n * S::lanes;
        __builtin_prefetch(out, 1);
        if (residual) __builtin_prefetch(b.residual_of(out));
      }
  accumulate_tile<isa, MR, NV, step>(acc, tile.rows + from * MR, to - from, tile.run, b.data + column * b.depth + from * tile.run * width,
                                     meanwhile);
  if (tile.valid == MR && columns >= width && !residual) {
    if (activates) {
      SEGNET_UNROLL for (int m = 0; m < MR; ++m) activate<S>(b.activation, static_cast<const T*>(nullptr), acc[m]);
    }
    SEGNET_UNROLL for (int m = 0; m < MR; ++m) SEGNET_UNROLL for (int n = 0; n < NV; ++n) S::at(tile.out[m] + column + n * S::lanes) =
        acc[m][n];
  } else {
    T result[MR * width];
    SEGNET_UNROLL for (int i = 0; i < MR * NV; ++i) S::at(result + i * S::lanes) = acc[i / NV][i % NV];
    if (residual || activates) activate_rows<isa, NV>(tile, b, column, columns, result);
    store_rows<isa, NV>(tile, result, column, columns);
  }
}

/// Tiles of MR rows times panels [first, last). Tiles run inside, so that a panel stays in the cache; of a deep one, so many taps at a time
/// as stay in the second-level cache.
template <Isa isa, int MR, int step, class T>
SEGNET_INLINE void multiply_panels(const Tile<T>* tiles, index_t count, const PackedPanels<T>& b, index_t first, index_t last, bool add) {
  constexpr index_t lanes = Simd<T, isa>::lanes, width = 2 * lanes, deepest = (1 << 19) / (width * static_cast<index_t>(sizeof(T)));
  const index_t parts = std::max<index_t>((b.depth + deepest - 1) / deepest, 1);
  for (index_t panel = first; panel < last; ++panel) {
    const index_t column = panel * width, columns = std::min(width, b.columns - column);
    for (index_t part = 0; part < parts; ++part)
      for (index_t t = 0; t < count; ++t) {
        // Divisions take as long as several steps of a tile.
        const index_t taps = tiles[t].taps, from = parts == 1 ? 0 : taps * part / parts, to = parts == 1 ? taps : taps * (part + 1) / parts;
        if (from == to && parts > 1) continue;
        if constexpr (MR == tile_rows(isa))
          if (columns > lanes) {
            multiply_tile<isa, MR, 2, step>(tiles[t], b, column, columns, from, to, add, Nothing{});
            continue;
          }
        multiply_tile<isa, MR, 1, step>(tiles[t], b, column, columns, from, to, add, Nothing{});
      }
  }
}

/// Tiles times panels that are b.shallow(): each tile meets all panels, so that its rows are written from end to end.
template <class T>
void multiply_shallow_tiles(const Tile<T>* tiles, index_t count, const PackedPanels<T>& b, index_t first, index_t last, bool add) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    constexpr Isa set = decltype(isa)::value;
    if constexpr (set == Isa::avx512) {
      const index_t width = b.width();
      for (index_t t = 0; t < count; ++t)
        for (index_t panel = first; panel < last; ++panel) {
          const bool stays = panel + 1 < last || t + 1 == count;
          const Tile<T>& next = tiles[stays ? t : t + 1];
          const FetchRows<T> fetch{next.out, next.out + next.valid, (stays ? panel + 1 : first) * width, b};
          const index_t column = panel * width, columns = std::min(width, b.columns - column);
          multiply_tile<set, tile_rows(set), 2, 1>(tiles[t], b, column, columns, 0, tiles[t].taps, add, fetch);
        }
    }
  });
}

/// Tiles of b.tile_height() rows, read in place, times panels [first, last) of b.
template <class T>
void multiply_tiles(const Tile<T>* tiles, index_t count, const PackedPanels<T>& b, index_t first, index_t last, bool add) {
  if (b.shallow()) return multiply_shallow_tiles(tiles, count, b, first, last, add);
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    constexpr Isa set = decltype(isa)::value;
    if (b.narrow) multiply_panels<set, 2 * tile_rows(set), 1>(tiles, count, b, first, last, add);
    else multiply_panels<set, tile_rows(set), 1>(tiles, count, b, first, last, add);
  });
}

/// Tiles of tile_rows whose rows were packed side by side: element k of row m is at rows[m] + k * tile_rows.
template <class T>
void multiply_packed_tiles(const Tile<T>* tiles, index_t count, const PackedPanels<T>& b, index_t first, index_t last, bool add) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    constexpr Isa set = decltype(isa)::value;
    multiply_panels<set, tile_rows(set), tile_rows(set)>(tiles, count, b, first, last, add);
  });
}

}  // namespace segnet::kernels::inline SEGNET_LAYOUT
