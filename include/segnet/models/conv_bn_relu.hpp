// Convolution, batch norm, ReLU: what HRNet and the heads of the networks on ResNet are made of.
#pragma once

#include "segnet/nn/conv_norm.hpp"

namespace segnet::models {

/// How a convolution is factored (Chollet, "Xception", arXiv:1610.02357): not at all; into a depthwise and a 1x1 convolution; or so, with
/// batch norm and ReLU between the two (as DeepLab v3+ has it).
enum class Separable { no, plain, with_norm };

struct ConvBnReluOptions {
  index_t kernel = 3;
  index_t dilation = 1;
  Separable separable = Separable::no;
  index_t stride = 1;
  nn::Bias bias = nn::Bias::no;  ///< of a convolution that is not separable
  Activation activation = Activation::relu;
};

/// Convolution without bias, batch norm, ReLU. [N, H, W, in] -> [N, ceil(H / stride), ceil(W / stride), out]
///
/// Its parts are numbered as in a torch.nn.Sequential(convolution, norm, ReLU): "0.weight", "1.weight"; the convolution of a separable one
/// is a Sequential itself: "0.0.weight" (depthwise), "0.1.weight", or with a norm between "0.0", "0.1" (norm), "0.3".
template <class T = float, class D = Cpu>
struct ConvBnRelu {
  std::optional<nn::Conv2d<T, D>> depthwise;
  std::optional<nn::BatchNorm2d<T, D>> depthwise_norm;
  nn::Conv2d<T, D> conv;
  nn::BatchNorm2d<T, D> norm;
  Activation activation;

  ConvBnRelu(index_t in, index_t out, const ConvBnReluOptions& o = {}) : norm(out), activation(o.activation) {
    Conv2dOptions same{.stride = o.stride, .padding = o.dilation * (o.kernel / 2), .dilation = o.dilation};
    if (o.separable == Separable::no) {
      conv = {in, out, o.kernel, same, o.bias};
      return;
    }
    same.groups = in;
    depthwise.emplace(in, in, o.kernel, same, nn::Bias::no);
    if (o.separable == Separable::with_norm) depthwise_norm.emplace(in);
    conv = {in, out, 1, {}, nn::Bias::no};
  }

  /// The residual, of the result's shape, is added before the activation.
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& residual = {}) const {
    if (!depthwise) return nn::conv_norm_act(conv, norm, activation, x, residual);
    const auto between = depthwise_norm ? Activation::relu : Activation::none;
    return nn::conv_norm_act(conv, norm, activation, nn::conv_norm_act(*depthwise, depthwise_norm, between, x), residual);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for_each_field_at(self, visit, 0);
  }
  /// The same as parts number `first` and `first` + 1 of the Sequential around.
  template <class Self, class Visit>
  static void for_each_field_at(Self& self, Visit&& visit, int first) {
    const std::string convolution = std::to_string(first);
    visit(convolution + ".0", self.depthwise);
    visit(convolution + ".1", self.depthwise_norm);
    visit(convolution + (self.depthwise_norm ? ".3" : self.depthwise ? ".1" : ""), self.conv);
    visit(std::to_string(first + 1), self.norm);
  }
};

}  // namespace segnet::models
