// Squeeze and excitation: Hu, Shen, Sun, "Squeeze-and-excitation networks", arXiv:1709.01507, figure 1. The gate is hardsigmoid, as
// MobileNetV3 has it (Howard et al., arXiv:1905.02244, section 5.2).
#pragma once

#include "segnet/nn/conv_norm.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::models {

/// x times a factor for each channel of each image: hardsigmoid(fc2(relu(fc1(mean of the channel)))). [N, H, W, C] -> [N, H, W, C]
/// The two are 1x1 convolutions with bias, under torchvision's names.
template <class T = float, class D = Cpu>
struct SqueezeExcitation {
  nn::Conv2d<T, D> fc1, fc2;

  SqueezeExcitation(index_t channels, index_t squeezed) : fc1(channels, squeezed, 1), fc2(squeezed, channels, 1) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return x * hardsigmoid(fc2(nn::conv_norm_act(fc1, Activation::relu, adaptive_avg_pool2d(x, 1))));
  }
  SEGNET_FIELDS(fc1, fc2)
};

}  // namespace segnet::models
