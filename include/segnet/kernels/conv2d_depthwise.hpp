// Depth-wise convolution: every channel has its own kernel, so channels are the vector and nothing is shared between them. Bound by what
// the caches deliver: a tile of pixels stays in registers while its taps are added up; see conv2d_depthwise_tiles.hpp.
#pragma once

#include "segnet/kernels/conv2d_depthwise_tiles.hpp"

namespace segnet::kernels::depthwise::inline SEGNET_LAYOUT {

/// Calls f(rows, run), integral constants: how many taps share what they read, `run` in each of so many rows of the kernel.
template <Isa isa, class T, class F>
SEGNET_INLINE void with_shared(const Tiles<T>& tiles, const F& f) {
  using One = std::integral_constant<int, 1>;
  using Three = std::integral_constant<int, 3>;
  if constexpr (specialized) {
    if constexpr (isa == Isa::avx512)  // nine weights, or sums, stay in registers
      if (tiles.square) return f(Three{}, Three{});
    if (tiles.run == 3) return f(One{}, Three{});
    if (tiles.run == 5) return f(One{}, std::integral_constant<int, 5>{});
    if (tiles.run == 7) return f(One{}, std::integral_constant<int, 7>{});
  }
  f(One{}, One{});
}

/// acc[r * columns + m] += sum_t weight[t] * pixel (r, m) of tap t. In each row of the tile, `run` taps of `high` rows share what they
/// read.
template <class S, int high, int run, int columns, class T>
SEGNET_INLINE void add_taps(const Window<T>& window, index_t c, index_t taps, const T* weight, index_t stride,
                            typename S::Vector (&acc)[tile_rows * columns][1]) {
  for (index_t t = 0; t < taps; t += high * run) {
    typename S::Vector w[high * run];
    SEGNET_UNROLL for (int j = 0; j < high * run; ++j, weight += stride) w[j] = S::load(weight);
    const T* const* row = window.pointers + window.offsets[t];
    SEGNET_UNROLL for (int a = 0; a < tile_rows + high - 1; ++a, row += window.row) {
      const T* const* from = row;
      SEGNET_UNROLL for (int b = 0; b < columns + run - 1; ++b, from += window.column) {
        const typename S::Vector x = S::load(*from + c);
        SEGNET_UNROLL for (int i = 0; i < high; ++i) SEGNET_UNROLL for (int j = 0; j < run; ++j) {
          const int r = a - i, m = b - j;
          if (r >= 0 && r < tile_rows && m >= 0 && m < columns) acc[r * columns + m][0] += w[i * run + j] * x;
        }
      }
    }
  }
}

/// y = weight[taps] + sum_t weight[t] * tap t, and the rest of the epilogue, for one tile. Rows of weights are `stride` apart; `result` is
/// where the whole result begins.
template <Isa isa, class T>
SEGNET_INLINE void multiply_tile(const Tiles<T>& tiles, const Window<T>& window, const T* weight, index_t stride, index_t channels,
                                 const Epilogue<T>& e, const Pixels<T>& y, const T* result, unsigned valid) {
  using S = Simd<T, isa>;
  constexpr int columns = tile_columns(isa), count = tile_rows * columns;
  const index_t taps = tiles.gather.taps();
  for_vectors<S::lanes>(channels, [&](index_t c, index_t) SEGNET_INLINE_LAMBDA {
    typename S::Vector acc[count][1];
    const typename S::Vector first = S::load(weight + taps * stride + c);
    SEGNET_UNROLL for (int k = 0; k < count; ++k) acc[k][0] = first;
    with_shared<isa>(tiles, [&](auto high, auto run) SEGNET_INLINE_LAMBDA {
      add_taps<S, decltype(high)::value, decltype(run)::value, columns>(window, c, taps, weight + c, stride, acc);
    });
    if (channels < S::lanes) {
      T sums[count * S::lanes];
      SEGNET_UNROLL for (int k = 0; k < count; ++k) S::at(sums + k * S::lanes) = acc[k][0];
      for (int k = 0; k < count; ++k)
        for (index_t i = 0; i < channels && (valid >> k & 1); ++i) {
          T* to = y(k / columns, k % columns) + i;
          *to = e.activated(sums[k * S::lanes + i], to - result);
        }
      return;
    }
    if (e.residual || e.activation != Activation::none) {
      SEGNET_UNROLL for (int k = 0; k < count; ++k) if (valid >> k & 1)
          activate<S>(e.activation, e.residual ? e.residual + (y(k / columns, k % columns) - result) + c : nullptr, acc[k]);
    }
    if (valid == tiles.all_valid()) {
      T* row = y.base + c;
      SEGNET_UNROLL for (int r = 0; r < tile_rows; ++r, row += y.row) SEGNET_UNROLL for (int m = 0; m < columns; ++m)
          S::at(row + m * y.column) = acc[r * columns + m][0];
    } else {
      SEGNET_UNROLL for (int k = 0; k < count; ++k) if (valid >> k & 1) S::at(y(k / columns, k % columns) + c) = acc[k][0];
    }
  });
}

/// All pixels of a gather, with one row of weights per tap and one more for the shift, pitch(channels) apart.
template <class T>
void multiply(const Gather<T>& gather, const T* weight, const Epilogue<T>& e, index_t channels, const T* result) {
  if (gather.size() == 0) return;
  const Tiles<T> tiles(gather, channels);
  const index_t bands_each = std::max<index_t>(1, (1 << 14) / (tiles.height * gather.V * tiles.blocks.most()));
  for_each_piece(tiles, bands_each, [&](index_t, index_t block, index_t begin, index_t end, const Room<T>& room) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      constexpr Isa set = decltype(isa)::value;
      for (index_t band = begin; band < end; ++band)
        tiles.template for_each<set>(band, block, room, [&](const Window<T>& window, index_t offset, unsigned valid) SEGNET_INLINE_LAMBDA {
          multiply_tile<set>(tiles, window, weight + tiles.blocks.begin(block), pitch<T>(channels), tiles.blocks.size(block), e,
                             tiles.layout(gather.out + offset, gather.out_u, gather.out_v), result, valid);
        });
    });
  });
}

