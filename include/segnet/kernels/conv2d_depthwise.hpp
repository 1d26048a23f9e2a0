// Depth-wise convolution: every channel has its own kernel, so channels are the vector and nothing is shared between them.
// Bound by memory: each pass reads its inputs once from memory and again, for the other taps, from the cache.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels::depthwise {

/// The weight as [kh * kw, C]: tap by tap, channels adjacent.
template <class T>
void transpose_weight(const ConvGeometry& g, const T* w, T* to) {
  for (index_t c = 0; c < g.C; ++c)
    for (index_t t = 0; t < g.taps(); ++t) to[t * g.C + c] = w[c * g.taps() + t];
}

/// to[c] += a[c] * b[c]
template <class T>
SEGNET_INLINE void add_product(T* to, const T* a, const T* b, index_t channels) {
  SEGNET_SIMD
  for (index_t c = 0; c < channels; ++c) to[c] += a[c] * b[c];
}

/// Calls f(ki, kj, pixel of x) for each tap of output pixel (n, oh, ow) that lies in the image.
template <class F>
SEGNET_INLINE void for_taps(const ConvGeometry& g, index_t n, index_t oh, index_t ow, const F& f) {
  for (index_t ki = 0; ki < g.kh; ++ki) {
    const index_t h = g.input_row(oh, ki);
    if (h < 0 || h >= g.H) continue;
    for (index_t kj = 0; kj < g.kw; ++kj) {
      const index_t v = g.input_column(ow, kj);
      if (v >= 0 && v < g.W) f(ki, kj, (n * g.H + h) * g.W + v);
    }
  }
}

/// y[n, oh, ow, c] = b[c] + sum_{ki, kj} w[c, ki, kj] * x[n, input_row(oh, ki), input_column(ow, kj), c]
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, ConstView<T> b, View<T> y) {
  const Scratch<T> taps(g.taps() * g.C);
  transpose_weight(g, w.data, taps.data());
  parallel_for(g.N * g.OH, 1, [&](index_t begin, index_t end) {
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row)
        for (index_t ow = 0; ow < g.OW; ++ow) {
          T* to = y.data + (row * g.OW + ow) * g.C;
          for (index_t c = 0; c < g.C; ++c) to[c] = b ? b[c] : T(0);
          for_taps(g, row / g.OH, row % g.OH, ow, [&](index_t ki, index_t kj, index_t pixel) SEGNET_INLINE_LAMBDA {
            add_product(to, taps.data() + (ki * g.kw + kj) * g.C, x.data + pixel * g.C, g.C);
          });
        }
    });
  });
}

/// dx[n, h, v, c] = b[c] + sum_{ki, kj} w[c, ki, kj] * dy[n, output_row(h, ki), output_column(v, kj), c]
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, ConstView<T> b, View<T> dx) {
  const Scratch<T> taps(g.taps() * g.C);
  transpose_weight(g, w.data, taps.data());
  parallel_for(g.N * g.H, 1, [&](index_t begin, index_t end) {
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row)
        for (index_t v = 0; v < g.W; ++v) {
          T* to = dx.data + (row * g.W + v) * g.C;
          for (index_t c = 0; c < g.C; ++c) to[c] = b ? b[c] : T(0);
          for (index_t ki = 0; ki < g.kh; ++ki) {
            const index_t oh = g.output_row(row % g.H, ki);
            if (oh < 0) continue;
            for (index_t kj = 0; kj < g.kw; ++kj) {
              const index_t ow = g.output_column(v, kj);
              if (ow < 0) continue;
              add_product(to, taps.data() + (ki * g.kw + kj) * g.C, dy.data + ((row / g.H * g.OH + oh) * g.OW + ow) * g.C, g.C);
            }
          }
        }
    });
  });
}

/// dw[c, ki, kj] = sum_{n, oh, ow} dy[n, oh, ow, c] * x[n, input_row(oh, ki), input_column(ow, kj), c], summed over fixed chunks
/// of output rows, then over the chunks.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  const index_t size = g.taps() * g.C, rows = g.N * g.OH;
  const index_t chunk = std::max<index_t>(1, std::max((rows + 63) / 64, (1 << 15) / (g.OW * g.C))), chunks = (rows + chunk - 1) / chunk;
  const Scratch<T> partial(std::max<index_t>(chunks, 1) * size);
  parallel_chunks(chunks, [&](index_t i) {
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      T* sum = partial.data() + i * size;
      for (index_t k = 0; k < size; ++k) sum[k] = 0;
      for (index_t row = i * chunk; row < std::min(rows, (i + 1) * chunk); ++row)
        for (index_t ow = 0; ow < g.OW; ++ow)
          for_taps(g, row / g.OH, row % g.OH, ow, [&](index_t ki, index_t kj, index_t pixel) SEGNET_INLINE_LAMBDA {
            add_product(sum + (ki * g.kw + kj) * g.C, dy.data + (row * g.OW + ow) * g.C, x.data + pixel * g.C, g.C);
          });
    });
  });
  for (index_t c = 0; c < g.C; ++c)
    for (index_t t = 0; t < g.taps(); ++t) {
      T sum = 0;
      for (index_t i = 0; i < chunks; ++i) sum += partial.data()[i * size + t * g.C + c];
      dw[c * g.taps() + t] = sum;
    }
}

}  // namespace segnet::kernels::depthwise
