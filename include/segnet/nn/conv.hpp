// Convolution layers. Those of bfloat16 keep float parameters (`Master<T>`), which optimisers update, and round them at each call.
#pragma once

#include "segnet/nn/init.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"

namespace segnet::nn {

/// Whether a layer has a bias: `Conv2d(3, 64, 3, {.padding = 1}, Bias::no)`.
enum class Bias : bool { no, yes };

namespace detail {
/// PyTorch's default: weight U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is kaiming_uniform with a = sqrt(5); bias alike.
template <class T, class D>
void reset_weight_and_bias(Parameter<T, D>& weight, Parameter<T, D>& bias, index_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(std::max<index_t>(fan_in, 1)));
  fill_uniform(weight, default_generator(), -bound, bound);
  if (bias) fill_uniform(bias, default_generator(), -bound, bound);
}
}  // namespace detail

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
    detail::reset_weight_and_bias(weight, bias, kernel.h * kernel.w * (in / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y = conv2d(x, cast<T>(weight), cast<T>(bias), options);
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
    detail::reset_weight_and_bias(weight, bias, kernel.h * kernel.w * (out / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y = conv_transpose2d(x, cast<T>(weight), cast<T>(bias), options);
    return detail::observed(this, "ConvTranspose2d", x, y, x.numel() * (weight.numel() / std::max<index_t>(weight.dim(0), 1)));
  }
  SEGNET_FIELDS(weight, bias)
};

}  // namespace segnet::nn