/// The rows of weights that multiply() reads, scaled: that of tap t are the elements tap(t) of each channel's kernel, w [C, elements].
template <class T, class F>
void arrange(ConstView<T> w, index_t C, index_t elements, const Epilogue<T>& e, index_t taps, const F& tap, T* to) {
  const index_t size = pitch<T>(C);
  std::fill_n(to, (taps + 1) * size, T(0));
  for (index_t t = 0; t < taps; ++t)
    for (index_t c = 0; c < C; ++c) to[t * size + c] = (e.scale ? e.scale[c] : T(1)) * w[c * elements + tap(t)];
  if (e.shift) std::copy_n(e.shift, C, to + taps * size);
}

/// y[n, oh, ow, c] = the epilogue of sum_{ki, kj} w[c, ki, kj] * x[n, input_row(oh, ki), input_column(ow, kj), c]
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  const Scratch<T> weight((g.taps() + 1) * pitch<T>(g.C));
  arrange<T>(w, g.C, g.taps(), e, g.taps(), [](index_t t) { return t; }, weight.data());
  multiply<T>(forward_gather(g, x.data, y.data, static_cast<const T*>(nullptr)), weight.data(), e, g.C, y.data);
}

/// dx[n, h, v, c] = the epilogue of sum_{ki, kj} w[c, ki, kj] * dy[n, output_row(h, ki), output_column(v, kj), c]
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  const Scratch<T> weight((g.taps() + 1) * pitch<T>(g.C));
  for_each_phase(g, dy.data, dx.data, static_cast<const T*>(nullptr), [&](const Gather<T>& gather, const Offsets& kis, const Offsets& kjs) {
    const auto tap = [&](index_t t) { return kis[t / kjs.size()] * g.kw + kjs[t % kjs.size()]; };
    arrange<T>(w, g.C, g.taps(), e, gather.taps(), tap, weight.data());
    multiply<T>(gather, weight.data(), e, g.C, dx.data);
  });
}

