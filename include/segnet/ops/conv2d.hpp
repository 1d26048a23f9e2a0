// 2-D convolution: forward and backward side by side.
#pragma once

#include "segnet/autograd/saved.hpp"
#include "segnet/kernels/conv2d.hpp"
#include "segnet/kernels/linear.hpp"

namespace segnet {

/// 2-D cross-correlation ("convolution" in this field), channels last. Notation: Dumoulin & Visin, arXiv:1603.07285.
///
///   y[n, oh, ow, o] = b[o] + sum_{ki, kj, c} w[o, ki, kj, c] * x[n, oh*stride.h - padding.h + ki*dilation.h, (w alike), c]
///
/// With groups, output channel o sees the C/groups input channels of its group alone.
///
/// As matrices, per image, with col = im2col(x) of shape [OH*OW, kh*kw*C] and W = w as [O, kh*kw*C]:
///   forward      y  = col * W^T
///   grad weight  dW = dy^T * col
///   grad input   dx = col2im(dy * W)          (the transpose of im2col; also the forward of conv_transpose2d)
///
/// @param x [N, H, W, C]   @param w [O, kh, kw, C/groups]   @param b [O], or undefined for none
/// @return  [N, OH, OW, O],  OH = floor((H + padding.begin.h + padding.end.h - dilation.h*(kh-1) - 1) / stride.h) + 1, OW alike
/// @throws  ShapeError: rank, channels, groups that do not divide them, kernel larger than the padded image.
///          ValueError: stride, dilation or groups < 1, padding < 0
/// Gradients to x, w, b. Sums in T: double stays double. Same bits for any number of threads.
/// Memory beyond y: a packed copy of w (implicit_gemm), that or w transformed and 4 MiB per thread (winograd), or OH*OW*kh*kw*C elements
/// per thread (im2col_gemm). On the CPU `automatic` takes winograd for large 3 x 3 convolutions of floats (kernels/conv2d_cost.hpp),
/// whose results are within 5e-5 of the largest one; every other algorithm is within 1e-5.
/// On the GPU float may be rounded to tf32 where cuda::allow_tf32 says so, bfloat16 sums in float, and im2col_gemm takes 64 MiB.
template <class T, class D>
[[nodiscard]] Tensor<T, D> conv2d(const Tensor<T, D>& x, const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {},
                                  const Conv2dOptions& options = {}) {
  const auto g = kernels::conv2d_geometry("conv2d", x.shape(), w.shape(), b.shape(), options);
  const ConvAlgorithm algorithm = options.algorithm;
  Tensor<T, D> y(g.y_shape());
  kernels::conv2d(g, x.view(), w.view(), b.view(), y.view(), algorithm);
  return record("conv2d", y, {x, w, b},
                [g, algorithm, x = w.tracked() ? Saved(x) : Saved<T, D>{}, w = x.tracked() ? w.detach() : Tensor<T, D>{}](
                    const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  if (grad.wanted(1)) kernels::conv2d_grad_weight(g, dy.view(), x.elements().view(), grad[1].view(), algorithm);
                  if (grad.wanted(0)) kernels::conv2d_grad_input(g, dy.view(), w.view(), {}, grad[0].view(), algorithm);
                  if (grad.wanted(2)) kernels::sum_over_rows(dy.view(), grad[2].view());
                });
}

}  // namespace segnet
