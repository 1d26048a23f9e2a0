// Features of regions of interest (RoIs), sampled bilinearly: He, Gkioxari, Dollar, Girshick, "Mask R-CNN", arXiv:1703.06870, section 3.
//
// The samples of a cell form a grid, and bilinear weights are products, so that both axes separate, as in resizing: a cell is
// sum over h, w of rows[cell's row, h] * columns[cell's column, w] * x[h, w]. The two sparse matrices are made on the host, where the RoIs
// are; samples that share a pixel share an entry, which for large cells leaves a quarter of the reads. The backward pass gathers by their
// transposes.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/resize.hpp"

namespace segnet {

struct RoiAlignOptions {
  Extent2 output_size = 7;
  double spatial_scale = 1;    ///< of the map: 1 / stride
  index_t sampling_ratio = 0;  ///< samples of a cell along each axis; 0 (or less): as many as it has pixels, rounded up
  bool aligned = false;        ///< pixel centres at halves (detectron2's "V2"), and RoIs may be smaller than a pixel
};

namespace kernels {

/// A region: which image, and its corners in pixels of the image (not of the map).
struct Roi {
  index_t image;
  double x1, y1, x2, y2;
};

/// What the cells of K RoIs read: row k * PH + i of `rows` that of cell row i, whose index counts the rows of all images (n * H + h);
/// row k * PW + j of `columns` alike, by column of the map. W is the type of the weights.
template <class W>
struct RoiCells {
  index_t K, PH, PW;
  ResizeMatrix<W> rows, columns;
};

namespace detail {

/// Appends to m the samples of `cells` cells along an axis of `size` pixels, the RoI being [from, to] there.
template <class W>
void add_roi_samples(double from, double to, index_t cells, index_t size, index_t offset, const RoiAlignOptions& o, ResizeMatrix<W>& m) {
  const double shift = o.aligned ? 0.5 : 0;
  const double start = from * o.spatial_scale - shift, length = to * o.spatial_scale - shift - start;
  const double cell = (o.aligned ? length : std::max(length, 1.0)) / static_cast<double>(cells);
  const double samples = o.sampling_ratio > 0 ? static_cast<double>(o.sampling_ratio) : std::max(std::ceil(cell), 0.0),
               n = static_cast<double>(size);
  const auto add = [&](std::size_t first, index_t i, double weight) {
    const auto w = static_cast<W>(weight / samples);
    const std::size_t end = m.index.size();
    for (std::size_t k = end; k > first && k + 2 > end; --k)  // neighbouring samples share pixels
      if (m.index[k - 1] == offset + i) {
        m.weight[k - 1] += w;
        return;
      }
    m.index.push_back(offset + i);
    m.weight.push_back(w);
  };
  for (index_t i = 0; i < cells; ++i) {
    const std::size_t first = m.index.size();
    const double at = start + static_cast<double>(i) * cell, step = cell / samples;
    // Of the samples only those in [-1, n] count: in a RoI of any size a number of the map's.
    double begin = 0, end = samples;
    if (o.sampling_ratio <= 0 && samples > 0) {
      begin = std::max(begin, std::floor((-1 - at) / step - 1));
      end = std::min(end, std::ceil((n - at) / step + 1));
    }
    for (double s = begin; s < end; ++s) {
      double y = at + (s + 0.5) * step;
      if (y < -1 || y > n) continue;
      y = std::max(y, 0.0);
      const auto low = static_cast<index_t>(y);
      if (low >= size - 1) {
        add(first, size - 1, 1);
      } else {
        const double t = y - static_cast<double>(low);
        add(first, low, 1 - t);
        add(first, low + 1, t);
      }
    }
    m.begin.push_back(static_cast<index_t>(m.index.size()));
  }
}

}  // namespace detail

/// @param x [N, H, W, C], of which the sizes count
template <class W>
[[nodiscard]] RoiCells<W> roi_align_cells(const std::vector<Roi>& rois, const Shape& x, const RoiAlignOptions& o) {
  RoiCells<W> cells{static_cast<index_t>(rois.size()), o.output_size.h, o.output_size.w, {}, {}};
  for (const Roi& roi : rois) {
    detail::add_roi_samples(roi.y1, roi.y2, cells.PH, x[1], roi.image * x[1], o, cells.rows);
    detail::add_roi_samples(roi.x1, roi.x2, cells.PW, x[2], 0, o, cells.columns);
  }
  return cells;
}

namespace detail {
/// to[c] = sum over the taps of weight[k] * x[at[k] + c]; four cache lines of channels at a time, which a tap's weight is loaded for.
template <class T>
SEGNET_INLINE void mix_pixels(const T* x, const index_t* at, const T* weight, index_t taps, index_t C, T* to) {
  for_channels<T, 256 / static_cast<int>(sizeof(T))>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
    T sum[count()] = {};
    for (index_t k = 0; k < taps; ++k) {
      const T* const p = x + at[k] + c;
      const T w = weight[k];
      for (int i = 0; i < count(); ++i) sum[i] += w * p[i];
    }
    for (int i = 0; i < count(); ++i) to[c + i] = sum[i];
  });
}
}  // namespace detail

