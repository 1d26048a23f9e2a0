// Resizing: a thread computes packs of channels, pixel by pixel, with both axes at once. What an output reads along an axis, and which
// outputs read an input, is worked out once for each row and column, in small tables on the device.
#pragma once

#include "channel_tiles.cuh"
#include "segnet/kernels/resize.hpp"

namespace segnet {

namespace cuda {

/// The inputs that make up one output along an axis; -1 behind the last.
template <class M, int taps>
struct alignas(taps > 1 ? 16 : sizeof(M)) ResizeRow {
  std::int32_t index[taps];
  M weight[taps];

  /// The weight of input i. (At a border an input may appear twice.)
  __device__ M weight_of(index_t i) const {
    M sum = 0;
#pragma unroll
    for (int k = 0; k < taps; ++k) sum += index[k] == i ? weight[k] : M(0);
    return sum;
  }
};

template <class M, int taps>
struct BuildResizeRows {
  kernels::ResizeAxis axis;
  ResizeRow<M, taps>* rows;
  __device__ void operator()(index_t o) const {
    const kernels::ResizeTaps t = axis.taps(o);
#pragma unroll
    for (int k = 0; k < taps; ++k) {
      rows[o].index[k] = k < t.count ? static_cast<std::int32_t>(t.index[k]) : -1;
      rows[o].weight[k] = k < t.count ? static_cast<M>(t.weight[k]) : M(0);
    }
  }
};

/// The outputs that read one input along an axis. Neither the first nor the last input that an output reads ever falls as outputs rise,
/// and it reads all between: a range, found by bisection.
struct OutputRange {
  std::int32_t begin, end;
};
struct BuildOutputRanges {
  kernels::ResizeAxis axis;
  OutputRange* ranges;

