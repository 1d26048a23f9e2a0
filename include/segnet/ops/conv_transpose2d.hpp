// 2-D transposed convolution: multiplies by the transpose of a convolution's matrix.
#pragma once

#include "segnet/autograd/saved.hpp"
#include "segnet/kernels/conv2d.hpp"
#include "segnet/kernels/linear.hpp"

namespace segnet {

/// The transpose of conv2d with the same weight, stride, padding, dilation and groups (in older papers "deconvolution", which
/// it is not). It maps what that convolution puts out back to the size of what it took in:
///
///   y[n, h, v, c] = b[c] + sum_{ki, kj, o} w[o, ki, kj, c] * x[n, i, j, o]   over the i, j with i*stride.h - padding.h + ki*dilation.h = h
///                                                                            and j*stride.w - padding.w + kj*dilation.w = v
///
/// so <conv2d(a, w), x> = <a, conv_transpose2d(x, w)> for every a and x. Several input sizes lead a strided convolution to the same
/// output size; output_padding picks one of them, and adds no zeros of its own. Dumoulin & Visin, arXiv:1603.07285, chapter 4.
///
/// @param x [N, H, W, O]   @param w [O, kh, kw, C/groups], as for conv2d   @param b [C], or undefined for none
/// @return  [N, OH, OW, C],  OH = (H-1)*stride.h - padding.begin.h - padding.end.h + dilation.h*(kh-1) + output_padding.h + 1, OW alike
/// @throws  ShapeError: rank, channels, groups that do not divide them, output_padding not below max(stride, dilation), nothing left.
///          ValueError: stride, dilation or groups < 1, padding or output_padding < 0
/// Gradients to x, w, b. Every pass is a pass of conv2d with the roles exchanged: no zeros are inserted, none are multiplied.
template <class T, class D>
[[nodiscard]] Tensor<T, D> conv_transpose2d(const Tensor<T, D>& x, const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {},
                                            const ConvTranspose2dOptions& options = {}) {
  const auto g = kernels::conv_transpose2d_geometry("conv_transpose2d", x.shape(), w.shape(), b.shape(), options);
  const ConvAlgorithm algorithm = options.algorithm;
  Tensor<T, D> y(g.x_shape());
  kernels::conv2d_grad_input(g, x.view(), w.view(), b.view(), y.view(), algorithm);
  return record("conv_transpose2d", y, {x, w, b},
                [g, algorithm, x = w.tracked() ? Saved(x) : Saved<T, D>{}, w = x.tracked() ? w.detach() : Tensor<T, D>{}](
                    const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  if (grad.wanted(1)) kernels::conv2d_grad_weight(g, x.elements().view(), dy.view(), grad[1].view(), algorithm);
                  if (grad.wanted(0)) kernels::conv2d(g, dy.view(), w.view(), {}, grad[0].view(), algorithm);
                  if (grad.wanted(2)) kernels::sum_over_rows(dy.view(), grad[2].view());
                });
}

}  // namespace segnet
