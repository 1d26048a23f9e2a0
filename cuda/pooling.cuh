// Pooling and unpooling: a thread computes packs of channels, pixel by pixel; every pass is a gather, as on the CPU.
//
// Windows of 2 x 2 without overlap or padding, what nearly every network uses, cut the image into cells. Their backward passes go from
// the cells to the four pixels of each, which reads a gradient once instead of four times.
#pragma once

#include "channel_tiles.cuh"
#include "segnet/kernels/pooling.hpp"

namespace segnet {

namespace cuda {

template <class T, int V, bool keep_indices>
struct MaxPool2d {
  kernels::PoolGeometry g;
  const T* x;
  T* y;
  std::int32_t* indices;

  struct Best {
    Master<T> value[V];
    std::int32_t place[V];
    __device__ void look_at(const Pack<T, V>& pack, std::int32_t here) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        // NaN replaces everything, and stays because nothing compares larger.
        const auto v = static_cast<Master<T>>(pack.values[i]);
        const bool better = v > value[i] || v != v;
        value[i] = better ? v : value[i];
        if constexpr (keep_indices) place[i] = better ? here : place[i];
      }
    }
  };

  __device__ void operator()(index_t n, index_t oh, index_t ow, index_t c) const {
    const auto rows = g.h.window(oh), columns = g.w.window(ow);
    const T* image = x + n * g.h.in * g.w.in * g.C + c;
    const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
    const std::int32_t first = empty ? -1 : static_cast<std::int32_t>(rows.begin * g.w.in + columns.begin);
    Best best;
#pragma unroll
    for (int i = 0; i < V; ++i) {
      best.value[i] = -static_cast<Master<T>>(__builtin_inf());
      best.place[i] = first;
    }
    if (rows.end - rows.begin == 2 && columns.end - columns.begin == 2 && g.h.dilation == 1 && g.w.dilation == 1) {
      const auto width = static_cast<std::int32_t>(g.w.in);
      const T* p = image + first * g.C;
      const auto p00 = Pack<T, V>::load(p), p01 = Pack<T, V>::load(p + g.C);
      const auto p10 = Pack<T, V>::load(p + width * g.C), p11 = Pack<T, V>::load(p + (width + 1) * g.C);
      best.look_at(p00, first);
      best.look_at(p01, first + 1);
      best.look_at(p10, first + width);
      best.look_at(p11, first + width + 1);
    } else {
      for (index_t h = rows.begin; h < rows.end; h += g.h.dilation)
        for (index_t w = columns.begin; w < columns.end; w += g.w.dilation) {
          const index_t here = h * g.w.in + w;
          best.look_at(Pack<T, V>::load(image + here * g.C), static_cast<std::int32_t>(here));
        }
    }
    const index_t o = ((n * g.h.out + oh) * g.w.out + ow) * g.C + c;
    store_as<V>(y + o, best.value);
    if constexpr (keep_indices) store_as<V>(indices + o, best.place);
  }
};

template <class T, int V>
struct MaxPool2dBackward {
  kernels::PoolGeometry g;
  const T* dy;
  const std::int32_t* indices;
  T* dx;

  __device__ void operator()(index_t n, index_t h, index_t w, index_t c) const {
    const auto rows = g.h.outputs(h), columns = g.w.outputs(w);
    const auto here = static_cast<std::int32_t>(h * g.w.in + w);
    Master<T> sum[V] = {};
    for (index_t oh = rows.begin; oh < rows.end; ++oh)
      for (index_t ow = columns.begin; ow < columns.end; ++ow) {
        const index_t at = ((n * g.h.out + oh) * g.w.out + ow) * g.C + c;
        Master<T> gradient[V];
        load_as<V>(dy + at, gradient);
        const auto place = Pack<std::int32_t, V>::load(indices + at);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += place.values[i] == here ? gradient[i] : Master<T>(0);
      }
    store_as<V>(dx + ((n * g.h.in + h) * g.w.in + w) * g.C + c, sum);
  }
};

/// Whether windows cut the image into cells of 2 x 2; the last may be cut off, or belong to no window.
[[nodiscard]] inline bool are_cells(const kernels::PoolGeometry& g) {
  const auto fits = [](const kernels::PoolAxis& a) { return a.kernel == 2 && a.stride == 2 && a.padding == 0 && a.dilation == 1; };
  return fits(g.h) && fits(g.w);
}

/// Cell (i, j) of the image `to` [N, H, W, C] gets its element of `from` [N, h, w, C] where `indices` says, and zeros: the way back of
/// max pooling and the way there of unpooling.
template <class T, int V>
struct FillCells {
  index_t h, w, H, W, C;
  const T* from;
  const std::int32_t* indices;
  T* to;

