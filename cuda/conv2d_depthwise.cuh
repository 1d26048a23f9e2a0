// Depth-wise convolution: bound by memory. Threads hold packs of neighbouring channels, so that loads are whole and neighbours read
// neighbouring bytes, and several pixels, so that what one tap reads serves the next: the usual kernels (3 x 3, 5 x 5, 7 x 7) slide
// over a tile in registers, any other goes tap by tap.
#pragma once

#include <algorithm>

#include "launch.cuh"
#include "segnet/kernels/conv2d_depthwise.hpp"

namespace segnet {

namespace cuda {

/// w [C, taps] with the taps first, and in reverse if `flipped`: to[t, c].
template <class T>
struct TapsFirst {
  const T* w;
  T* to;
  index_t C, taps;
  bool flipped;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t c = i % C, t = i / C;
    to[i] = w[c * taps + (flipped ? taps - 1 - t : t)];
  }
};

/// sum[k] += a[k] * b[k]
template <class T, int lanes>
SEGNET_HOST_DEVICE void add_products(Master<T> (&sum)[lanes], const Pack<T, lanes>& a, const Pack<T, lanes>& b) {
#pragma unroll
  for (int k = 0; k < lanes; ++k) sum[k] += static_cast<Master<T>>(a.values[k]) * static_cast<Master<T>>(b.values[k]);
}
template <class T, int lanes>
SEGNET_HOST_DEVICE Pack<T, lanes> rounded_pack(const Master<T> (&sum)[lanes]) {
  Pack<T, lanes> result;
#pragma unroll
  for (int k = 0; k < lanes; ++k) result.values[k] = static_cast<T>(sum[k]);
  return result;
}
template <class T, int lanes>
SEGNET_HOST_DEVICE const Pack<T, lanes>& pack_at(const T* p) {
  return *reinterpret_cast<const Pack<T, lanes>*>(p);
}

/// y = b + w * x for a kernel of K x K and a stride S on both sides, without dilation: tiles of rows x columns pixels. Each row of x is
/// read once into registers for all rows of the tile that it reaches. Index: see Divider.
template <class T, int K, int S, class Index>
struct DepthwiseTile {
  static constexpr int lanes = Pack<T>::size;
  static constexpr int rows = S > 1 ? 2 : K == 3 ? 4 : 2, columns = S > 1 || lanes == 8 ? 2 : 4;
  static constexpr int read_rows = (rows - 1) * S + K, read_columns = (columns - 1) * S + K;

  const T *x, *w, *b;  // w [K, K, C]
  T* y;
  kernels::ConvGeometry g;
  Divider<Index> packs, tiles_across, tiles_down;
  DepthwiseTile(const kernels::ConvGeometry& geometry, const T* source, const T* weight, const T* bias, T* to)
      : x(source),
        w(weight),
        b(bias),
        y(to),
        g(geometry),
        packs(g.C / lanes),
        tiles_across((g.OW + columns - 1) / columns),
        tiles_down((g.OH + rows - 1) / rows) {}

  static index_t size(const kernels::ConvGeometry& g) {
    return g.N * ((g.OH + rows - 1) / rows) * ((g.OW + columns - 1) / columns) * (g.C / lanes);
  }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    Index rest = static_cast<Index>(i);
    const index_t c = static_cast<index_t>(packs.split(rest)) * lanes;
    const index_t ow = static_cast<index_t>(tiles_across.split(rest)) * columns, oh = static_cast<index_t>(tiles_down.split(rest)) * rows;
    const index_t n = rest, first_row = g.input_row(oh, 0), first_column = g.input_column(ow, 0);
    const T* const image = x + n * g.H * g.W * g.C + c;

