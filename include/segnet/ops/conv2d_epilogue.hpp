// Convolution for inference: what follows it is computed as its results are stored. Has no backward pass.
#pragma once

#include <cmath>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/conv2d.hpp"

namespace segnet {

/// What is done to the sums of a convolution, channel by channel: times `scale` [O], plus `shift` [O]. Undefined: 1, 0.
template <class T>
struct ScaleShift {
  Tensor<T> scale, shift;
};

/// A convolution's bias and the batch norm behind it, whose statistics are fixed, as one factor and one number a channel:
///
///   (sum + conv_bias - mean) / sqrt(var + eps) * weight + bias  =  sum * scale + shift
///
/// @param mean, var [O]   @param conv_bias, weight, bias [O], or undefined (0, 1, 0)   @throws ShapeError
template <class T>
[[nodiscard]] ScaleShift<T> fold_batch_norm(const Tensor<T>& conv_bias, const Tensor<T>& mean, const Tensor<T>& var,
                                            const Tensor<T>& weight, const Tensor<T>& bias, double eps) {
  if (mean.rank() != 1) throw ShapeError("fold_batch_norm", "mean", "[O]", mean.shape());
  const index_t channels = mean.dim(0);
  const auto reader = [&](const char* argument, const Tensor<T>& t, double otherwise) {
    if (t && t.shape() != mean.shape()) throw ShapeError("fold_batch_norm", argument, concat(mean.shape()), t.shape());
    return [p = t.data(), otherwise](index_t c) { return p ? static_cast<double>(p[c]) : otherwise; };
  };
  if (!var) throw ShapeError("fold_batch_norm", "var", concat(mean.shape()), var.shape());
  const auto m = reader("mean", mean, 0), v = reader("var", var, 1), gamma = reader("weight", weight, 1), beta = reader("bias", bias, 0),
             b = reader("conv_bias", conv_bias, 0);
  const ScaleShift<T> folded{Tensor<T>({channels}), Tensor<T>({channels})};
  for (index_t c = 0; c < channels; ++c) {
    const double scale = gamma(c) / std::sqrt(v(c) + eps);
    folded.scale.data()[c] = static_cast<T>(scale);
    folded.shift.data()[c] = static_cast<T>(beta(c) + (b(c) - m(c)) * scale);
  }
  return folded;
}

namespace detail {
/// The kernels' epilogue, after all checks; y is the shape of the result.
template <class T>
[[nodiscard]] kernels::Epilogue<T> checked_epilogue(const char* op, const Shape& y, const Tensor<T>& x, const Tensor<T>& w,
                                                    const ScaleShift<T>& affine, Activation activation, const Tensor<T>& residual) {
  const autograd::Input inputs[] = {x, w, affine.scale, affine.shift, residual};
  if (wants_recording(inputs, std::size(inputs)))
    throw Error(concat("segnet::", op, ": has no gradients; compute under NoGrad, or write its parts one after the other"));
  const Shape channels{y[3]};
  if (affine.scale && affine.scale.shape() != channels) throw ShapeError(op, "scale", concat(channels), affine.scale.shape());
  if (affine.shift && affine.shift.shape() != channels) throw ShapeError(op, "shift", concat(channels), affine.shift.shape());
  if (residual && residual.shape() != y) throw ShapeError(op, "residual", concat(y), residual.shape());
  kernels::Epilogue<T> e;
  e.scale = affine.scale.data();
  e.shift = affine.shift.data();
  e.residual = residual.data();
  e.activation = activation;
  return e;
}
}  // namespace detail

/// activation(conv2d(x, w) * scale + shift + residual) in the passes over memory of conv2d alone, and one read of the residual. On the CPU.
///
/// @param x [N, H, W, C]   @param w [O, kh, kw, C/groups]   @param residual [N, OH, OW, O], or undefined   @return [N, OH, OW, O]
/// @throws  as conv2d; ShapeError: scale, shift, residual; Error: gradients of an argument are wanted
template <class T>
[[nodiscard]] Tensor<T> conv2d_epilogue(const Tensor<T>& x, const Tensor<T>& w, const ScaleShift<T>& affine,
                                        Activation activation = Activation::none, const Tensor<T>& residual = {},
                                        const Conv2dOptions& options = {}) {
  const auto g = kernels::conv2d_geometry("conv2d_epilogue", x.shape(), w.shape(), {0}, options);
  const auto e = detail::checked_epilogue("conv2d_epilogue", g.y_shape(), x, w, affine, activation, residual);
  const Tensor<T> y(g.y_shape());
  kernels::conv2d(g, x.view(), w.view(), e, y.view(), options.algorithm);
  return y;
}

/// The same with conv_transpose2d for conv2d: scale, shift [C], residual shaped like its result [N, OH, OW, C].
template <class T>
[[nodiscard]] Tensor<T> conv_transpose2d_epilogue(const Tensor<T>& x, const Tensor<T>& w, const ScaleShift<T>& affine,
                                                  Activation activation = Activation::none, const Tensor<T>& residual = {},
                                                  const ConvTranspose2dOptions& options = {}) {
  const auto g = kernels::conv_transpose2d_geometry("conv_transpose2d_epilogue", x.shape(), w.shape(), {0}, options);
  const auto e = detail::checked_epilogue("conv_transpose2d_epilogue", g.x_shape(), x, w, affine, activation, residual);
  const Tensor<T> y(g.x_shape());
  kernels::conv2d_grad_input(g, x.view(), w.view(), e, y.view(), options.algorithm);
  return y;
}

}  // namespace segnet