  __device__ void operator()(index_t n, index_t i, index_t j, index_t c) const {
    Pack<T, V> value{};
    Pack<std::int32_t, V> place;
    if (i < h && j < w) {
      const index_t at = ((n * h + i) * w + j) * C + c;
      value = Pack<T, V>::load(from + at);
      place = Pack<std::int32_t, V>::load(indices + at);
    } else {
#pragma unroll
      for (int k = 0; k < V; ++k) place.values[k] = -1;
    }
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const index_t y = 2 * i + a / 2, x = 2 * j + a % 2;
      if (y >= H || x >= W) continue;
      const auto here = static_cast<std::int32_t>(y * W + x);
      Pack<T, V> out;
#pragma unroll
      for (int k = 0; k < V; ++k) out.values[k] = place.values[k] == here ? value.values[k] : static_cast<T>(0);
      out.store(to + ((n * H + y) * W + x) * C + c);
    }
  }
};
template <int V, class T>
void fill_cells(index_t N, const FillCells<T, V>& f) {
  for_pixels<V>(N, (f.H + 1) / 2, (f.W + 1) / 2, f.C, f);
}

template <class T, int V>
struct AvgPool2d {
  kernels::PoolGeometry g;
  kernels::PoolDivisor divisor;
  const T* x;
  T* y;

  __device__ void operator()(index_t n, index_t oh, index_t ow, index_t c) const {
    using M = Master<T>;
    const auto rows = g.h.window(oh), columns = g.w.window(ow);
    const M factor = M(1) / (divisor.rows<M>(g.h, oh) * divisor.columns<M>(g.w, ow));
    const T* image = x + n * g.h.in * g.w.in * g.C + c;
    M sum[V] = {};
    for (index_t h = rows.begin; h < rows.end; ++h) {
      M row_sum[V] = {};
#pragma unroll 2
      for (index_t w = columns.begin; w < columns.end; ++w) {
        M value[V];
        load_as<V>(image + (h * g.w.in + w) * g.C, value);
#pragma unroll
        for (int i = 0; i < V; ++i) row_sum[i] += value[i];
      }
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += row_sum[i];
    }
#pragma unroll
    for (int i = 0; i < V; ++i) sum[i] *= factor;
    store_as<V>(y + ((n * g.h.out + oh) * g.w.out + ow) * g.C + c, sum);
  }
};

/// A block for each output pixel and tile of channels: for large windows and few outputs, such as the mean of an image.
template <int V, class T>
__global__ void __launch_bounds__(tile_threads)
    avg_pool2d_large_kernel(ChannelTiles tile, kernels::PoolGeometry g, kernels::PoolDivisor divisor, const T* x, T* y) {
  using M = Master<T>;
  const index_t c = tile.channel<V>(), o = blockIdx.x, ow = o % g.w.out, oh = o / g.w.out % g.h.out, n = o / (g.w.out * g.h.out);
  const auto rows = g.h.window(oh), columns = g.w.window(ow);
  const index_t height = rows.end - rows.begin, width = columns.end - columns.begin;
  const T* image = x + n * g.h.in * g.w.in * g.C + c;
  M sum[V] = {};
  if (tile.line() < tile.lines && c < g.C && height > 0 && width > 0)
    each_row(
        tile.line(), tile.lines, height * width,
        [&](index_t p) { return Pack<T, V>::load(image + ((rows.begin + p / width) * g.w.in + columns.begin + p % width) * g.C); },
        [&](index_t, const Pack<T, V>& value) {
#pragma unroll
          for (int i = 0; i < V; ++i) sum[i] += static_cast<M>(value.values[i]);
        });
  sum_over_lines(tile, sum);
  if (tile.line() > 0 || c >= g.C) return;
  const M factor = M(1) / (divisor.rows<M>(g.h, oh) * divisor.columns<M>(g.w, ow));
#pragma unroll
  for (int i = 0; i < V; ++i) sum[i] *= factor;
  store_as<V>(y + o * g.C + c, sum);
}

template <class T, int V>
struct AvgPool2dBackward {
  kernels::PoolGeometry g;
  kernels::PoolDivisor divisor;
  const T* dy;
  T* dx;

  __device__ void operator()(index_t n, index_t h, index_t w, index_t c) const {
    using M = Master<T>;
    const auto rows = g.h.outputs(h), columns = g.w.outputs(w);
    M sum[V] = {};
    for (index_t oh = rows.begin; oh < rows.end; ++oh) {
      const M height = divisor.rows<M>(g.h, oh);
      for (index_t ow = columns.begin; ow < columns.end; ++ow) {
        const M factor = M(1) / (height * divisor.columns<M>(g.w, ow));
        M gradient[V];
        load_as<V>(dy + ((n * g.h.out + oh) * g.w.out + ow) * g.C + c, gradient);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += gradient[i] * factor;
      }
    }
    store_as<V>(dx + ((n * g.h.in + h) * g.w.in + w) * g.C + c, sum);
  }
};

