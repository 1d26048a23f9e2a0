// The largest features of regions of interest: Girshick, "Fast R-CNN", arXiv:1504.08083, section 2.1.
#pragma once

#include <cstdint>
#include <limits>

#include "segnet/kernels/roi_align.hpp"

namespace segnet::kernels {

namespace detail {
/// The pixels of `cells` cells along an axis of `size` pixels: cell i covers [floor(i * n / cells), ceil((i + 1) * n / cells)) of the n
/// pixels between the RoI's rounded ends.
inline void add_roi_pixels(double from, double to, index_t cells, index_t size, index_t offset, double scale,
                           ResizeMatrix<std::uint8_t>& m) {
  constexpr double far = 1e9;  // beyond any map: rounding and the sums below stay in range
  const auto rounded = [=](double v) { return static_cast<index_t>(std::round(std::clamp(v * scale, -far, far))); };
  const index_t start = rounded(from), n = std::max<index_t>(rounded(to) - start + 1, 1);
  for (index_t i = 0; i < cells; ++i) {
    const index_t begin = std::clamp<index_t>(i * n / cells + start, 0, size);
    const index_t end = std::clamp<index_t>(((i + 1) * n + cells - 1) / cells + start, 0, size);
    for (index_t p = begin; p < end; ++p) {
      m.index.push_back(offset + p);
      m.weight.push_back(1);
    }
    m.begin.push_back(static_cast<index_t>(m.index.size()));
  }
}
}  // namespace detail

/// @param x [N, H, W, C], of which the sizes count
[[nodiscard]] inline RoiCells<std::uint8_t> roi_pool_cells(const std::vector<Roi>& rois, const Shape& x, Extent2 output_size,
                                                           double scale) {
  RoiCells<std::uint8_t> cells{static_cast<index_t>(rois.size()), output_size.h, output_size.w, {}, {}};
  for (const Roi& roi : rois) {
    detail::add_roi_pixels(roi.y1, roi.y2, cells.PH, x[1], roi.image * x[1], scale, cells.rows);
    detail::add_roi_pixels(roi.x1, roi.x2, cells.PW, x[2], 0, scale, cells.columns);
  }
  return cells;
}

/// y[k, i, j, c] = the largest x of the cell, and pixels[k, i, j, c] where it is, counted through all images: (n * H + h) * W + w. An empty
/// cell is 0, at -1. The first in row-major order wins; a NaN wins over everything.
template <class T>
void roi_pool(const RoiCells<std::uint8_t>& cells, ConstView<T> x, View<T> y, View<std::int32_t> pixels) {
  const index_t W = x.dim(2), C = x.dim(3), row_size = cells.PW * C;
  parallel_for(cells.K * cells.PH, std::max<index_t>(1, 4096 / std::max<index_t>(row_size, 1)), [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      const index_t *const row_begin = cells.rows.begin.data(), *const column_begin = cells.columns.begin.data();
      const index_t *const rows = cells.rows.index.data(), *const columns = cells.columns.index.data();
      for (index_t row = begin; row < end; ++row)
        for (index_t j = 0; j < cells.PW; ++j) {
          const index_t column = row / cells.PH * cells.PW + j, last = row_begin[row + 1], last_column = column_begin[column + 1];
          const index_t to = row * row_size + j * C;
          const bool empty = row_begin[row] == last || column_begin[column] == last_column;
          for_channels<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
            T best[count()];
            std::int32_t place[count()];
            for (int i = 0; i < count(); ++i) {
              best[i] = empty ? T(0) : -std::numeric_limits<T>::infinity();
              place[i] = empty ? -1 : static_cast<std::int32_t>(rows[row_begin[row]] * W + columns[column_begin[column]]);
            }
            for (index_t a = row_begin[row]; a < last; ++a)
              for (index_t b = column_begin[column]; b < last_column; ++b) {
                const index_t p = rows[a] * W + columns[b];
                const T* const from = x.data + p * C + c;
                for (int i = 0; i < count(); ++i) {
                  const T value = from[i];
                  const bool wins = !(value <= best[i]) && best[i] == best[i];  // once it is NaN it stays
                  place[i] = select(wins, static_cast<std::int32_t>(p), place[i]);
                  best[i] = wins ? value : best[i];
                }
              }
            for (int i = 0; i < count(); ++i) y.data[to + c + i] = best[i];
            for (int i = 0; i < count(); ++i) pixels.data[to + c + i] = place[i];
          });
        }
    });
  });
}

/// The transpose of what was picked. A thread owns rows of dx, and adds to each what the RoIs give it, in their order.
template <class T>
void roi_pool_backward(const RoiCells<std::uint8_t>& cells, ConstView<T> dy, View<const std::int32_t> pixels, View<T> dx) {
  const index_t H = dx.dim(0) * dx.dim(1), W = dx.dim(2), C = dx.dim(3), row_size = cells.PW * C;
  const ResizeMatrix<std::uint8_t> from = transposed(cells.rows, H);
  parallel_for(H, 1, [&](index_t begin, index_t end) {
    for (index_t h = begin; h < end; ++h) {
      T* const to = dx.data + h * W * C;
      std::fill(to, to + W * C, T(0));
      for (index_t p = from.begin[static_cast<std::size_t>(h)]; p < from.begin[static_cast<std::size_t>(h) + 1]; ++p) {
        const index_t row = from.index[static_cast<std::size_t>(p)] * row_size;
        for (index_t i = row; i < row + row_size; i += C)
          for (index_t c = 0; c < C; ++c)
            if (const index_t w = pixels[i + c] - h * W; w >= 0 && w < W) to[w * C + c] += dy[i + c];
      }
    }
  });
}

// The same on the GPU: cuda/roi_pool.cuh.
template <class T>
void roi_pool(const RoiCells<std::uint8_t>& cells, ConstView<T, Cuda> x, View<T, Cuda> y, View<std::int32_t, Cuda> pixels);
template <class T>
void roi_pool_backward(const RoiCells<std::uint8_t>& cells, ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> pixels, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_ROI_POOL(TEMPLATE, T)                                                        \
  TEMPLATE void roi_pool(const RoiCells<std::uint8_t>&, ConstView<T>, View<T>, View<std::int32_t>); \
  TEMPLATE void roi_pool_backward(const RoiCells<std::uint8_t>&, ConstView<T>, View<const std::int32_t>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_ROI_POOL)

}  // namespace segnet::kernels
