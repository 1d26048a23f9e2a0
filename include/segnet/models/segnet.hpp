// SegNet: Badrinarayanan, Kendall, Cipolla, "SegNet: A deep convolutional encoder-decoder architecture for image segmentation",
// arXiv:1511.00561, figure 2. The convolutions of VGG-16 down; up, each pooling is undone by the places its maxima came from, and the
// same convolutions follow in reverse order.
#pragma once

#include "segnet/models/caffe_vgg16.hpp"

namespace segnet::models {

struct SegNetOptions {
  index_t in_channels = 3;
  index_t classes = 11;
  index_t width = 64;  ///< channels of the first block; 8 times as many in the last
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes], any H and W: poolings round up, and each unpooling has the size that its pooling
/// saw. Names follow the authors' Caffe definition: conv1_1, conv1_1_bn, ..., conv5_3_D, conv5_3_D_bn, ..., conv1_1_D.
template <class T = float, class D = Cpu>
struct SegNet {
  using Layer = ConvNormRelu<nn::Conv2d<T, D>, nn::BatchNorm2d<T, D>>;
  NormedVgg16<T, D> encoder;
  std::vector<Layer> decoder[5];  // by block, in order of use: conv5_3_D first
  nn::Conv2d<T, D> score;         // conv1_1_D
  SegNetOptions options;

  explicit SegNet(const SegNetOptions& o = {}) : encoder(o.in_channels, o.width), score(o.width, o.classes, 3, {.padding = 1}), options(o) {
    for (std::size_t b = 0; b < 5; ++b)
      for (std::size_t i = vgg16_convolutions[b]; i-- > (b == 0 ? 1 : 0);) {  // mirrors convolution i of block b
        const index_t in = vgg16_channels(b, o.width), out = i > 0 ? in : vgg16_channels(b - 1, o.width);
        decoder[b].push_back({nn::Conv2d<T, D>(in, out, 3, {.padding = 1}), nn::BatchNorm2d<T, D>(out)});
        detail::he_normal(decoder[b].back().conv);
      }
    detail::he_normal(score);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    std::vector<PooledFrom<D>> pools;
    Tensor<T, D> y = encoder(x, pools);
    for (std::size_t b = 5; b-- > 0; pools.pop_back()) {
      y = max_unpool2d(y, pools.back().indices, pools.back().size);
      for (const Layer& layer : decoder[b]) y = layer(y);
    }
    return score(y);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    NormedVgg16<T, D>::for_each_layer(self.encoder, visit,
                                      [](std::size_t b, std::size_t i) { return detail::caffe_name("conv", b, i, "_bn"); });
    for (std::size_t b = 5; b-- > 0;)
      for (std::size_t k = 0; k < self.decoder[b].size(); ++k) {
        const std::size_t i = vgg16_convolutions[b] - 1 - k;
        visit(detail::caffe_name("conv", b, i, "_D"), self.decoder[b][k].conv);
        visit(detail::caffe_name("conv", b, i, "_D_bn"), self.decoder[b][k].norm);
      }
    visit("conv1_1_D", self.score);
  }
};

}  // namespace segnet::models
