// Pooling and unpooling, channels last: windows per axis, then loops over pixels whose innermost loop runs over channels.
//
// Every pass is a gather: each output element is written once, by one thread, from elements found through `PoolAxis`. The
// backward passes ask the transposed question, "which windows read this pixel", so they need no atomics and repeat their bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/math.hpp"
#include "segnet/kernels/pooling_geometry.hpp"

namespace segnet::kernels {

namespace detail {

/// Calls f(row, c0, c1) over all rows of N images of `rows` rows, for channels [c0, c1): all at once where rows are many, else
/// (pooling to a few cells) in blocks, so that there is work for every thread.
template <class F>
void for_image_rows(index_t N, index_t rows, index_t row_size, index_t C, const F& f) {
  const index_t block = N * rows >= 64 ? std::max<index_t>(C, 1) : 64, blocks = (C + block - 1) / block;
  parallel_for(N * rows * blocks, (index_t{1} << 14) / std::max<index_t>(row_size, 1), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) f(i / blocks, i % blocks * block, std::min(C, (i % blocks + 1) * block));
  });
}

/// f(0), ..., f(n - 1): ranges and widths along an axis, so that no pixel waits for an integer division.
template <class F>
[[nodiscard]] auto table(index_t n, const F& f) {
  std::vector<decltype(f(index_t{}))> values(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = f(i);
  return values;
}
[[nodiscard]] inline std::vector<PoolAxis::Range> window_table(const PoolAxis& axis) {
  return table(axis.out, [&](index_t o) { return axis.window(o); });
}
[[nodiscard]] inline std::vector<PoolAxis::Range> output_table(const PoolAxis& axis) {
  return table(axis.in, [&](index_t i) { return axis.outputs(i); });
}

/// One row of `max_pool2d`, channels [0, channels) of each pixel; x, y, indices point to the first of them.
template <bool keep_indices, class T>
SEGNET_INLINE void max_pool2d_row(const PoolGeometry& g, PoolAxis::Range rows, const PoolAxis::Range* windows, const T* x, T* y,
                                  std::int32_t* indices, index_t channels) {
  for (index_t ow = 0; ow < g.w.out; ++ow) {
    const PoolAxis::Range columns = windows[ow];
    const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
    const std::int32_t first = empty ? -1 : static_cast<std::int32_t>(rows.begin * g.w.in + columns.begin);
    for_channels<T>(channels, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
      T best[count()];
      std::int32_t place[count()];
      for (int i = 0; i < count(); ++i) best[i] = -static_cast<T>(__builtin_inf());
      for (int i = 0; i < count(); ++i) place[i] = first;
      const auto look_at = [&](index_t h, index_t w) SEGNET_INLINE_LAMBDA {
        const auto here = static_cast<std::int32_t>(h * g.w.in + w);
        const T* value = x + here * g.C + c;
        for (int i = 0; i < count(); ++i) {
          // NaN replaces everything, and stays because nothing compares larger.
          const bool better = (value[i] > best[i]) | (value[i] != value[i]);
          best[i] = math::select(better, value[i], best[i]);
          if constexpr (keep_indices) place[i] = select(better, here, place[i]);
        }
      };
      if (rows.end - rows.begin == 2 && columns.end - columns.begin == 2 && g.h.dilation == 1 && g.w.dilation == 1) {
        SEGNET_UNROLL for (int i = 0; i < 4; ++i) look_at(rows.begin + i / 2, columns.begin + i % 2);  // what nearly every network uses
      } else {
        for (index_t h = rows.begin; h < rows.end; h += g.h.dilation)
          for (index_t w = columns.begin; w < columns.end; w += g.w.dilation) look_at(h, w);
      }
      for (int i = 0; i < count(); ++i) y[ow * g.C + c + i] = best[i];
      if constexpr (keep_indices)
        for (int i = 0; i < count(); ++i) indices[ow * g.C + c + i] = place[i];
    });
  }
}

}  // namespace detail

