// DeepLab v3+: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-decoder with atrous separable convolution for semantic image segmentation",
// arXiv:1802.02611, figure 2: v3 as encoder and a decoder with layer1's map. Names follow segmentation_models.pytorch.
#pragma once

#include "segnet/models/aspp.hpp"
#include "segnet/models/resnet.hpp"

namespace segnet::models {

struct DeepLabV3PlusOptions {
  index_t classes = 21;
  /// Defaults are segmentation_models.pytorch's. Output stride 8 goes with rates 12, 24, 36.
  ResNetOptions backbone = {.output_stride = 16, .dilate_first_block = true};
  index_t channels = 256;     ///< of ASPP and the decoder
  index_t low_channels = 48;  ///< that layer1's map is reduced to
  std::vector<index_t> rates{12, 24, 36};
  Separable separable = Separable::plain;  ///< of all 3x3 convolutions of encoder and decoder; the paper: with_norm
  bool conv_behind_aspp = true;            ///< one 3x3 convolution before and one behind the concatenation; the paper: false, both behind
  double dropout = 0.5;

  /// As in the paper: rates 6, 12, 18, norms within separable convolutions, two convolutions in the decoder.
  [[nodiscard]] static DeepLabV3PlusOptions paper() {
    DeepLabV3PlusOptions o;
    o.backbone.multi_grid = {1, 2, 4};
    o.rates = {6, 12, 18};
    o.separable = Separable::with_norm;
    o.conv_behind_aspp = false;
    o.dropout = 0.1;
    return o;
  }
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. Training needs batches of at least 2. Sides of 16 n + 1 keep corners aligned.
template <class T = float, class D = Cpu>
struct DeepLabV3Plus {
  ResNetBody<T, D> encoder;
  Aspp<T, D> aspp;
  std::optional<ConvBnRelu<T, D>> behind_aspp;
  ConvBnRelu<T, D> low;                     // 1x1, of layer1's map
  nn::ModuleList<ConvBnRelu<T, D>> fusion;  // 3x3, of the concatenation
  nn::Conv2d<T, D> score;

  explicit DeepLabV3Plus(const DeepLabV3PlusOptions& o = {})
      : encoder(o.backbone),
        aspp({.in = o.backbone.channels(4), .channels = o.channels, .rates = o.rates, .separable = o.separable, .dropout = o.dropout}),
        low(o.backbone.channels(1), o.low_channels, {.kernel = 1}),
        score(o.channels, o.classes, 1) {
    if (o.conv_behind_aspp) behind_aspp.emplace(o.channels, o.channels, ConvBnReluOptions{.separable = o.separable});
    fusion.push_back({o.channels + o.low_channels, o.channels, {.separable = o.separable}});
    if (!o.conv_behind_aspp) fusion.push_back({o.channels, o.channels, {.separable = o.separable}});
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto up = [](const Tensor<T, D>& y, const Tensor<T, D>& like) {
      return resize(y, {like.dim(1), like.dim(2)}, InterpolateMode::bilinear, /*align_corners=*/true);
    };
    const auto c1 = encoder.layer1(encoder.stem(x));
    Tensor<T, D> y = aspp(encoder.layer4(encoder.layer3(encoder.layer2(c1))));
    if (behind_aspp) y = (*behind_aspp)(y);
    y = concat({up(y, c1), low(c1)}, -1);
    for (const auto& conv : fusion) y = conv(y);
    return up(score(y), x);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    const auto under = [&](const char* prefix) {
      return [&visit, prefix](const std::string& name, auto& field) { visit(prefix + name, field); };
    };
    visit("encoder", self.encoder);
    visit("decoder.aspp.0", self.aspp);
    if (self.behind_aspp) ConvBnRelu<T, D>::for_each_field_at(*self.behind_aspp, under("decoder.aspp."), 1);
    visit("decoder.block1", self.low);
    for (std::size_t i = 0; i < self.fusion.size(); ++i)
      ConvBnRelu<T, D>::for_each_field_at(self.fusion[i], under("decoder.block2."), 3 * static_cast<int>(i));
    visit("segmentation_head.0", self.score);
  }
};

}  // namespace segnet::models