    Master<T> sum[rows][columns][lanes];
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
      const Master<T> start = b ? static_cast<Master<T>>(b[c + k]) : Master<T>(0);
#pragma unroll
      for (int r = 0; r < rows; ++r)
#pragma unroll
        for (int q = 0; q < columns; ++q) sum[r][q][k] = start;
    }
#pragma unroll
    for (int r = 0; r < read_rows; ++r) {
      const index_t h = first_row + r;
      if (h < 0 || h >= g.H) continue;
      Pack<T> pixel[read_columns];
#pragma unroll
      for (int q = 0; q < read_columns; ++q) {
        const index_t v = first_column + q;
        if (v >= 0 && v < g.W) pixel[q] = pack_at<T, lanes>(image + (h * g.W + v) * g.C);
        else
#pragma unroll
          for (int k = 0; k < lanes; ++k) pixel[q].values[k] = T(0);
      }
#pragma unroll
      for (int to = 0; to < rows; ++to) {
        const int ki = r - to * S;
        if (ki < 0 || ki >= K) continue;
#pragma unroll
        for (int kj = 0; kj < K; ++kj) {
          const Pack<T> tap = pack_at<T, lanes>(w + (ki * K + kj) * g.C + c);
#pragma unroll
          for (int q = 0; q < columns; ++q) add_products<T, lanes>(sum[to][q], tap, pixel[q * S + kj]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < rows; ++r)
#pragma unroll
      for (int q = 0; q < columns; ++q)
        if (oh + r < g.OH && ow + q < g.OW) rounded_pack<T, lanes>(sum[r][q]).store(y + ((n * g.OH + oh + r) * g.OW + ow + q) * g.C + c);
  }
};

/// Any depth-wise convolution, or its transpose (from dy to dx), tap by tap for a few pixels of a row. S: the stride, 0 for any; known
/// ones cost the transpose no division.
template <class T, int lanes, int S, bool transposed, class Index>
struct DepthwiseTaps {
  static constexpr int columns = 4;
  const T *from, *w, *b;  // w [taps, C]
  T* to;
  kernels::ConvGeometry geometry;
  index_t from_height, from_width, height, width;
  Divider<Index> packs, across, down;
  DepthwiseTaps(const kernels::ConvGeometry& g, const T* source, const T* weight, const T* bias, T* target)
      : from(source),
        w(weight),
        b(bias),
        to(target),
        geometry(g),
        from_height(transposed ? g.OH : g.H),
        from_width(transposed ? g.OW : g.W),
        height(transposed ? g.H : g.OH),
        width(transposed ? g.W : g.OW),
        packs(g.C / lanes),
        across((width + columns - 1) / columns),
        down(height) {}

  static index_t size(const kernels::ConvGeometry& g) {
    return g.N * (transposed ? g.H : g.OH) * (((transposed ? g.W : g.OW) + columns - 1) / columns) * (g.C / lanes);
  }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    kernels::ConvGeometry g = geometry;
    if constexpr (S > 0) g.stride = Extent2(S);
    Index rest = static_cast<Index>(i);
    const index_t c = static_cast<index_t>(packs.split(rest)) * lanes, first = static_cast<index_t>(across.split(rest)) * columns;
    const index_t row = down.split(rest), n = rest;

    Master<T> sum[columns][lanes];
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
      const Master<T> start = b ? static_cast<Master<T>>(b[c + k]) : Master<T>(0);
#pragma unroll
      for (int q = 0; q < columns; ++q) sum[q][k] = start;
    }
    for (index_t ki = 0; ki < g.kh; ++ki) {
      const index_t h = transposed ? g.output_row(row, ki) : g.input_row(row, ki);
      if (h < 0 || h >= from_height) continue;
      const T* const line = from + (n * from_height + h) * from_width * g.C + c;
      for (index_t kj = 0; kj < g.kw; ++kj) {
        const Pack<T, lanes> tap = pack_at<T, lanes>(w + (ki * g.kw + kj) * g.C + c);
#pragma unroll
        for (int q = 0; q < columns; ++q) {
          const index_t v = transposed ? g.output_column(first + q, kj) : g.input_column(first + q, kj);
          if (v >= 0 && v < from_width) add_products<T, lanes>(sum[q], tap, pack_at<T, lanes>(line + v * g.C));
        }
      }
    }
#pragma unroll
    for (int q = 0; q < columns; ++q)
      if (first + q < width) rounded_pack<T, lanes>(sum[q]).store(to + ((n * height + row) * width + first + q) * g.C + c);
  }
};