/// y = the largest element of each window; on equal values the first in row-major order; NaN wins (the last one); -infinity where
/// a window is empty. Writes h * W + w of each maximum (-1: none) to `indices`, unless its data is null.
template <class T>
void max_pool2d(const PoolGeometry& g, ConstView<T> x, View<T> y, View<std::int32_t> indices) {
  const auto windows = detail::window_table(g.w);
  detail::for_image_rows(g.N, g.h.out, g.w.out * g.C, g.C, [&](index_t row, index_t c0, index_t c1) {
    const T* image = x.data + row / g.h.out * g.h.in * g.w.in * g.C + c0;
    const index_t o = row * g.w.out * g.C + c0;
    const PoolAxis::Range rows = g.h.window(row % g.h.out);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      if (indices) detail::max_pool2d_row<true>(g, rows, windows.data(), image, y.data + o, indices.data + o, c1 - c0);
      else detail::max_pool2d_row<false, T>(g, rows, windows.data(), image, y.data + o, nullptr, c1 - c0);
    });
  });
}

/// dx[i] = sum of dy over the windows whose maximum stood at i.
template <class T>
void max_pool2d_backward(const PoolGeometry& g, ConstView<T> dy, View<const std::int32_t> indices, View<T> dx) {
  const auto outputs = detail::output_table(g.w);
  detail::for_image_rows(g.N, g.h.in, g.w.in * g.C, g.C, [&](index_t row, index_t c0, index_t c1) {
    const index_t o = row / g.h.in * g.h.out * g.w.out * g.C + c0, h = row % g.h.in;
    const PoolAxis::Range rows = g.h.outputs(h);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      T* pixel = dx.data + row * g.w.in * g.C + c0;
      for (index_t w = 0; w < g.w.in; ++w, pixel += g.C) {
        const PoolAxis::Range columns = outputs[static_cast<std::size_t>(w)];
        const auto here = static_cast<std::int32_t>(h * g.w.in + w);
        for_channels<T>(c1 - c0, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          T sum[count()] = {};
          for (index_t oh = rows.begin; oh < rows.end; ++oh)
            for (index_t ow = columns.begin; ow < columns.end; ++ow) {
              const index_t at = o + (oh * g.w.out + ow) * g.C + c;
              const T* gradient = dy.data + at;
              const std::int32_t* place = indices.data + at;
              for (int i = 0; i < count(); ++i) {
                const T value = gradient[i];
                sum[i] += place[i] == here ? value : T(0);
              }
            }
          for (int i = 0; i < count(); ++i) pixel[c + i] = sum[i];
        });
      }
    });
  });
}

/// y = the sum of each window over `divisor`. Summed row by row first, which loses less in large windows.
template <class T>
void avg_pool2d(const PoolGeometry& g, PoolDivisor divisor, ConstView<T> x, View<T> y) {
  const auto windows = detail::window_table(g.w);
  const auto widths = detail::table(g.w.out, [&](index_t ow) { return divisor.columns<T>(g.w, ow); });
  detail::for_image_rows(g.N, g.h.out, g.w.out * g.C, g.C, [&](index_t row, index_t c0, index_t c1) {
    const T* image = x.data + row / g.h.out * g.h.in * g.w.in * g.C + c0;
    const PoolAxis::Range rows = g.h.window(row % g.h.out);
    const T height = divisor.rows<T>(g.h, row % g.h.out);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      T* mean = y.data + row * g.w.out * g.C + c0;
      for (index_t ow = 0; ow < g.w.out; ++ow, mean += g.C) {
        const PoolAxis::Range columns = windows[static_cast<std::size_t>(ow)];
        const T factor = T(1) / (height * widths[static_cast<std::size_t>(ow)]);
        for_channels<T>(c1 - c0, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          T sum[count()] = {};
          for (index_t h = rows.begin; h < rows.end; ++h) {
            T row_sum[count()] = {};
            for (index_t w = columns.begin; w < columns.end; ++w) {
              const T* value = image + (h * g.w.in + w) * g.C + c;
              for (int i = 0; i < count(); ++i) row_sum[i] += value[i];
            }
            for (int i = 0; i < count(); ++i) sum[i] += row_sum[i];
          }
          for (int i = 0; i < count(); ++i) mean[c + i] = sum[i] * factor;
        });
      }
    });
  });
}