/// The same for cells of 2 x 2.
template <class T, int V>
struct AvgPool2dBackwardCells {
  kernels::PoolGeometry g;
  kernels::PoolDivisor divisor;
  const T* dy;
  T* dx;

  __device__ void operator()(index_t n, index_t i, index_t j, index_t c) const {
    using M = Master<T>;
    M gradient[V] = {};
    if (i < g.h.out && j < g.w.out) {
      load_as<V>(dy + ((n * g.h.out + i) * g.w.out + j) * g.C + c, gradient);
      const M factor = M(1) / (divisor.rows<M>(g.h, i) * divisor.columns<M>(g.w, j));
#pragma unroll
      for (int k = 0; k < V; ++k) gradient[k] *= factor;
    }
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const index_t h = 2 * i + a / 2, w = 2 * j + a % 2;
      if (h < g.h.in && w < g.w.in) store_as<V>(dx + ((n * g.h.in + h) * g.w.in + w) * g.C + c, gradient);
    }
  }
};

/// What is known of the indices of an unpooling to H x W: bits to be set.
enum UnpoolCheck : unsigned { unpool_outside = 1, unpool_no_cells = 2 };

/// Sets unpool_outside where an index lies outside of the plane, and unpool_no_cells where it is not one of the four pixels that
/// pooling by cells would have found it in.
template <int V>
struct CheckUnpoolIndices {
  index_t h, w, C;
  std::int32_t H, W;
  const std::int32_t* indices;
  unsigned* found;

  __device__ void operator()(index_t n, index_t i, index_t j, index_t c) const {
    const auto place = Pack<std::int32_t, V>::load(indices + ((n * h + i) * w + j) * C + c);
    const index_t first = 2 * i * W + 2 * j;
    const bool two = 2 * j + 1 < W;
    unsigned mine = 2 * j < W ? 0u : unpool_no_cells;
#pragma unroll
    for (int k = 0; k < V; ++k) {
      const index_t p = place.values[k], d = p - first;
      if (p < 0 || p >= static_cast<index_t>(H) * W) mine |= unpool_outside;
      if (!(d == 0 || d == W || (two && (d == 1 || d == W + 1)))) mine |= unpool_no_cells;
    }
    if (mine & ~load_relaxed(found)) atomicOr(found, mine);
  }
};

/// winner[n, indices[n, p, c], c] = the last p, in row-major order. The largest of integers does not depend on who comes first.
struct UnpoolWinners {
  index_t pixels, plane, C;  ///< of x and y
  const std::int32_t* indices;
  std::int32_t* winner;
  __device__ void operator()(index_t i) const {
    const index_t c = i % C, p = i / C % pixels, n = i / (C * pixels);
    atomicMax(winner + (n * plane + indices[i]) * C + c, static_cast<std::int32_t>(p));
  }
};
template <class T>
struct UnpoolFromWinners {
  index_t pixels, plane, C;
  const T* x;
  const std::int32_t* winner;
  T* y;
  __device__ void operator()(index_t i) const {
    const index_t n = i / (C * plane), p = winner[i];
    y[i] = p >= 0 ? x[(n * pixels + p) * C + i % C] : static_cast<T>(0);
  }
};