/// f(i) for 0 <= i < n. Four blocks fit on a multiprocessor: enough threads to wait for memory, with 128 registers each for their tiles.
template <class F>
__global__ void __launch_bounds__(128, 4) depthwise_kernel(F f, index_t n) {
  const index_t i = static_cast<index_t>(blockIdx.x) * 128 + threadIdx.x;
  if (i < n) f(i);
}
/// Starts Kernel<uint32_t> or, for very large tensors, Kernel<index_t>; made from these arguments.
template <template <class> class Kernel, class T>
void for_each_depthwise(const kernels::ConvGeometry& g, const T* from, const T* w, const T* b, T* to) {
  const index_t size = Kernel<std::uint32_t>::size(g);
  const auto start = [&](const auto& f) {
    launch(depthwise_kernel<std::decay_t<decltype(f)>>, static_cast<unsigned>((size + 127) / 128), 128, 0, f, size);
  };
  if (size < index_t{1} << 31) start(Kernel<std::uint32_t>(g, from, w, b, to));
  else start(Kernel<index_t>(g, from, w, b, to));
}
template <class T, int K, int S>
struct DepthwiseTileOf {
  template <class Index>
  using Kernel = DepthwiseTile<T, K, S, Index>;
};
template <class T, int lanes, int S, bool transposed>
struct DepthwiseTapsOf {
  template <class Index>
  using Kernel = DepthwiseTaps<T, lanes, S, transposed, Index>;
};

/// Whether packs of channels can be used throughout.
template <class T>
[[nodiscard]] bool packs_fit(const kernels::ConvGeometry& g, const T* a, const T* b) {
  return g.C % Pack<T>::size == 0 && aligned16(a) && aligned16(b);
}
[[nodiscard]] inline bool is_square(const kernels::ConvGeometry& g, index_t K, index_t S) {
  return g.kh == K && g.kw == K && g.stride == Extent2(S) && g.dilation == Extent2(1);
}

/// The forward pass for taps [taps, C].
template <class T>
void depthwise_forward(const kernels::ConvGeometry& g, const T* x, const T* w, const T* b, T* y) {
  if (!packs_fit(g, x, y)) return for_each_depthwise<DepthwiseTapsOf<T, 1, 0, false>::template Kernel>(g, x, w, b, y);
  if (is_square(g, 3, 1)) return for_each_depthwise<DepthwiseTileOf<T, 3, 1>::template Kernel>(g, x, w, b, y);
  if (is_square(g, 3, 2)) return for_each_depthwise<DepthwiseTileOf<T, 3, 2>::template Kernel>(g, x, w, b, y);
  if (is_square(g, 5, 1)) return for_each_depthwise<DepthwiseTileOf<T, 5, 1>::template Kernel>(g, x, w, b, y);
  if (is_square(g, 7, 1)) return for_each_depthwise<DepthwiseTileOf<T, 7, 1>::template Kernel>(g, x, w, b, y);
  for_each_depthwise<DepthwiseTapsOf<T, Pack<T>::size, 0, false>::template Kernel>(g, x, w, b, y);
}

/// The convolution whose forward pass, with the taps in reverse, is the gradient to the input of one with stride 1.
[[nodiscard]] inline kernels::ConvGeometry mirrored(kernels::ConvGeometry g) {
  std::swap(g.H, g.OH);
  std::swap(g.W, g.OW);
  g.padding = Extent2(g.dilation.h * (g.kh - 1) - g.padding.h, g.dilation.w * (g.kw - 1) - g.padding.w);
  return g;
}

