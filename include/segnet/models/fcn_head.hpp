// The head that turns a map of features into logits, as torchvision's FCN and the auxiliary losses of DeepLab v3 and PSPNet have it.
#pragma once

#include "segnet/models/conv_bn_relu.hpp"
#include "segnet/nn/dropout.hpp"

namespace segnet::models {

/// What a network with an auxiliary head gives: logits [N, H, W, classes] of both. `aux` is undefined in a network without one.
/// Training adds its loss with a weight (0.4 in PSPNet, 0.5 in torchvision); prediction does without.
template <class T = float, class D = Cpu>
struct SegmentationOutput {
  Tensor<T, D> out, aux;
};

/// 3x3 convolution, batch norm, ReLU, dropout 0.1, 1x1 convolution: [N, H, W, in] -> [N, H, W, classes]. Names as in torchvision's FCNHead:
/// "0", "1", "4".
template <class T = float, class D = Cpu>
struct FcnHead {
  ConvBnRelu<T, D> hidden;
  nn::Dropout dropout{0.1};
  nn::Conv2d<T, D> score;

  FcnHead(index_t in, index_t channels, index_t classes) : hidden(in, channels), score(channels, classes, 1) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return score(dropout(hidden(x))); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    ConvBnRelu<T, D>::for_each_field(self.hidden, visit);
    visit("3", self.dropout);
    visit("4", self.score);
  }
};

}  // namespace segnet::models
