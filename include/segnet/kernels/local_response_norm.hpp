// Local response normalisation: each channel divided by a power of the squares of its neighbours, pixel by pixel.
//
//   y[c] = x[c] / d[c]^beta,  d[c] = k + alpha / size * (sum of x[j]^2 over the channels j in [c - size/2, c + (size-1)/2])
//
// Pixels are turned over in tiles (row_tile.hpp): a vector holds one channel of many pixels, and neighbours are whole vectors, for
// the three channels of a photograph as for hundreds.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/math.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::kernels {

struct ResponseNorm {
  index_t size;
  double alpha, beta, k;
};

namespace detail {

/// Calls f(isa, first, rows) for tiles of up to row_tile_width pixels, with scratch for `tiles` of them as std::vector<T>& in between.
template <class T, class F>
void for_pixel_tiles(index_t pixels, index_t C, index_t tiles, const F& f) {
  constexpr index_t W = row_tile_width;
  parallel_for(pixels, W * std::max<index_t>(1, 512 / std::max<index_t>(C, 1)), [&](index_t begin, index_t end) {
    std::vector<T> scratch(static_cast<std::size_t>(tiles * C * W));  // zeros: what a last, narrower tile leaves out is no NaN
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      for (index_t p = begin; p < end; p += W) f(isa, p, std::min(W, end - p), scratch.data());
    });
  });
}

/// to[c] = f(c, i, sum of from[j] over j in [c - before, c + behind]) for each channel c and pixel i of a tile.
template <class T, class F>
SEGNET_INLINE void sum_neighbours(const T* from, index_t C, index_t before, index_t behind, T* to, const F& f) {
  constexpr int W = row_tile_width;
  for (index_t c = 0; c < C; ++c) {
    T sum[W] = {};
    for (index_t j = std::max<index_t>(0, c - before); j <= std::min(C - 1, c + behind); ++j)
      for (int i = 0; i < W; ++i) sum[i] += from[j * W + i];
    assign<W>(to + c * W, [&](int i) SEGNET_INLINE_LAMBDA { return f(c * W + i, sum[i]); });
  }
}

/// d and d^-beta of a tile x; `power` serves as scratch first.
template <class T>
SEGNET_INLINE void response_factors(const ResponseNorm& norm, const T* x, index_t C, T* d, T* power) {
  constexpr int W = row_tile_width;
  const T scale = static_cast<T>(norm.alpha / static_cast<double>(norm.size)), k = static_cast<T>(norm.k);
  for (index_t c = 0; c < C * W; c += W) assign<W>(power + c, [&](int i) SEGNET_INLINE_LAMBDA { return x[c + i] * x[c + i]; });
  sum_neighbours(power, C, norm.size / 2, (norm.size - 1) / 2, d, [&](index_t, T sum) SEGNET_INLINE_LAMBDA { return k + scale * sum; });
  if (norm.beta == 0.75) {  // the papers' choice, by square roots
    for (index_t c = 0; c < C * W; c += W)
      assign<W>(power + c, [&](int i) SEGNET_INLINE_LAMBDA {
        const T root = math::sqrt(d[c + i]);
        return T(1) / (root * math::sqrt(root));
      });
  } else {
    for (index_t i = 0; i < C * W; ++i) power[i] = std::pow(d[i], static_cast<T>(-norm.beta));
  }
}

}  // namespace detail

/// x, y [pixels, C]
template <class T>
void local_response_norm(const ResponseNorm& norm, ConstView<T> x, index_t C, View<T> y) {
  constexpr int W = row_tile_width;
  detail::for_pixel_tiles<T>(C ? x.size() / C : 0, C, 3, [&](auto isa, index_t first, index_t rows, T* tiles) SEGNET_INLINE_LAMBDA {
    T *in = tiles, *d = in + C * W, *power = d + C * W;
    load_row_tile<isa()>(x.data + first * C, rows, C, x.data + x.size(), in);
    detail::response_factors(norm, in, C, d, power);
    for (index_t c = 0; c < C * W; c += W) assign<W>(d + c, [&](int i) SEGNET_INLINE_LAMBDA { return in[c + i] * power[c + i]; });
    store_row_tile<isa()>(d, rows, C, y.data + first * C);
  });
}

/// dx[j] = dy[j] * d[j]^-beta - 2 * alpha * beta / size * x[j] * (sum of dy[c] * x[c] * d[c]^(-beta-1) over the c that j is near to)
template <class T>
void local_response_norm_backward(const ResponseNorm& norm, ConstView<T> dy, ConstView<T> x, index_t C, View<T> dx) {
  constexpr int W = row_tile_width;
  const T scale = static_cast<T>(2 * norm.alpha * norm.beta / static_cast<double>(norm.size));
  detail::for_pixel_tiles<T>(C ? x.size() / C : 0, C, 4, [&](auto isa, index_t first, index_t rows, T* tiles) SEGNET_INLINE_LAMBDA {
    T *in = tiles, *gradient = in + C * W, *d = gradient + C * W, *power = d + C * W;
    load_row_tile<isa()>(x.data + first * C, rows, C, x.data + x.size(), in);
    load_row_tile<isa()>(dy.data + first * C, rows, C, dy.data + dy.size(), gradient);
    detail::response_factors(norm, in, C, d, power);
    for (index_t c = 0; c < C * W; c += W) {
      assign<W>(d + c, [&](int i) SEGNET_INLINE_LAMBDA { return gradient[c + i] * power[c + i] * in[c + i] / d[c + i]; });
      assign<W>(gradient + c, [&](int i) SEGNET_INLINE_LAMBDA { return gradient[c + i] * power[c + i]; });
    }
    // The neighbourhood turned round: c reaches j where j reaches c.
    detail::sum_neighbours(d, C, (norm.size - 1) / 2, norm.size / 2, power,
                           [&](index_t i, T sum) SEGNET_INLINE_LAMBDA { return gradient[i] - scale * in[i] * sum; });
    store_row_tile<isa()>(power, rows, C, dx.data + first * C);
  });
}

// The same on the GPU: cuda/local_response_norm.cuh.
template <class T>
void local_response_norm(const ResponseNorm& norm, ConstView<T, Cuda> x, index_t C, View<T, Cuda> y);
template <class T>
void local_response_norm_backward(const ResponseNorm& norm, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, index_t C, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_LOCAL_RESPONSE_NORM(TEMPLATE, T)                                   \
  TEMPLATE void local_response_norm(const ResponseNorm&, ConstView<T>, index_t, View<T>); \
  TEMPLATE void local_response_norm_backward(const ResponseNorm&, ConstView<T>, ConstView<T>, index_t, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_LOCAL_RESPONSE_NORM)

}  // namespace segnet::kernels