/// partial[chunk, t, c] = sum over the chunk's pixels of dy[p, c] * x under tap t. A block takes a chunk, some packs of channels, and a
/// group of KH x KW neighbouring taps, whose sums its threads keep in registers; blocks that differ in taps alone are neighbours, for the
/// cache's sake.
template <class T, int Lanes, int KH, int KW, class Index>
struct DepthwiseGradWeight {
  static constexpr int threads = 256, lanes = Lanes, kh = KH, kw = KW;
  const T *dy, *x;
  Master<T>* partial;
  kernels::ConvGeometry g;
  int width;                            // threads next to each other in channels; a power of two up to 32
  unsigned tap_groups, channel_blocks;  // what blocks are counted by, in this order, then chunks
  index_t chunk;                        // pixels
  Divider<Index> OW{g.OW}, OH{g.OH};

  __device__ void operator()() const {
    __shared__ Master<T> shared[threads * lanes];
    const int lane = static_cast<int>(threadIdx.x) % width, slot = static_cast<int>(threadIdx.x) / width, slots = threads / width;
    const unsigned tap_group = blockIdx.x % tap_groups, block = blockIdx.x / tap_groups;
    const index_t c = (static_cast<index_t>(block % channel_blocks) * width + lane) * lanes, piece = block / channel_blocks;
    const index_t across = g.kw / KW, ki0 = tap_group / across * KH, kj0 = tap_group % across * KW;
    const index_t end = min(g.N * g.OH * g.OW, (piece + 1) * chunk);

    Master<T> sum[KH][KW][lanes] = {};
    if (c < g.C)
      for (index_t p = piece * chunk + slot; p < end; p += slots) {
        Index rest = static_cast<Index>(p);
        const index_t ow = OW.split(rest), oh = OH.split(rest), n = rest;
        const Pack<T, lanes> d = pack_at<T, lanes>(dy + p * g.C + c);
#pragma unroll
        for (int i = 0; i < KH; ++i) {
          const index_t h = g.input_row(oh, ki0 + i);
          const bool row_inside = h >= 0 && h < g.H;
#pragma unroll
          for (int j = 0; j < KW; ++j) {
            const index_t v = g.input_column(ow, kj0 + j);
            if (row_inside && v >= 0 && v < g.W)
              add_products<T, lanes>(sum[i][j], d, pack_at<T, lanes>(x + ((n * g.H + h) * g.W + v) * g.C + c));
          }
        }
      }
#pragma unroll
    for (int i = 0; i < KH; ++i)
#pragma unroll
      for (int j = 0; j < KW; ++j) {
        Master<T>* const own = shared + threadIdx.x * lanes;
        __syncthreads();  // the tap before is read
#pragma unroll
        for (int k = 0; k < lanes; ++k) own[k] = sum[i][j][k];
        for (int half = slots / 2; half > 0; half /= 2) {
          __syncthreads();
          if (slot < half)
#pragma unroll
            for (int k = 0; k < lanes; ++k) own[k] += own[half * width * lanes + k];
        }
        if (slot == 0 && c < g.C)
          for (int k = 0; k < lanes; ++k) partial[(piece * g.taps() + (ki0 + i) * g.kw + kj0 + j) * g.C + c + k] = own[k];
      }
  }
};
template <class F>
__global__ void __launch_bounds__(F::threads) depthwise_grad_weight_kernel(F f) {
  f();
}

/// dw[c, t] = the sum of partial[chunk, t, c] over the chunks, eight threads for each.
template <class T>
__global__ void __launch_bounds__(256) join_depthwise_kernel(const Master<T>* partial, index_t chunks, index_t C, index_t taps, T* dw) {
  __shared__ Master<T> shared[8][32];
  const index_t i = static_cast<index_t>(blockIdx.x) * 32 + threadIdx.x % 32, size = C * taps;
  const unsigned slot = threadIdx.x / 32;
  Master<T> sum = 0;
  if (i < size)
    for (index_t chunk = slot; chunk < chunks; chunk += 8) sum += partial[chunk * size + i];
  shared[slot][threadIdx.x % 32] = sum;
  __syncthreads();
  if (slot != 0 || i >= size) return;
  for (int k = 1; k < 8; ++k) sum += shared[k][threadIdx.x % 32];
  dw[i % C * taps + i / C] = static_cast<T>(sum);
}

