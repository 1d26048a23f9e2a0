// The fully connected layer.
#pragma once

#include "segnet/nn/init.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/linear.hpp"

namespace segnet::nn {

/// y = x W^T + b over the last dimension, [..., in] -> [..., out]; see `linear`. weight [out, in], bias [out], as in PyTorch.
template <class T = float, class D = Cpu>
struct Linear {
  Parameter<Master<T>, D> weight, bias;

  Linear() = default;
  Linear(index_t in, index_t out, Bias with_bias = Bias::yes) : weight(Tensor<Master<T>, D>({out, in})) {
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, in);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y = shapes_only() ? Tensor<T, D>(kernels::linear_geometry("linear", x.shape(), weight.shape(), bias.shape()).y_shape)
                                         : linear<T, D>(x, cast<T>(weight), cast<T>(bias));
    return detail::observed(this, "Linear", x, y, y.numel() * weight.dim(1));
  }
  SEGNET_FIELDS(weight, bias)
};

}  // namespace segnet::nn
