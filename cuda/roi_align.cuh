// Features of regions of interest: a thread computes packs of channels of cells, or, backward, of pixels, whose cells it visits in order.
// The matrices are made on the host (kernels/roi_align.hpp) and copied.
#pragma once

#include "channel_tiles.cuh"
#include "segnet/kernels/roi_align.hpp"

namespace segnet {

namespace cuda {

/// A list of the host's on the device.
template <class T>
class Uploaded {
 public:
  explicit Uploaded(const std::vector<T>& list) : memory_(static_cast<index_t>(list.size())) {
    segnet::detail::copy_bytes<Cuda, Cpu>(memory_.data(), list.data(), list.size() * sizeof(T));
  }
  [[nodiscard]] const T* data() const { return memory_.data(); }

 private:
  Scratch<T> memory_;
};

/// A kernels::ResizeMatrix on the device.
template <class W>
struct DeviceMatrix {
  const index_t *begin, *index;
  const W* weight;
};
template <class W>
class UploadedMatrix {
 public:
  explicit UploadedMatrix(const kernels::ResizeMatrix<W>& m) : begin_(m.begin), index_(m.index), weight_(m.weight) {}
  [[nodiscard]] DeviceMatrix<W> get() const { return {begin_.data(), index_.data(), weight_.data()}; }

 private:
  Uploaded<index_t> begin_, index_;
  Uploaded<W> weight_;
};

template <class T, int V>
struct RoiAlign {
  using M = Master<T>;
  DeviceMatrix<M> rows, columns;
  index_t PH, PW, W, C;
  const T* x;
  T* y;

  __device__ void operator()(index_t k, index_t i, index_t j, index_t c) const {
    M sum[V] = {};
    const index_t row = k * PH + i, column = k * PW + j, last = columns.begin[column + 1];
    for (index_t a = rows.begin[row]; a < rows.begin[row + 1]; ++a) {
      const T* const from = x + rows.index[a] * W * C + c;
      for (index_t b = columns.begin[column]; b < last; ++b) {
        const M weight = rows.weight[a] * columns.weight[b];
        M value[V];
        load_as<V>(from + columns.index[b] * C, value);
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += weight * value[v];
      }
    }
    store_as<V>(y + (row * PW + j) * C + c, sum);
  }
};

template <class T, int V>
struct RoiAlignBackward {
  using M = Master<T>;
  DeviceMatrix<M> from;     ///< rows of the maps -> rows of cells
  DeviceMatrix<M> columns;  ///< as forward
  index_t PH, PW, H, W, C;
  const T* dy;
  T* dx;

  __device__ void operator()(index_t n, index_t h, index_t w, index_t c) const {
    M sum[V] = {};
    const index_t row = n * H + h;
    for (index_t p = from.begin[row]; p < from.begin[row + 1]; ++p) {
      const index_t cells = from.index[p], k = cells / PH;
      for (index_t j = 0; j < PW; ++j) {
        M weight = 0;
        for (index_t b = columns.begin[k * PW + j]; b < columns.begin[k * PW + j + 1]; ++b)
          if (columns.index[b] == w) weight += columns.weight[b];
        if (weight == M(0)) continue;
        weight *= from.weight[p];
        M value[V];
        load_as<V>(dy + (cells * PW + j) * C + c, value);
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += weight * value[v];
      }
    }
    store_as<V>(dx + (row * W + w) * C + c, sum);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void roi_align(const RoiCells<Master<T>>& cells, ConstView<T, Cuda> x, View<T, Cuda> y) {
  if (y.size() == 0) return;
  const index_t C = x.dim(3);
  const cuda::UploadedMatrix<Master<T>> rows(cells.rows), columns(cells.columns);
  cuda::with_packs<T>(C, {x.data, y.data}, [&](auto V) {
    cuda::for_pixels<V()>(cells.K, cells.PH, cells.PW, C,
                          cuda::RoiAlign<T, V()>{rows.get(), columns.get(), cells.PH, cells.PW, x.dim(2), C, x.data, y.data});
  });
}

template <class T>
void roi_align_backward(const RoiCells<Master<T>>& cells, ConstView<T, Cuda> dy, View<T, Cuda> dx) {
  if (dx.size() == 0) return;
  const index_t N = dx.dim(0), H = dx.dim(1), W = dx.dim(2), C = dx.dim(3);
  const cuda::UploadedMatrix<Master<T>> from(transposed(cells.rows, N * H)), columns(cells.columns);
  cuda::with_packs<T>(C, {dy.data, dx.data}, [&](auto V) {
    cuda::for_pixels<V()>(N, H, W, C,
                          cuda::RoiAlignBackward<T, V()>{from.get(), columns.get(), cells.PH, cells.PW, H, W, C, dy.data, dx.data});
  });
}

}  // namespace kernels
}  // namespace segnet
