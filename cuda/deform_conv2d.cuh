// Deformable convolution as a matrix product of cuBLAS: taps are sampled into columns, for some pixels at a time.
#pragma once

#include <numeric>

#include "cublas.cuh"
#include "deformable.cuh"
#include "segnet/kernels/deform_conv2d.hpp"

namespace segnet {

namespace cuda {

/// Most bytes of columns, unless an image needs more in the pass back to it.
constexpr index_t deform_column_bytes = index_t{64} << 20;

/// Channels that lie together in the columns and read at the same points.
[[nodiscard]] inline index_t channel_unit(const kernels::DeformConv2dGeometry& g) {
  return std::gcd(g.conv.group_inputs(), g.taps.group_channels());
}

/// f(first, pixels, columns) for one piece after the other of the output pixels.
template <class T, class F>
void for_sampled_columns(const kernels::DeformConv2dGeometry& g, const T* x, const T* offset, const T* mask, const F& f) {
  const index_t all = g.taps.pixels(), most = g.pixels_within(deform_column_bytes / static_cast<index_t>(sizeof(T)));
  const Scratch<T> col(most * g.conv.groups * g.depth());
  for (index_t first = 0; first < all; first += most) {
    const index_t pixels = std::min(most, all - first);
    with_packs<T>(channel_unit(g), {x, col.data()}, [&](auto V) {
      for_pixels<V()>(1, 1, pixels, g.conv.C, SampleTaps<T, V()>{{g.taps, offset, mask}, x, g.columns(col.data(), pixels), first});
    });
    f(first, pixels, Matrices<T>{col.data(), g.depth(), pixels * g.depth()});
  }
}

}  // namespace cuda

namespace kernels {

/// y = columns * W^T + b
template <class T>
void deform_conv2d(const DeformConv2dGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> offset, ConstView<T, Cuda> mask,
                   ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y) {
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), depth = g.depth();
  if (b) cuda::repeat_row(g.taps.pixels(), O, b.data, y.data);
  cuda::for_sampled_columns(g, x.data, offset.data, mask.data, [&](index_t first, index_t pixels, const cuda::Matrices<T>& col) {
    cuda::gemm(pixels, Og, depth, col, {w.data, depth, Og * depth, true}, y.data + first * O, O, static_cast<bool>(b), g.conv.groups, Og);
  });
}

/// dw = dy^T * columns, summed over the pieces in their order, in Master<T>
template <class T>
void deform_conv2d_grad_weight(const DeformConv2dGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<T, Cuda> offset,
                               ConstView<T, Cuda> mask, View<T, Cuda> dw) {
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), depth = g.depth();
  const cuda::Scratch<Master<T>> sum(dw.size());
  if (g.taps.pixels() == 0) cuda::gemm<T>(O, depth, 0, {dy.data, O}, {x.data, depth}, sum.data(), depth);  // zeros
  cuda::for_sampled_columns(g, x.data, offset.data, mask.data, [&](index_t first, index_t pixels, const cuda::Matrices<T>& col) {
    cuda::gemm(Og, depth, pixels, {dy.data + first * O, O, Og, true}, col, sum.data(), depth, first > 0, g.conv.groups, Og * depth);
  });
  cuda::for_each(dw.size(), cuda::CopyElements<T, Master<T>>{dw.data, sum.data()});
}

/// With dcolumns = dy * W, in Master<T>, for whole images.
template <class T>
void deform_conv2d_grad_taps(const DeformConv2dGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> x,
                             ConstView<T, Cuda> offset, ConstView<T, Cuda> mask, View<T, Cuda> dx, View<T, Cuda> doffset,
                             View<T, Cuda> dmask) {
  using M = Master<T>;
  const cuda::DeformedPoints<T> where{g.taps, offset.data, mask.data};
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), C = g.conv.C, depth = g.depth(), unit = cuda::channel_unit(g);
  const index_t plane = g.taps.OH * g.taps.OW, size = g.taps.H * g.taps.W * C, row = g.conv.groups * depth;
  const index_t most =
      std::min(g.taps.N, std::max<index_t>(1, cuda::deform_column_bytes / (plane * row * static_cast<index_t>(sizeof(M)))));
  const cuda::Scratch<M> dcol(most * plane * row), sum(dx ? most * size : 0);
  for (index_t image = 0; image < g.taps.N; image += most) {
    const index_t images = std::min(most, g.taps.N - image), pixels = images * plane, first = image * plane;
    cuda::gemm<T>(pixels, depth, Og, {dy.data + first * O, O, Og}, {w.data, depth, Og * depth}, dcol.data(), depth, false, g.conv.groups,
                  pixels * depth);
    if (dx) {
      cuda::scatter_taps<T, M>(where, cuda::TapsOfColumns{pixels, g.conv.taps(), g.conv.group_inputs(), unit}, dcol.data(),
                               pixels * row / unit, 1, unit, image, images, sum.data());
      cuda::for_each(images * size, cuda::CopyElements<T, M>{dx.data + image * size, sum.data()});
    }
    if (doffset || dmask)
      cuda::grad_taps<T, M>(where, x.data, g.columns<const M>(dcol.data(), pixels), unit, first, pixels, doffset.data, dmask.data);
  }
}

}  // namespace kernels

}  // namespace segnet
