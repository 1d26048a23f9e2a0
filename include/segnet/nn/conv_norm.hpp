// A convolution and what follows it: in inference one kernel, in training the layers one after the other.
#pragma once

#include <optional>

#include "segnet/nn/conv.hpp"
#include "segnet/nn/norm.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/conv2d_epilogue.hpp"

namespace segnet::nn {

namespace detail {

template <class T>
Tensor<T> conv_epilogue(const Conv2d<T>& conv, const Tensor<T>& x, const ScaleShift<T>& affine, Activation activation,
                        const Tensor<T>& residual) {
  return conv2d_epilogue<T>(x, conv.weight, affine, activation, residual, conv.options);
}
template <class T>
Tensor<T> conv_epilogue(const ConvTranspose2d<T>& conv, const Tensor<T>& x, const ScaleShift<T>& affine, Activation activation,
                        const Tensor<T>& residual) {
  return conv_transpose2d_epilogue<T>(x, conv.weight, affine, activation, residual, conv.options);
}

/// The layers as they are.
template <class Conv, class T, class D>
Tensor<T, D> conv_then_norm(const Conv& conv, const BatchNorm2d<T, D>* norm, Activation activation, Tensor<T, D> x,
                            const Tensor<T, D>& residual) {
  Tensor<T, D> y = conv(x);
  x = {};
  if (norm && activation == Activation::relu && !residual) return norm->with_relu(y);
  if (norm) y = (*norm)(y);
  if (shapes_only()) return y;
  if (residual) y = y + residual;
  return activation == Activation::relu ? relu(y) : activation == Activation::relu6 ? relu6(y) : y;
}

template <class Conv, class T, class D>
Tensor<T, D> conv_norm_act(const Conv& conv, const BatchNorm2d<T, D>* norm, Activation activation, Tensor<T, D> x,
                           const Tensor<T, D>& residual) {
  if constexpr (std::is_same_v<D, Cpu> && std::is_same_v<T, Master<T>>) {
    const bool watched = current_observer() || shapes_only();
    const bool tracked = x.tracked() || residual.tracked() || conv.weight.tracked() || conv.bias.tracked() ||
                         (norm && (norm->weight.tracked() || norm->bias.tracked()));
    if (!watched && !(tracked && is_recording()) && !(norm && !norm->is_fixed()))
      return conv_epilogue(
          conv, x,
          norm ? fold_batch_norm<T>(conv.bias, norm->running_mean, norm->running_var, norm->weight, norm->bias, norm->options.eps)
               : ScaleShift<T>{{}, conv.bias},
          activation, residual);
  }
  return conv_then_norm(conv, norm, activation, std::move(x), residual);
}

}  // namespace detail

/// activation(norm(conv(x)) + residual). Conv is a Conv2d or a ConvTranspose2d; the norm may be an empty optional or left out, and so
/// may the residual, which has the shape of the result. An x that is moved in is freed as soon as the convolution has read it.
///
///   y = conv_norm_act(conv1, bn1, Activation::relu, x);             // relu(bn1(conv1(x)))
///   y = conv_norm_act(conv3, bn3, Activation::relu, y, shortcut);   // relu(bn3(conv3(y)) + shortcut): the end of a residual block
///   y = conv_norm_act(conv, Activation::relu, x);                   // relu(conv(x))
///
/// The layers are called one after the other (with `with_relu` where that serves) as long as gradients are recorded, the norm takes the
/// statistics of the batch, an observer watches, or on the GPU. Otherwise, with everything in inference mode, one kernel does it all: the
/// norm goes into the weights, residual and activation into the store. The two differ by rounding alone, about 1e-7 relative.
template <class Conv, class T, class D>
[[nodiscard]] Tensor<T, D> conv_norm_act(const Conv& conv, const BatchNorm2d<T, D>& norm, Activation activation, Tensor<T, D> x,
                                         const std::type_identity_t<Tensor<T, D>>& residual = {}) {
  return detail::conv_norm_act(conv, &norm, activation, std::move(x), residual);
}
template <class Conv, class T, class D>
[[nodiscard]] Tensor<T, D> conv_norm_act(const Conv& conv, const std::optional<BatchNorm2d<T, D>>& norm, Activation activation,
                                         Tensor<T, D> x, const std::type_identity_t<Tensor<T, D>>& residual = {}) {
  return detail::conv_norm_act(conv, norm ? &*norm : nullptr, activation, std::move(x), residual);
}
template <class Conv, class T, class D>
[[nodiscard]] Tensor<T, D> conv_norm_act(const Conv& conv, Activation activation, Tensor<T, D> x,
                                         const std::type_identity_t<Tensor<T, D>>& residual = {}) {
  return detail::conv_norm_act(conv, static_cast<const BatchNorm2d<T, D>*>(nullptr), activation, std::move(x), residual);
}

}  // namespace segnet::nn
