// Patches of images as rows of a matrix, and the transpose.
#pragma once

#include "launch.cuh"
#include "segnet/kernels/unfold.hpp"

namespace segnet {

namespace cuda {

template <class T>
struct UnfoldBatch {
  const T* x;
  T* y;
  kernels::ConvGeometry g;
  index_t per_image;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { kernels::im2col(g, x, y, i / per_image)(i % per_image); }
};
template <class T>
struct FoldBatch {
  const T* y;
  T* x;
  kernels::ConvGeometry g;
  index_t per_image;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { kernels::col2im(g, y, x, i / per_image)(i % per_image); }
};

}  // namespace cuda

namespace kernels {

template <class T>
void unfold(const ConvGeometry& g, ConstView<T, Cuda> x, View<T, Cuda> y) {
  const index_t n = im2col(g, x.data, y.data, 0).size();
  cuda::for_each(g.N * n, cuda::UnfoldBatch<T>{x.data, y.data, g, n});
}
template <class T>
void fold(const ConvGeometry& g, ConstView<T, Cuda> y, View<T, Cuda> x) {
  const index_t n = col2im(g, y.data, x.data, 0).size();
  cuda::for_each(g.N * n, cuda::FoldBatch<T>{y.data, x.data, g, n});
}

}  // namespace kernels

}  // namespace segnet
