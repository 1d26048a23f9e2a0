// Deformable convolution, versions 1 and 2: forward and backward side by side.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/deform_conv2d.hpp"
#include "segnet/kernels/linear.hpp"

namespace segnet {

/// Deformable convolution (Dai et al., arXiv:1703.06211), and with a mask its second version (Zhu et al., arXiv:1811.11168): a convolution
/// whose taps are displaced by offsets that depend on the output pixel, and weighted by the mask.
///
///   y[n, i, j, o] = b[o] + sum over taps k = (ki, kj), c of w[o, ki, kj, c] * mask[n, i, j, g K + k] * x[n, Y, X, c],   K = kh kw
///   Y = i stride.h - padding.h + ki dilation.h + offset[n, i, j, (g K + k) 2],    X alike, + offset[n, i, j, (g K + k) 2 + 1]
///
/// where channel c is in offset group g, and x is read bilinearly, zero outside the image (kernels/bilinear_sample.hpp).
///
/// @param x       [N, H, W, C]
/// @param offset  [N, OH, OW, offset groups * K * 2], pairs (y, x) in pixels, taps row by row; the order of torchvision's channels
/// @param w       [O, kh, kw, C/groups]
/// @param b       [O], or undefined for none
/// @param mask    [N, OH, OW, offset groups * K], as it is to be used (networks apply a sigmoid before), or undefined for ones
/// @return        [N, OH, OW, O], sizes as `conv2d`
/// @throws ShapeError, ValueError: as `conv2d`; ShapeError: offset, mask
/// An offset beyond the image reads zero, whatever its size; NaN gives NaN. Gradients to all (to an offset at integers that to the right;
/// none beyond the image). Same bits for any number of threads, and on the GPU always: there what goes to x is sorted by its pixel.
/// Memory beyond y: 8 MiB for columns, on the GPU 64 MiB; there the pass back has an image's at least, and sorts what goes to x.
template <class T, class D>
[[nodiscard]] Tensor<T, D> deform_conv2d(const Tensor<T, D>& x, const Tensor<T, D>& offset, const Tensor<T, D>& w,
                                         const std::type_identity_t<Tensor<T, D>>& b = {},
                                         const std::type_identity_t<Tensor<T, D>>& mask = {}, const DeformConv2dOptions& options = {}) {
  const auto g = kernels::deform_conv2d_geometry("deform_conv2d", x.shape(), offset.shape(), w.shape(), b.shape(), mask.shape(), options);
  const Tensor<T, D> y(g.conv.y_shape());
  kernels::deform_conv2d(g, x.view(), offset.view(), mask.view(), w.view(), b.view(), y.view());
  return record(
      "deform_conv2d", y, {x, offset, w, b, mask},
      [g, x = x.detach(), offset = offset.detach(), w = w.detach(), mask = mask.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
        const auto wanted = [&](std::size_t i) { return grad.wanted(i) ? grad[i].view() : View<T, D>{}; };
        if (grad.wanted(0) || grad.wanted(1) || grad.wanted(4))
          kernels::deform_conv2d_grad_taps(g, dy.view(), w.view(), x.view(), offset.view(), mask.view(), wanted(0), wanted(1), wanted(4));
        if (grad.wanted(2)) kernels::deform_conv2d_grad_weight(g, dy.view(), x.view(), offset.view(), mask.view(), grad[2].view());
        if (grad.wanted(3)) kernels::sum_over_rows(dy.view(), grad[3].view());
      });
}

}  // namespace segnet