template <class T, int lanes, int KH, int KW, class Index>
void depthwise_grad_weight(const kernels::ConvGeometry& g, const T* dy, const T* x, T* dw) {
  using Kernel = DepthwiseGradWeight<T, lanes, KH, KW, Index>;
  const index_t packs = g.C / lanes, pixels = g.N * g.OH * g.OW, tap_groups = g.taps() / (KH * KW);
  int width = 1;
  while (width < 32 && width < packs) width *= 2;
  const index_t channel_blocks = (packs + width - 1) / width, least = 4 * Kernel::threads / width;  // pixels that a block is worth
  const index_t wanted = std::max<index_t>(1, 1024 / channel_blocks);
  const index_t chunk = std::max(least, (pixels + wanted - 1) / wanted), chunks = (pixels + chunk - 1) / chunk;
  const Scratch<Master<T>> partial(chunks * g.taps() * g.C);
  const Kernel kernel{dy, x, partial.data(), g, width, static_cast<unsigned>(tap_groups), static_cast<unsigned>(channel_blocks), chunk};
  launch(depthwise_grad_weight_kernel<Kernel>, static_cast<unsigned>(chunks * channel_blocks * tap_groups), Kernel::threads, 0, kernel);
  launch(join_depthwise_kernel<T>, static_cast<unsigned>((g.C * g.taps() + 31) / 32), 256, 0, partial.data(), chunks, g.C, g.taps(), dw);
}

}  // namespace cuda

namespace kernels::depthwise {

template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y) {
  const cuda::Scratch<T> taps(g.taps() * g.C);
  cuda::for_each(g.taps() * g.C, cuda::TapsFirst<T>{w.data, taps.data(), g.C, g.taps(), false});
  cuda::depthwise_forward<T>(g, x.data, taps.data(), b.data, y.data);
}

template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx) {
  const bool mirror = g.stride == Extent2(1);
  const cuda::Scratch<T> taps(g.taps() * g.C);
  cuda::for_each(g.taps() * g.C, cuda::TapsFirst<T>{w.data, taps.data(), g.C, g.taps(), mirror});
  if (mirror) return cuda::depthwise_forward<T>(cuda::mirrored(g), dy.data, taps.data(), b.data, dx.data);
  constexpr int lanes = cuda::Pack<T>::size;
  const T *const from = dy.data, *const weight = taps.data(), *const bias = b.data;
  if (!cuda::packs_fit<T>(g, from, dx.data))
    cuda::for_each_depthwise<cuda::DepthwiseTapsOf<T, 1, 0, true>::template Kernel>(g, from, weight, bias, dx.data);
  else if (g.stride == Extent2(2))
    cuda::for_each_depthwise<cuda::DepthwiseTapsOf<T, lanes, 2, true>::template Kernel>(g, from, weight, bias, dx.data);
  else cuda::for_each_depthwise<cuda::DepthwiseTapsOf<T, lanes, 0, true>::template Kernel>(g, from, weight, bias, dx.data);
}

template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw) {
  constexpr int lanes = cuda::Pack<T>::size;
  const auto run = [&](auto index) {
    using Index = decltype(index);
    if (!cuda::packs_fit<T>(g, x.data, dy.data)) cuda::depthwise_grad_weight<T, 1, 1, 1, Index>(g, dy.data, x.data, dw.data);
    else if (g.kh == 3 && g.kw == 3) cuda::depthwise_grad_weight<T, lanes, 3, 3, Index>(g, dy.data, x.data, dw.data);
    else if (g.kw == 5) cuda::depthwise_grad_weight<T, lanes, 1, 5, Index>(g, dy.data, x.data, dw.data);
    else if (g.kw == 7) cuda::depthwise_grad_weight<T, lanes, 1, 7, Index>(g, dy.data, x.data, dw.data);
    else cuda::depthwise_grad_weight<T, lanes, 1, 1, Index>(g, dy.data, x.data, dw.data);
  };
  if (g.N * g.OH * g.OW < index_t{1} << 31) run(std::uint32_t{});
  else run(index_t{});
}

}  // namespace kernels::depthwise

}  // namespace segnet