  /// The first output for which f(taps) holds, f being false and then true.
  template <class F>
  __device__ index_t first_with(const F& f) const {
    index_t low = 0, high = axis.out;
    while (low < high) {
      const index_t middle = (low + high) / 2;
      if (f(axis.taps(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  }
  __device__ void operator()(index_t i) const {
    ranges[i].begin = static_cast<std::int32_t>(first_with([&](const kernels::ResizeTaps& t) { return t.index[t.count - 1] >= i; }));
    ranges[i].end = static_cast<std::int32_t>(first_with([&](const kernels::ResizeTaps& t) { return t.index[0] > i; }));
  }
};

template <class T, int V, int taps_h, int taps_w>
struct Resample {
  using M = Master<T>;
  index_t H, W, C, OH, OW;
  const ResizeRow<M, taps_h>* rows;
  const ResizeRow<M, taps_w>* columns;
  const T* x;
  T* y;

  __device__ void operator()(index_t n, index_t oh, index_t ow, index_t c) const {
    const ResizeRow<M, taps_h> row = rows[oh];
    const ResizeRow<M, taps_w> column = columns[ow];
    M sum[V] = {};
#pragma unroll
    for (int a = 0; a < taps_h; ++a) {
      if (row.index[a] < 0) continue;
      const T* from = x + (n * H + row.index[a]) * W * C + c;
#pragma unroll
      for (int b = 0; b < taps_w; ++b) {
        if (column.index[b] < 0) continue;
        const M weight = row.weight[a] * column.weight[b];
        M value[V];
        load_as<V>(from + column.index[b] * C, value);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += weight * value[i];
      }
    }
    store_as<V>(y + ((n * OH + oh) * OW + ow) * C + c, sum);
  }
};

template <class T, int V, int taps_h, int taps_w>
struct ResampleBackward {
  using M = Master<T>;
  index_t H, W, C, OH, OW;
  const ResizeRow<M, taps_h>* rows;
  const ResizeRow<M, taps_w>* columns;
  const OutputRange *row_ranges, *column_ranges;
  const T* dy;
  T* dx;

  __device__ void operator()(index_t n, index_t h, index_t w, index_t c) const {
    const OutputRange down = row_ranges[h], across = column_ranges[w];
    M sum[V] = {};
    for (index_t oh = down.begin; oh < down.end; ++oh) {
      const M height = rows[oh].weight_of(h);
      const T* from = dy + (n * OH + oh) * OW * C + c;
#pragma unroll 4
      for (index_t ow = across.begin; ow < across.end; ++ow) {
        const M weight = height * columns[ow].weight_of(w);
        M value[V];
        load_as<V>(from + ow * C, value);
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += weight * value[i];
      }
    }
    store_as<V>(dx + ((n * H + h) * W + w) * C + c, sum);
  }
};

/// f(taps of the rows, taps of the columns): the most that an output reads. Both axes have one mode, but for the single row of a sequence,
/// whose mode is nearest.
template <class F>
void with_taps(const kernels::ResizeAxis& h, const kernels::ResizeAxis& w, const F& f) {
  using One = std::integral_constant<int, 1>;
  const auto with = [&](auto taps) {
    if (h.mode == w.mode) f(taps, taps);
    else f(One{}, taps);
  };
  if (w.mode == InterpolateMode::bilinear) with(std::integral_constant<int, 2>{});
  else if (w.mode == InterpolateMode::bicubic) with(std::integral_constant<int, 4>{});
  else f(One{}, One{});
}

}  // namespace cuda

namespace kernels {

template <class T>
void resample(const ResizeAxis& h, const ResizeAxis& w, ConstView<T, Cuda> x, View<T, Cuda> y) {
  using M = Master<T>;
  const index_t N = x.dim(0), C = x.dim(3);
  if (y.size() == 0) return;
  cuda::with_taps(h, w, [&](auto taps_h, auto taps_w) {
    const cuda::Scratch<cuda::ResizeRow<M, taps_h()>> rows(h.out);
    const cuda::Scratch<cuda::ResizeRow<M, taps_w()>> columns(w.out);
    cuda::for_each(h.out, cuda::BuildResizeRows<M, taps_h()>{h, rows.data()});
    cuda::for_each(w.out, cuda::BuildResizeRows<M, taps_w()>{w, columns.data()});
    cuda::with_packs<T>(C, {x.data, y.data}, [&](auto V) {
      cuda::for_pixels<V()>(
          N, h.out, w.out, C,
          cuda::Resample<T, V(), taps_h(), taps_w()>{h.in, w.in, C, h.out, w.out, rows.data(), columns.data(), x.data, y.data});
    });
  });
}

template <class T>
void resample_backward(const ResizeAxis& h, const ResizeAxis& w, ConstView<T, Cuda> dy, View<T, Cuda> dx) {
  using M = Master<T>;
  const index_t N = dx.dim(0), C = dx.dim(3);
  if (dx.size() == 0) return;
  const cuda::Scratch<cuda::OutputRange> row_ranges(h.in), column_ranges(w.in);
  cuda::for_each(h.in, cuda::BuildOutputRanges{h, row_ranges.data()});
  cuda::for_each(w.in, cuda::BuildOutputRanges{w, column_ranges.data()});
  cuda::with_taps(h, w, [&](auto taps_h, auto taps_w) {
    const cuda::Scratch<cuda::ResizeRow<M, taps_h()>> rows(h.out);
    const cuda::Scratch<cuda::ResizeRow<M, taps_w()>> columns(w.out);
    cuda::for_each(h.out, cuda::BuildResizeRows<M, taps_h()>{h, rows.data()});
    cuda::for_each(w.out, cuda::BuildResizeRows<M, taps_w()>{w, columns.data()});
    cuda::with_packs<T>(C, {dy.data, dx.data}, [&](auto V) {
      cuda::for_pixels<V()>(N, h.in, w.in, C,
                            cuda::ResampleBackward<T, V(), taps_h(), taps_w()>{h.in, w.in, C, h.out, w.out, rows.data(), columns.data(),
                                                                               row_ranges.data(), column_ranges.data(), dy.data, dx.data});
    });
  });
}

}  // namespace kernels
}  // namespace segnet
