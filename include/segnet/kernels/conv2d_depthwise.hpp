// Depth-wise convolution: every channel has its own kernel, so channels are the vector and nothing is shared between them. Bound by
// memory; a tile of pixels stays in registers while its taps are added up.
#pragma once

#include "segnet/kernels/conv2d_gather.hpp"

namespace segnet::kernels::depthwise {

constexpr int tile_pixels = 8;

/// Calls f(c, whole) so that vectors from c on cover [0, channels). The last ones may overlap; where there are fewer channels than
/// a vector holds, `whole` is false and f works on [c, channels) one by one.
template <index_t lanes, class F>
SEGNET_INLINE void for_vectors(index_t channels, const F& f) {
  if (channels < lanes) return f(0, std::false_type{});
  for (index_t c = 0;; c = std::min(c + lanes, channels - lanes)) {
    f(c, std::true_type{});
    if (c + lanes >= channels) return;
  }
}

/// out[m][c] = shift[c] + sum_t weight[t][c] * rows[t][m][c], and the rest of the epilogue; the weights are scaled already, and
/// `result` is where the whole result begins.
template <Isa isa, class T>
SEGNET_INLINE void multiply_tile(const Tile<T>& tile, const T* weight, const Epilogue<T>& e, index_t channels, const T* result) {
  using S = Simd<T, isa>;
  for_vectors<S::lanes>(channels, [&](index_t c, auto whole) SEGNET_INLINE_LAMBDA {
    if constexpr (whole) {
      typename S::Vector acc[tile_pixels][1];
      const typename S::Vector first = e.shift ? S::load(e.shift + c) : typename S::Vector{};
      SEGNET_UNROLL for (int m = 0; m < tile_pixels; ++m) acc[m][0] = first;
      for (index_t t = 0; t < tile.taps; ++t) {
        const typename S::Vector w = S::load(weight + t * channels + c);
        SEGNET_UNROLL for (int m = 0; m < tile_pixels; ++m) acc[m][0] += w * S::load(tile.rows[t * tile_pixels + m] + c);
      }
      SEGNET_UNROLL for (int m = 0; m < tile_pixels; ++m) if (m < tile.valid) {
        T* to = tile.out[m] + c;
        activate<S>(e.activation, e.residual ? e.residual + (to - result) : nullptr, acc[m]);
        S::at(to) = acc[m][0];
      }
    } else {
      for (index_t m = 0; m < tile.valid; ++m)
        for (index_t i = 0; i < channels; ++i) {
          T sum = e.shift ? e.shift[i] : T(0);
          for (index_t t = 0; t < tile.taps; ++t) sum += weight[t * channels + i] * tile.rows[t * tile_pixels + m][i];
          tile.out[m][i] = e.activated(sum, tile.out[m] - result + i);
        }
    }
  });
}

/// All pixels of a gather, with one weight vector [channels] per tap.
template <class T>
void multiply(const Gather<T>& gather, const T* weight, const Epilogue<T>& e, index_t channels, const T* result) {
  const index_t pixels = gather.size(), piece = tile_pixels * std::max<index_t>(1, (1 << 14) / (tile_pixels * channels));
  const index_t rows_each = gather.taps() * tile_pixels + pointer_slack, outs_each = tile_pixels + pointer_slack, workers = num_threads();
  const Scratch<const T*> rows(workers * rows_each);
  const Scratch<T*> outs(workers * outs_each);
  parallel_workers((pixels + piece - 1) / piece, [&](index_t i, int worker) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      constexpr Isa set = decltype(isa)::value;
      Position at = gather.position(i * piece);
      for (index_t p = i * piece; p < std::min(pixels, (i + 1) * piece); p += tile_pixels) {
        const auto tile = gather.template tile<set>(at, tile_pixels, std::min<index_t>(tile_pixels, pixels - p), 0, 0, false,
                                                    rows.data() + worker * rows_each, outs.data() + worker * outs_each);
        multiply_tile<set>(tile, weight, e, channels, result);
      }
    });
  });
}

/// y[n, oh, ow, c] = the epilogue of sum_{ki, kj} w[c, ki, kj] * x[n, input_row(oh, ki), input_column(ow, kj), c]
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  const Scratch<T> weight(g.taps() * g.C), zeros(g.C);
  std::fill_n(zeros.data(), g.C, T(0));
  for (index_t c = 0; c < g.C; ++c)
    for (index_t t = 0; t < g.taps(); ++t) weight.data()[t * g.C + c] = (e.scale ? e.scale[c] : T(1)) * w[c * g.taps() + t];
  const auto gather = forward_gather(g, x.data, y.data, static_cast<const T*>(zeros.data()));
  multiply<T>(gather, weight.data(), e, g.C, y.data);
}

