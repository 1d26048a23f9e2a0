// LR-ASPP on a dilated MobileNetV3-Large: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, figure 10, as torchvision has it
// and under torchvision's names.
#pragma once

#include "segnet/models/conv_bn_relu.hpp"
#include "segnet/models/mobilenet_v3.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

struct LrAsppOptions {
  index_t classes = 21;
  index_t channels = 128;  ///< of the head
  MobileNetV3Options backbone = {.dilated = true};
};

/// The map at stride 16, with a factor for each channel from the image's mean, is resized to stride 8, where a map of the backbone adds
/// its own scores. [N, H, W, in_channels] -> logits [N, H, W, classes]
template <class T = float, class D = Cpu>
struct LrAspp {
  MobileNetV3Body<T, D> backbone;
  ConvBnRelu<T, D> cbr;
  nn::Conv2d<T, D> scale, low_classifier, high_classifier;

  explicit LrAspp(const LrAsppOptions& o = {})
      : backbone(o.backbone),
        cbr(6 * o.backbone.channels(160), o.channels, {.kernel = 1}),
        scale(6 * o.backbone.channels(160), o.channels, 1, {}, nn::Bias::no),
        low_classifier(o.backbone.channels(40), o.classes, 1),
        high_classifier(o.channels, o.classes, 1) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto low = backbone.to_stride_8(x), high = backbone.from_stride_8(low);
    const auto gated = cbr(high) * sigmoid(scale(adaptive_avg_pool2d(high, 1)));
    const auto scores = low_classifier(low) + high_classifier(resize(gated, {low.dim(1), low.dim(2)}));
    return resize(scores, {x.dim(1), x.dim(2)});
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("classifier.cbr", self.cbr);
    visit("classifier.scale.1", self.scale);
    visit("classifier.low_classifier", self.low_classifier);
    visit("classifier.high_classifier", self.high_classifier);
  }
};

}  // namespace segnet::models
