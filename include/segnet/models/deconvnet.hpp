// DeconvNet: Noh, Hong, Han, "Learning deconvolution network for semantic segmentation", ICCV 2015, arXiv:1505.04366, figure 2. All of
// VGG-16 down to a single pixel, and its mirror image up again: transposed convolutions, and unpooling by the places of the maxima.
#pragma once

#include "segnet/models/caffe_vgg16.hpp"

namespace segnet::models {

struct DeconvNetOptions {
  index_t in_channels = 3;
  index_t classes = 21;
  index_t width = 64;     ///< channels of the first block; 8 times as many in the last
  index_t hidden = 4096;  ///< channels of fc6 and fc7
  index_t window = 7;     ///< kernel of fc6 and fc6-deconv: the network's view is 32 times as large
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. The paper's inputs are object proposals of 224 x 224, whose scores
/// `window_scores` puts together; any H and W that 32 divides will do from 32 * window on. Every transposed convolution has stride 1 (size
/// stays): unpooling alone makes images larger.
///
/// Names follow the authors' Caffe definition: conv1_1, bn1_1, ..., fc6, bnfc6, fc7, bnfc7, fc6-deconv, fc6-deconv-bn, deconv5_1,
/// debn5_1, ..., seg-score. Weights of the decoder are N(0, 0.01^2), biases 0, batch norms scale by 1 and shift by 0.001.
/// @throws ShapeError: H or W is not a multiple of 32, or below 32 * window
template <class T = float, class D = Cpu>
struct DeconvNet {
  using Conv = nn::Conv2d<T, D>;
  using Deconv = nn::ConvTranspose2d<T, D>;
  using Norm = nn::BatchNorm2d<T, D>;
  NormedVgg16<T, D> encoder;
  ConvNormRelu<Conv, Norm> fc6, fc7;
  ConvNormRelu<Deconv, Norm> fc6_deconv;
  std::vector<ConvNormRelu<Deconv, Norm>> decoder[5];  // by block, in order of use: deconv5_1 first
  Conv score;
  DeconvNetOptions options;

  explicit DeconvNet(const DeconvNetOptions& o = {})
      : encoder(o.in_channels, o.width),
        fc6{Conv(vgg16_channels(4, o.width), o.hidden, o.window), Norm(o.hidden)},
        fc7{Conv(o.hidden, o.hidden, 1), Norm(o.hidden)},
        fc6_deconv{Deconv(o.hidden, vgg16_channels(4, o.width), o.window), Norm(vgg16_channels(4, o.width))},
        score(o.width, o.classes, 1),
        options(o) {
    for (std::size_t b = 0; b < 5; ++b)
      for (std::size_t i = 0; i < vgg16_convolutions[b]; ++i) {
        const index_t in = vgg16_channels(b, o.width), last = vgg16_channels(b ? b - 1 : 0, o.width);
        const index_t out = i + 1 < vgg16_convolutions[b] ? in : last;
        decoder[b].push_back({Deconv(in, out, 3, {.padding = 1}), Norm(out)});
      }
    detail::he_normal(fc6.conv);
    detail::he_normal(fc7.conv);
    const auto start = [](const auto& layer) {
      nn::init::normal(layer.weight, default_generator(), 0, 0.01);
      auto bias = layer.bias;
      bias.fill(0);
    };
    nn::for_each_module(*this, [&](const std::string& name, auto& m) {
      using Module = std::remove_cvref_t<decltype(m)>;
      if constexpr (std::is_same_v<Module, Norm>) m.bias.fill(Master<T>(0.001));
      else if constexpr (std::is_same_v<Module, Deconv>) start(m);
      else if constexpr (std::is_same_v<Module, Conv>) name == "seg-score" ? start(m) : void();
    });
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (x.rank() != 4 || x.dim(1) % 32 != 0 || x.dim(2) % 32 != 0 || std::min(x.dim(1), x.dim(2)) < 32 * options.window)
      throw ShapeError("DeconvNet", "x",
                       concat("[N, H, W, ", options.in_channels, "] with H and W multiples of 32, at least ", 32 * options.window),
                       x.shape());
    std::vector<PooledFrom<D>> pools;
    Tensor<T, D> y = fc6_deconv(fc7(fc6(encoder(x, pools))));
    for (std::size_t b = 5; b-- > 0; pools.pop_back()) {
      y = max_unpool2d(y, pools.back().indices, pools.back().size);
      for (const auto& layer : decoder[b]) y = layer(y);
    }
    return score(y);
  }

  /// For `AnySize`: the side that an image of side n is padded to.
  [[nodiscard]] index_t padded_size(index_t n) const { return std::max(32 * options.window, (n + 31) / 32 * 32); }
  [[nodiscard]] index_t margin() const { return 0; }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    NormedVgg16<T, D>::for_each_layer(self.encoder, visit, [](std::size_t b, std::size_t i) { return detail::caffe_name("bn", b, i); });
    visit("fc6", self.fc6.conv);
    visit("bnfc6", self.fc6.norm);
    visit("fc7", self.fc7.conv);
    visit("bnfc7", self.fc7.norm);
    visit("fc6-deconv", self.fc6_deconv.conv);
    visit("fc6-deconv-bn", self.fc6_deconv.norm);
    for (std::size_t b = 5; b-- > 0;)
      for (std::size_t i = 0; i < self.decoder[b].size(); ++i) {
        visit(detail::caffe_name("deconv", b, i), self.decoder[b][i].conv);
        visit(detail::caffe_name("debn", b, i), self.decoder[b][i].norm);
      }
    visit("seg-score", self.score);
  }
};

}  // namespace segnet::models