/// The transpose of `avg_pool2d`: dx[i] = sum of dy / divisor over the windows that read i.
template <class T>
void avg_pool2d_backward(const PoolGeometry& g, PoolDivisor divisor, ConstView<T> dy, View<T> dx) {
  const auto outputs = detail::output_table(g.w);
  const auto widths = detail::table(g.w.out, [&](index_t ow) { return divisor.columns<T>(g.w, ow); });
  const auto heights = detail::table(g.h.out, [&](index_t oh) { return divisor.rows<T>(g.h, oh); });
  detail::for_image_rows(g.N, g.h.in, g.w.in * g.C, g.C, [&](index_t row, index_t c0, index_t c1) {
    const T* image = dy.data + row / g.h.in * g.h.out * g.w.out * g.C + c0;
    const index_t h = row % g.h.in;
    const PoolAxis::Range rows = g.h.outputs(h);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      T* pixel = dx.data + row * g.w.in * g.C + c0;
      for (index_t w = 0; w < g.w.in; ++w, pixel += g.C) {
        const PoolAxis::Range columns = outputs[static_cast<std::size_t>(w)];
        for_channels<T>(c1 - c0, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          T sum[count()] = {};
          for (index_t oh = rows.begin; oh < rows.end; ++oh)
            for (index_t ow = columns.begin; ow < columns.end; ++ow) {
              const T* gradient = image + (oh * g.w.out + ow) * g.C + c;
              const T factor = T(1) / (heights[static_cast<std::size_t>(oh)] * widths[static_cast<std::size_t>(ow)]);
              for (int i = 0; i < count(); ++i) sum[i] += gradient[i] * factor;
            }
          for (int i = 0; i < count(); ++i) pixel[c + i] = sum[i];
        });
      }
    });
  });
}

/// For each input row [n, h] of an unpooling, the first and last row of the output plane that its indices [N, H, W, C] point to.
struct UnpoolRow {
  std::int32_t first, last;
};

/// Those rows, and whether every index lies in a plane of `output_size`.
[[nodiscard]] inline bool unpool_rows(View<const std::int32_t> indices, Extent2 output_size, std::vector<UnpoolRow>& rows) {
  const index_t row_size = indices.dim(2) * indices.dim(3);
  rows.assign(static_cast<std::size_t>(row_size ? indices.dim(0) * indices.dim(1) : 0), {});
  const auto width = static_cast<std::int32_t>(output_size.w);
  parallel_for(static_cast<index_t>(rows.size()), (index_t{1} << 14) / std::max<index_t>(row_size, 1), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const std::int32_t* index = indices.data + row * row_size;
      std::int32_t low = index[0], high = index[0];
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        constexpr int lanes = 16;
        std::int32_t lows[lanes], highs[lanes];
        for (int k = 0; k < lanes; ++k) lows[k] = highs[k] = index[0];
        index_t i = 0;
        for (; i + lanes <= row_size; i += lanes) {
          for (int k = 0; k < lanes; ++k) {
            const std::int32_t place = index[i + k];
            lows[k] = place < lows[k] ? place : lows[k];
            highs[k] = place > highs[k] ? place : highs[k];
          }
        }
        for (; i < row_size; ++i) {
          lows[0] = std::min(lows[0], index[i]);
          highs[0] = std::max(highs[0], index[i]);
        }
        low = *std::min_element(lows, lows + lanes);
        high = *std::max_element(highs, highs + lanes);
      });
      const bool inside = low >= 0 && high < output_size.h * output_size.w;
      rows[static_cast<std::size_t>(row)] = inside ? UnpoolRow{low / width, high / width} : UnpoolRow{-1, -1};
    }
  });
  for (const UnpoolRow& row : rows)
    if (row.first < 0) return false;
  return true;
}

