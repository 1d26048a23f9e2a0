// Convolution layers of sequences.
#pragma once

#include "segnet/nn/conv.hpp"
#include "segnet/ops/conv1d.hpp"

namespace segnet::nn {

/// 1-D convolution, [N, L, in] -> [N, OL, out]; see `conv1d` for sizes and errors.
/// weight [out, k, in / groups] (PyTorch: [out, in / groups, k]), bias [out].
template <class T = float, class D = Cpu>
struct Conv1d {
  Parameter<Master<T>, D> weight, bias;
  Conv1dOptions options;

  Conv1d() = default;
  Conv1d(index_t in, index_t out, index_t kernel, const Conv1dOptions& conv_options = {}, Bias with_bias = Bias::yes)
      : options(conv_options) {
    if (options.groups < 1 || in % options.groups != 0)
      throw ValueError("nn::Conv1d", "groups", concat("a divisor of the ", in, " input channels"), concat(options.groups));
    weight = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out, kernel, in / options.groups}), WeightLayout::convolution);
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, kernel * (in / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto shape = [&] {
      const auto g = kernels::conv1d_geometry(x.shape(), weight.shape(), bias.shape(), options);
      return Shape{g.N, g.OW, g.O};
    };
    const Tensor<T, D> y = shapes_only() ? Tensor<T, D>(shape()) : conv1d(x, cast<T>(weight), cast<T>(bias), options);
    return detail::observed(this, "Conv1d", x, y, y.numel() * (weight.numel() / std::max<index_t>(weight.dim(0), 1)));
  }
  SEGNET_FIELDS(weight, bias)
};

/// 1-D transposed convolution, [N, L, in] -> [N, OL, out]; see `conv_transpose1d`.
/// weight [in, k, out / groups], the weight of the convolution that it transposes (PyTorch: [in, out / groups, k]).
template <class T = float, class D = Cpu>
struct ConvTranspose1d {
  Parameter<Master<T>, D> weight, bias;
  ConvTranspose1dOptions options;

  ConvTranspose1d() = default;
  ConvTranspose1d(index_t in, index_t out, index_t kernel, const ConvTranspose1dOptions& conv_options = {}, Bias with_bias = Bias::yes)
      : options(conv_options) {
    if (options.groups < 1 || out % options.groups != 0)
      throw ValueError("nn::ConvTranspose1d", "groups", concat("a divisor of the ", out, " output channels"), concat(options.groups));
    weight = Parameter<Master<T>, D>(Tensor<Master<T>, D>({in, kernel, out / options.groups}), WeightLayout::convolution);
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, kernel * (out / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto shape = [&] {
      const auto g = kernels::conv_transpose1d_geometry(x.shape(), weight.shape(), bias.shape(), options);
      return Shape{g.N, g.W, g.C};
    };
    const Tensor<T, D> y = shapes_only() ? Tensor<T, D>(shape()) : conv_transpose1d(x, cast<T>(weight), cast<T>(bias), options);
    return detail::observed(this, "ConvTranspose1d", x, y, x.numel() * (weight.numel() / std::max<index_t>(weight.dim(0), 1)));
  }
  SEGNET_FIELDS(weight, bias)
};

}  // namespace segnet::nn