/// dx[n, h, v, c] = the epilogue of sum_{ki, kj} w[c, ki, kj] * dy[n, output_row(h, ki), output_column(v, kj), c]
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  const Scratch<T> weight(g.taps() * g.C), zeros(g.C);
  std::fill_n(zeros.data(), g.C, T(0));
  for_each_phase(
      g, dy.data, dx.data, static_cast<const T*>(zeros.data()), [&](const Gather<T>& gather, const Offsets& kis, const Offsets& kjs) {
        for (index_t t = 0; t < gather.taps(); ++t)
          for (index_t c = 0; c < g.C; ++c)
            weight.data()[t * g.C + c] = (e.scale ? e.scale[c] : T(1)) * w[(c * g.kh + kis[t / kjs.size()]) * g.kw + kjs[t % kjs.size()]];
        multiply<T>(gather, weight.data(), e, g.C, dx.data);
      });
}

/// sum[t][c] += sum over the tile's pixels of dy[m][c] * rows[t][m][c], for `height` pixels whose dy lie one behind the other
template <Isa isa, class T>
SEGNET_INLINE void add_tile_products(const Tile<T>& tile, index_t height, const T* dy, index_t channels, T* sum) {
  using S = Simd<T, isa>;
  for (index_t t = 0; t < tile.taps; ++t) {
    const T* const* row = tile.rows + t * height;
    index_t c = 0;
    for (; c + S::lanes <= channels; c += S::lanes) {
      typename S::Vector even{}, odd{};
      index_t m = 0;
      for (; m + 2 <= tile.valid; m += 2) {
        even += S::load(dy + m * channels + c) * S::load(row[m] + c);
        odd += S::load(dy + (m + 1) * channels + c) * S::load(row[m + 1] + c);
      }
      if (m < tile.valid) even += S::load(dy + m * channels + c) * S::load(row[m] + c);
      S::at(sum + t * channels + c) += even + odd;
    }
    for (; c < channels; ++c)
      for (index_t m = 0; m < tile.valid; ++m) sum[t * channels + c] += dy[m * channels + c] * row[m][c];
  }
}

/// dw[c, ki, kj] = sum_{n, oh, ow} dy[n, oh, ow, c] * x[n, input_row(oh, ki), input_column(ow, kj), c], summed over fixed chunks
/// of pixels, then over the chunks.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  constexpr index_t height = 32;
  const index_t size = g.taps() * g.C, pixels = g.N * g.OH * g.OW, tiles = (pixels + height - 1) / height;
  const index_t chunk = std::max<index_t>((tiles + 63) / 64, 1), chunks = (tiles + chunk - 1) / chunk;
  const index_t rows_each = g.taps() * height + pointer_slack, outs_each = height + pointer_slack, workers = num_threads();
  const Scratch<T> sums(std::max<index_t>(chunks, 1) * size), zeros(g.C);
  const Scratch<const T*> rows(workers * rows_each);
  const Scratch<T*> outs(workers * outs_each);
  std::fill_n(zeros.data(), g.C, T(0));
  const auto gather = forward_gather(g, x.data, static_cast<T*>(nullptr), static_cast<const T*>(zeros.data()));
  parallel_workers(chunks, [&](index_t i, int worker) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      constexpr Isa set = decltype(isa)::value;
      T* sum = sums.data() + i * size;
      std::fill_n(sum, size, T(0));
      Position at = gather.position(i * chunk * height);
      for (index_t p = i * chunk * height; p < std::min(pixels, (i + 1) * chunk * height); p += height) {
        const auto tile = gather.template tile<set>(at, height, std::min(height, pixels - p), 0, 0, false, rows.data() + worker * rows_each,
                                                    outs.data() + worker * outs_each);
        add_tile_products<set>(tile, height, dy.data + p * g.C, g.C, sum);
      }
    });
  });
  for (index_t c = 0; c < g.C; ++c)
    for (index_t t = 0; t < g.taps(); ++t) {
      T sum = 0;
      for (index_t i = 0; i < chunks; ++i) sum += sums.data()[i * size + t * g.C + c];
      dw[c * g.taps() + t] = sum;
    }
}

// cuda/conv2d_depthwise.cuh
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx);
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw);

}  // namespace segnet::kernels::depthwise