/// y[n, indices[n, h, w, c], c] = x[n, h, w, c], zero elsewhere; of several the last one wins. Returns false, with y undefined, if an
/// index lies outside of y. Each thread owns bands of output rows that fit its cache, and reads the input rows that point there, so
/// the order never depends on the threads.
template <class T>
[[nodiscard]] bool max_unpool2d(ConstView<T> x, View<const std::int32_t> indices, View<T> y) {
  std::vector<UnpoolRow> rows;
  if (!unpool_rows(indices, {y.dim(1), y.dim(2)}, rows)) return false;
  const index_t N = x.dim(0), H = x.dim(1), row_size = x.dim(2) * x.dim(3), C = x.dim(3), OH = y.dim(1), OW = y.dim(2);
  const index_t band = std::max<index_t>(8, (index_t{1} << 15) / std::max<index_t>(OW * C, 1)), bands = (OH + band - 1) / band;
  parallel_chunks(y.size() ? N * bands : 0, [&](index_t chunk) {
    const index_t n = chunk / bands, begin = chunk % bands * band, end = std::min(OH, begin + band);
    T* plane = y.data + n * OH * OW * C;
    std::memset(plane + begin * OW * C, 0, static_cast<std::size_t>((end - begin) * OW * C) * sizeof(T));
    const auto low = static_cast<std::uint32_t>(begin * OW), count = static_cast<std::uint32_t>((end - begin) * OW);
    for (index_t h = 0; h < (row_size ? H : 0); ++h) {
      const UnpoolRow& row = rows[static_cast<std::size_t>(n * H + h)];
      if (row.last < begin || row.first >= end) continue;
      const T* value = x.data + (n * H + h) * row_size;
      const std::int32_t* index = indices.data + (n * H + h) * row_size;
      T elsewhere;  // no branch: where a maximum stood cannot be predicted
      for (index_t i = 0; i < row_size; i += C)
        for (index_t c = 0; c < C; ++c) {
          const std::int32_t place = index[i + c];
          *(static_cast<std::uint32_t>(place) - low < count ? plane + place * C + c : &elsewhere) = value[i + c];
        }
    }
  });
  return true;
}

/// The transpose of `max_unpool2d`: dx[n, h, w, c] = dy[n, indices[n, h, w, c], c].
template <class T>
void max_unpool2d_backward(ConstView<T> dy, View<const std::int32_t> indices, View<T> dx) {
  const index_t C = dx.dim(3), pixels = dx.dim(1) * dx.dim(2), plane = dy.dim(1) * dy.dim(2) * C;
  parallel_for(dx.dim(0) * pixels, (index_t{1} << 14) / std::max<index_t>(C, 1), [&](index_t begin, index_t end) {
    for (index_t p = begin; p < end; ++p) {
      const T* image = dy.data + p / pixels * plane;
      for (index_t c = 0; c < C; ++c) dx.data[p * C + c] = image[indices.data[p * C + c] * C + c];
    }
  });
}

// The same on the GPU: cuda/pooling.cuh.
template <class T>
void max_pool2d(const PoolGeometry& g, ConstView<T, Cuda> x, View<T, Cuda> y, View<std::int32_t, Cuda> indices);
template <class T>
void max_pool2d_backward(const PoolGeometry& g, ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> indices, View<T, Cuda> dx);
template <class T>
void avg_pool2d(const PoolGeometry& g, PoolDivisor divisor, ConstView<T, Cuda> x, View<T, Cuda> y);
template <class T>
void avg_pool2d_backward(const PoolGeometry& g, PoolDivisor divisor, ConstView<T, Cuda> dy, View<T, Cuda> dx);
template <class T>
[[nodiscard]] bool max_unpool2d(ConstView<T, Cuda> x, View<const std::int32_t, Cuda> indices, View<T, Cuda> y);
template <class T>
void max_unpool2d_backward(ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> indices, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_POOLING(TEMPLATE, T)                                                                \
  TEMPLATE void max_pool2d(const PoolGeometry&, ConstView<T>, View<T>, View<std::int32_t>);                \
  TEMPLATE void max_pool2d_backward(const PoolGeometry&, ConstView<T>, View<const std::int32_t>, View<T>); \
  TEMPLATE void avg_pool2d(const PoolGeometry&, PoolDivisor, ConstView<T>, View<T>);                       \
  TEMPLATE void avg_pool2d_backward(const PoolGeometry&, PoolDivisor, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_POOLING)

}  // namespace segnet::kernels
