// Patches of a batch of images as rows of a matrix, and the transpose, which adds every row to the pixels that it was taken from.
#pragma once

#include "segnet/kernels/conv2d_im2col_gemm.hpp"

namespace segnet::kernels {

/// Im2col of image n: x [N, H, W, C], y [N, OH OW, kh kw, C].
template <class T>
[[nodiscard]] SEGNET_HOST_DEVICE Im2col<T> im2col(const ConvGeometry& g, const T* x, T* y, index_t n) {
  return {x + n * g.H * g.W * g.C, y + n * g.OH * g.OW * g.taps() * g.C, g};
}
/// Col2im of image n, from y to x.
template <class T>
[[nodiscard]] SEGNET_HOST_DEVICE Col2im<T> col2im(const ConvGeometry& g, const T* y, T* x, index_t n) {
  return {y + n * g.OH * g.OW * g.taps() * g.C, nullptr, x + n * g.H * g.W * g.C, g};
}

/// y = the patches of x.
template <class T>
void unfold(const ConvGeometry& g, ConstView<T, Cpu> x, View<T, Cpu> y) {
  for (index_t n = 0; n < g.N; ++n) im2col_gemm::for_each_index(im2col(g, x.data, y.data, n));
}
template <class T>
void unfold(const ConvGeometry& g, ConstView<T, Cuda> x, View<T, Cuda> y);  // cuda/unfold.cuh

/// x = the sum of y over the taps that read each pixel.
template <class T>
void fold(const ConvGeometry& g, ConstView<T, Cpu> y, View<T, Cpu> x) {
  for (index_t n = 0; n < g.N; ++n) im2col_gemm::for_each_index(col2im(g, y.data, x.data, n));
}
template <class T>
void fold(const ConvGeometry& g, ConstView<T, Cuda> y, View<T, Cuda> x);

}  // namespace segnet::kernels