/// y[k, i, j, c] = sum of rows * columns * x
template <class T>
void roi_align(const RoiCells<T>& cells, ConstView<T> x, View<T> y) {
  const index_t W = x.dim(2), C = x.dim(3), row_size = cells.PW * C;
  parallel_for(cells.K * cells.PH, std::max<index_t>(1, 4096 / std::max<index_t>(row_size, 1)), [&](index_t begin, index_t end) {
    std::vector<index_t> at;  // the pixels of one cell, and their weights
    std::vector<T> weight;
    for (index_t row = begin; row < end; ++row)
      for (index_t j = 0; j < cells.PW; ++j) {
        at.clear();
        weight.clear();
        const index_t column = row / cells.PH * cells.PW + j;
        for (auto a = cells.rows.begin[static_cast<std::size_t>(row)]; a < cells.rows.begin[static_cast<std::size_t>(row) + 1]; ++a)
          for (auto b = cells.columns.begin[static_cast<std::size_t>(column)];
               b < cells.columns.begin[static_cast<std::size_t>(column) + 1]; ++b) {
            at.push_back((cells.rows.index[static_cast<std::size_t>(a)] * W + cells.columns.index[static_cast<std::size_t>(b)]) * C);
            weight.push_back(cells.rows.weight[static_cast<std::size_t>(a)] * cells.columns.weight[static_cast<std::size_t>(b)]);
          }
        vectorized([&]() SEGNET_INLINE_LAMBDA {
          detail::mix_pixels(x.data, at.data(), weight.data(), static_cast<index_t>(at.size()), C, y.data + row * row_size + j * C);
        });
      }
  });
}

/// The transpose. A thread owns rows of dx, and adds to each what the RoIs give it, in their order.
template <class T>
void roi_align_backward(const RoiCells<T>& cells, ConstView<T> dy, View<T> dx) {
  const index_t H = dx.dim(0) * dx.dim(1), row_out = dx.dim(2) * dx.dim(3), C = dx.dim(3), row_size = cells.PW * C;
  const ResizeMatrix<T> from = transposed(cells.rows, H);
  parallel_for(H, 1, [&](index_t begin, index_t end) {
    const Tensor<T> mixed({row_size});
    for (index_t h = begin; h < end; ++h) {
      T* const to = dx.data + h * row_out;
      std::fill(to, to + row_out, T(0));
      const index_t last = from.begin[static_cast<std::size_t>(h) + 1];
      for (index_t p = from.begin[static_cast<std::size_t>(h)]; p < last;) {
        const index_t k = from.index[static_cast<std::size_t>(p)] / cells.PH;
        index_t next = p + 1;  // behind the rows of cells of this RoI
        while (next < last && from.index[static_cast<std::size_t>(next)] / cells.PH == k) ++next;
        vectorized([&]() SEGNET_INLINE_LAMBDA {
          detail::mix(dy.data, row_size, from.index.data() + p, from.weight.data() + p, next - p, row_size, mixed.data());
          for (index_t j = 0; j < cells.PW; ++j) {
            const T* const gradient = mixed.data() + j * C;
            const auto column = static_cast<std::size_t>(k * cells.PW + j);
            for (index_t b = cells.columns.begin[column]; b < cells.columns.begin[column + 1]; ++b) {
              T* const pixel = to + cells.columns.index[static_cast<std::size_t>(b)] * C;
              const T w = cells.columns.weight[static_cast<std::size_t>(b)];
              SEGNET_SIMD
              for (index_t c = 0; c < C; ++c) pixel[c] += w * gradient[c];
            }
          }
        });
        p = next;
      }
    }
  });
}

// The same on the GPU: cuda/roi_align.cuh.
template <class T>
void roi_align(const RoiCells<Master<T>>& cells, ConstView<T, Cuda> x, View<T, Cuda> y);
template <class T>
void roi_align_backward(const RoiCells<Master<T>>& cells, ConstView<T, Cuda> dy, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_ROI_ALIGN(TEMPLATE, T)                         \
  TEMPLATE void roi_align(const RoiCells<T>&, ConstView<T>, View<T>); \
  TEMPLATE void roi_align_backward(const RoiCells<T>&, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_ROI_ALIGN)

}  // namespace kernels
}  // namespace segnet
