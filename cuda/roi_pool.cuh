// The largest features of regions of interest, one channel to a thread; backward a thread visits the cells of its pixel in order.
#pragma once

#include "roi_align.cuh"
#include "segnet/kernels/roi_pool.hpp"

namespace segnet {

namespace cuda {

template <class T>
struct RoiPool {
  DeviceMatrix<std::uint8_t> rows, columns;
  index_t PH, PW, W, C;
  const T* x;
  T* y;
  std::int32_t* pixels;

  __device__ void operator()(index_t k, index_t i, index_t j, index_t c) const {
    const index_t row = k * PH + i, column = k * PW + j;
    Master<T> best = 0;
    index_t place = -1;
    for (index_t a = rows.begin[row]; a < rows.begin[row + 1]; ++a)
      for (index_t b = columns.begin[column]; b < columns.begin[column + 1]; ++b) {
        const index_t p = rows.index[a] * W + columns.index[b];
        const auto value = static_cast<Master<T>>(x[p * C + c]);
        if (place < 0 || value > best || (value != value && best == best)) {
          best = value;
          place = p;
        }
      }
    y[(row * PW + j) * C + c] = static_cast<T>(best);
    pixels[(row * PW + j) * C + c] = static_cast<std::int32_t>(place);
  }
};

template <class T>
struct RoiPoolBackward {
  DeviceMatrix<std::uint8_t> from, columns;
  index_t PH, PW, H, W, C;
  const T* dy;
  const std::int32_t* pixels;
  T* dx;

  __device__ void operator()(index_t n, index_t h, index_t w, index_t c) const {
    Master<T> sum = 0;
    const index_t row = n * H + h, pixel = row * W + w;
    for (index_t p = from.begin[row]; p < from.begin[row + 1]; ++p) {
      const index_t cells = from.index[p], k = cells / PH;
      for (index_t j = 0; j < PW; ++j) {
        const index_t first = columns.begin[k * PW + j], last = columns.begin[k * PW + j + 1] - 1;  // a stretch of columns
        if (last < first || w < columns.index[first] || w > columns.index[last]) continue;
        const index_t i = (cells * PW + j) * C + c;
        if (pixels[i] == pixel) sum += static_cast<Master<T>>(dy[i]);
      }
    }
    dx[pixel * C + c] = static_cast<T>(sum);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void roi_pool(const RoiCells<std::uint8_t>& cells, ConstView<T, Cuda> x, View<T, Cuda> y, View<std::int32_t, Cuda> pixels) {
  if (y.size() == 0) return;
  const cuda::UploadedMatrix<std::uint8_t> rows(cells.rows), columns(cells.columns);
  cuda::for_pixels<1>(cells.K, cells.PH, cells.PW, x.dim(3),
                      cuda::RoiPool<T>{rows.get(), columns.get(), cells.PH, cells.PW, x.dim(2), x.dim(3), x.data, y.data, pixels.data});
}

template <class T>
void roi_pool_backward(const RoiCells<std::uint8_t>& cells, ConstView<T, Cuda> dy, View<const std::int32_t, Cuda> pixels,
                       View<T, Cuda> dx) {
  if (dx.size() == 0) return;
  const index_t N = dx.dim(0), H = dx.dim(1), W = dx.dim(2), C = dx.dim(3);
  const cuda::UploadedMatrix<std::uint8_t> from(transposed(cells.rows, N * H)), columns(cells.columns);
  cuda::for_pixels<1>(N, H, W, C,
                      cuda::RoiPoolBackward<T>{from.get(), columns.get(), cells.PH, cells.PW, H, W, C, dy.data, pixels.data, dx.data});
}

}  // namespace kernels
}  // namespace segnet
