// Convolution layers. Those of bfloat16 keep float parameters (`Master<T>`), which optimisers update, and round them at each call.
#pragma once

#include "segnet/nn/init.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"

namespace segnet::nn {

/// 2-D convolution, [N, H, W, in] -> [N, OH, OW, out]; see `conv2d` for sizes and errors.
/// weight [out, kh, kw, in / groups] (PyTorch: [out, in / groups, kh, kw]), bias [out].
template <class T = float, class D = Cpu>
struct Conv2d {
  Parameter<Master<T>, D> weight, bias;
  Conv2dOptions options;

  Conv2d() = default;
  Conv2d(index_t in, index_t out, Extent2 kernel, const Conv2dOptions& conv_options = {}, Bias with_bias = Bias::yes)
      : options(conv_options) {
    if (options.groups < 1 || in % options.groups != 0)
      throw ValueError("nn::Conv2d", "groups", concat("a divisor of the ", in, " input channels"), concat(options.groups));
    weight = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out, kernel.h, kernel.w, in / options.groups}), WeightLayout::convolution);
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, kernel.h * kernel.w * (in / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y =
        shapes_only() ? Tensor<T, D>(kernels::conv2d_geometry("conv2d", x.shape(), weight.shape(), bias.shape(), options).y_shape())
                      : conv2d(x, cast<T>(weight), cast<T>(bias), options);
    return detail::observed(this, "Conv2d", x, y, y.numel() * (weight.numel() / std::max<index_t>(weight.dim(0), 1)));
  }
  SEGNET_FIELDS(weight, bias)
};

/// 2-D transposed convolution, [N, H, W, in] -> [N, OH, OW, out]; see `conv_transpose2d`.
/// weight [in, kh, kw, out / groups], the weight of the convolution that it transposes (PyTorch: [in, out / groups, kh, kw]).
template <class T = float, class D = Cpu>
struct ConvTranspose2d {
  Parameter<Master<T>, D> weight, bias;
  ConvTranspose2dOptions options;

  ConvTranspose2d() = default;
  ConvTranspose2d(index_t in, index_t out, Extent2 kernel, const ConvTranspose2dOptions& conv_options = {}, Bias with_bias = Bias::yes)
      : options(conv_options) {
    if (options.groups < 1 || out % options.groups != 0)
      throw ValueError("nn::ConvTranspose2d", "groups", concat("a divisor of the ", out, " output channels"), concat(options.groups));
    weight = Parameter<Master<T>, D>(Tensor<Master<T>, D>({in, kernel.h, kernel.w, out / options.groups}), WeightLayout::convolution);
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, kernel.h * kernel.w * (out / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y =
        shapes_only()
            ? Tensor<T, D>(
                  kernels::conv_transpose2d_geometry("conv_transpose2d", x.shape(), weight.shape(), bias.shape(), options).x_shape())
            : conv_transpose2d(x, cast<T>(weight), cast<T>(bias), options);
    return detail::observed(this, "ConvTranspose2d", x, y, x.numel() * (weight.numel() / std::max<index_t>(weight.dim(0), 1)));
  }
  SEGNET_FIELDS(weight, bias)
};

}  // namespace segnet::nn