/// Zeros in the first `count` lanes.
template <class S, class T>
SEGNET_INLINE void clear_first(typename S::Vector& v, index_t count) {
  static constexpr T lane[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v = S::load(lane) < typename S::Vector{} + static_cast<T>(count) ? typename S::Vector{} : v;
}

/// sum[t] += sum over the tile's pixels of dy * tap t; sums are `stride` apart from tap to tap. Two for each tap, where the few of a row
/// would wait for each other.
template <Isa isa, class T>
SEGNET_INLINE void add_products(const Tiles<T>& tiles, const Window<T>& window, const T* const* dy, index_t stride, index_t channels,
                                T* sums) {
  using S = Simd<T, isa>;
  constexpr int columns = tile_columns(isa), count = tile_rows * columns;
  for_vectors<S::lanes>(channels, [&](index_t c, index_t known) SEGNET_INLINE_LAMBDA {
    typename S::Vector factor[count];
    SEGNET_UNROLL for (int k = 0; k < count; ++k) factor[k] = S::load(dy[k] + c);
    with_shared<isa>(tiles, [&](auto shared_rows, auto shared) SEGNET_INLINE_LAMBDA {
      constexpr int high = decltype(shared_rows)::value, run = decltype(shared)::value, several = high == 1 ? 2 : 1;
      T* sum = sums + c;
      for (index_t t = 0; t < tiles.gather.taps(); t += high * run) {
        typename S::Vector part[several][high * run]{};
        const T* const* row = window.pointers + window.offsets[t];
        SEGNET_UNROLL for (int a = 0; a < tile_rows + high - 1; ++a, row += window.row) {
          const T* const* from = row;
          SEGNET_UNROLL for (int b = 0; b < columns + run - 1; ++b, from += window.column) {
            const typename S::Vector x = S::load(*from + c);
            SEGNET_UNROLL for (int i = 0; i < high; ++i) SEGNET_UNROLL for (int j = 0; j < run; ++j) {
              const int r = a - i, m = b - j;
              if (r >= 0 && r < tile_rows && m >= 0 && m < columns) part[a % several][i * run + j] += factor[r * columns + m] * x;
            }
          }
        }
        SEGNET_UNROLL for (int j = 0; j < high * run; ++j, sum += stride) {
          typename S::Vector all = several == 2 ? part[0][j] + part[several - 1][j] : part[0][j];
          if (known) clear_first<S, T>(all, known);
          S::at(sum) += all;
        }
      }
    });
  });
}

/// dw[c, ki, kj] = sum_{n, oh, ow} dy[n, oh, ow, c] * x[n, input_row(oh, ki), input_column(ow, kj), c], summed over fixed pieces
/// of a few rows, then over the pieces.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  const auto gather = forward_gather(g, x.data, static_cast<T*>(nullptr), static_cast<const T*>(nullptr));
  const Tiles<T> tiles(gather, g.C);
  const index_t bands_each = std::max<index_t>((tiles.bands + 63) / 64, 1), pieces = (tiles.bands + bands_each - 1) / bands_each;
  const index_t stride = pitch<T>(g.C), size = g.taps() * stride;
  const Scratch<T> sums(std::max<index_t>(pieces, 1) * size);
  T* total = sums.data();
  if (pieces == 0) std::fill_n(total, size, T(0));
  for_each_piece(tiles, bands_each, [&](index_t piece, index_t block, index_t begin, index_t end, const Room<T>& room) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      constexpr Isa set = decltype(isa)::value;
      constexpr int columns = tile_columns(set);
      const index_t channels = tiles.blocks.size(block);
      T* sum = total + (piece * size + tiles.blocks.begin(block));
      for (index_t t = 0; t < g.taps(); ++t) std::fill_n(sum + t * stride, channels, T(0));
      for (index_t band = begin; band < end; ++band)
        tiles.template for_each<set>(band, block, room, [&](const Window<T>& window, index_t offset, unsigned valid) SEGNET_INLINE_LAMBDA {
          const Pixels<const T> pixels = tiles.layout(dy.data + offset, gather.out_u, gather.out_v);
          const T* factors[tile_rows * columns + pointer_slack];
          for (int r = 0; r < tile_rows; ++r)
            fill_pointers<set>(factors + r * columns, pixels.base, r * pixels.row, pixels.column, columns);
          const bool narrow = channels < Simd<T, set>::lanes;
          if (narrow || valid != tiles.all_valid())
            for (int k = 0; k < tile_rows * columns; ++k) {
              if (!(valid >> k & 1)) factors[k] = tiles.zeros.data();
              else if (narrow) factors[k] = tiles.copy(factors[k], channels, room.copies + (tiles.window_size() + k * tiles.pixel));
            }
          add_products<set>(tiles, window, factors, stride, channels, sum);
        });
    });
  });
  for (index_t t = 0; t < g.taps(); ++t) {
    T* sum = total + t * stride;
    for (index_t i = 1; i < pieces; ++i)
      for (index_t c = 0; c < g.C; ++c) sum[c] += sum[i * size + c];
    for (index_t c = 0; c < g.C; ++c) dw[c * g.taps() + t] = sum[c];
  }
}

}  // namespace segnet::kernels::depthwise::inline SEGNET_LAYOUT

namespace segnet::kernels::depthwise {

// cuda/conv2d_depthwise.cuh
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx);
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw);

}  // namespace segnet::kernels::depthwise