template <class T, int V>
struct MaxUnpool2dBackward {
  index_t h, w, plane, C;
  const T* dy;
  const std::int32_t* indices;
  T* dx;
  __device__ void operator()(index_t n, index_t i, index_t j, index_t c) const {
    const index_t at = ((n * h + i) * w + j) * C + c;
    const auto place = Pack<std::int32_t, V>::load(indices + at);
    Pack<T, V> out;
#pragma unroll
    for (int k = 0; k < V; ++k) out.values[k] = dy[(n * plane + place.values[k]) * C + c + k];
    out.store(dx + at);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void max_pool2d(const PoolGeometry& g, ConstView<T, Cuda> x, View<T, Cuda> y, View<std::int32_t, Cuda> indices) {
  cuda::with_packs<T>(g.C, {x.data, y.data, indices.data}, [&](auto V) {
    if (indices) cuda::for_pixels<V()>(g.N, g.h.out, g.w.out, g.C, cuda::MaxPool2d<T, V(), true>{g, x.data, y.data, indices.data});
    else cuda::for_pixels<V()>(g.N, g.h.out, g.w.out, g.C, cuda::MaxPool2d<T, V(), false>{g, x.data, y.data, nullptr});
  });
}

template <class T>
void max_pool2d_backward(const PoolGeometry& g, ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> indices, View<T, Cuda> dx) {
  cuda::with_packs<T>(g.C, {dy.data, indices.data, dx.data}, [&](auto V) {
    if (cuda::are_cells(g)) cuda::fill_cells<V(), T>(g.N, {g.h.out, g.w.out, g.h.in, g.w.in, g.C, dy.data, indices.data, dx.data});
    else cuda::for_pixels<V()>(g.N, g.h.in, g.w.in, g.C, cuda::MaxPool2dBackward<T, V()>{g, dy.data, indices.data, dx.data});
  });
}

template <class T>
void avg_pool2d(const PoolGeometry& g, PoolDivisor divisor, ConstView<T, Cuda> x, View<T, Cuda> y) {
  cuda::with_packs<T>(g.C, {x.data, y.data}, [&](auto V) {
    const index_t outputs = g.N * g.h.out * g.w.out, packs = outputs * (g.C / V());
    const bool large = x.size() >= 32 * y.size() && packs < 256 * static_cast<index_t>(cuda::multiprocessors());
    if (large && g.h.dilation == 1 && g.w.dilation == 1) {
      const cuda::ChannelTiles tile(g.C / V());
      cuda::launch(cuda::avg_pool2d_large_kernel<V(), T>, dim3(static_cast<unsigned>(outputs), tile.tiles), cuda::tile_threads, 0, tile, g,
                   divisor, x.data, y.data);
    } else {
      cuda::for_pixels<V()>(g.N, g.h.out, g.w.out, g.C, cuda::AvgPool2d<T, V()>{g, divisor, x.data, y.data});
    }
  });
}

template <class T>
void avg_pool2d_backward(const PoolGeometry& g, PoolDivisor divisor, ConstView<T, Cuda> dy, View<T, Cuda> dx) {
  cuda::with_packs<T>(g.C, {dy.data, dx.data}, [&](auto V) {
    if (cuda::are_cells(g))
      cuda::for_pixels<V()>(g.N, (g.h.in + 1) / 2, (g.w.in + 1) / 2, g.C,
                            cuda::AvgPool2dBackwardCells<T, V()>{g, divisor, dy.data, dx.data});
    else cuda::for_pixels<V()>(g.N, g.h.in, g.w.in, g.C, cuda::AvgPool2dBackward<T, V()>{g, divisor, dy.data, dx.data});
  });
}

template <class T>
bool max_unpool2d(ConstView<T, Cuda> x, View<const std::int32_t, Cuda> indices, View<T, Cuda> y) {
  const index_t N = x.dim(0), h = x.dim(1), w = x.dim(2), C = x.dim(3), H = y.dim(1), W = y.dim(2);
  const cuda::Scratch<unsigned> flags(1);
  SEGNET_CUDA_CHECK(cudaMemsetAsync(flags.data(), 0, sizeof(unsigned), cuda::stream()));
  cuda::with_packs<std::int32_t>(C, {indices.data}, [&](auto V) {
    cuda::for_pixels<V()>(
        N, h, w, C,
        cuda::CheckUnpoolIndices<V()>{h, w, C, static_cast<std::int32_t>(H), static_cast<std::int32_t>(W), indices.data, flags.data()});
  });
  unsigned found = 0;
  segnet::detail::cuda_copy(&found, flags.data(), sizeof(unsigned), segnet::detail::Copy::to_host);
  if (found & cuda::unpool_outside) return false;
  if (!(found & cuda::unpool_no_cells)) {
    cuda::with_packs<T>(C, {x.data, indices.data, y.data},
                        [&](auto V) { cuda::fill_cells<V(), T>(N, {h, w, H, W, C, x.data, indices.data, y.data}); });
  } else {
    const cuda::Scratch<std::int32_t> winner(y.size());
    SEGNET_CUDA_CHECK(
        cudaMemsetAsync(winner.data(), 0xff, static_cast<std::size_t>(y.size()) * sizeof(std::int32_t), cuda::stream()));  // -1: none
    cuda::for_each(x.size(), cuda::UnpoolWinners{h * w, H * W, C, indices.data, winner.data()});
    cuda::for_each(y.size(), cuda::UnpoolFromWinners<T>{h * w, H * W, C, x.data, winner.data(), y.data});
  }
  return true;
}

template <class T>
void max_unpool2d_backward(ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> indices, View<T, Cuda> dx) {
  const index_t N = dx.dim(0), h = dx.dim(1), w = dx.dim(2), C = dx.dim(3);
  cuda::with_packs<T>(C, {indices.data, dx.data}, [&](auto V) {
    cuda::for_pixels<V()>(N, h, w, C, cuda::MaxUnpool2dBackward<T, V()>{h, w, dy.dim(1) * dy.dim(2), C, dy.data, indices.data, dx.data});
  });
}

}  // namespace kernels
}  // namespace segnet
