// DeepLab v3: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution for semantic image segmentation", arXiv:1706.05587, figure 5,
// as torchvision has it and under torchvision's names.
#pragma once

#include "segnet/models/aspp.hpp"
#include "segnet/models/fcn_head.hpp"
#include "segnet/models/resnet.hpp"

namespace segnet::models {

struct DeepLabV3Options {
  index_t classes = 21;
  bool aux = true;  ///< an auxiliary head on layer3
  /// The paper trains at output stride 16 with rates 6, 12, 18 and `.multi_grid = {1, 2, 4}`; torchvision has 8 and no multi-grid.
  ResNetOptions backbone = {.output_stride = 8};
  index_t channels = 256;  ///< of ASPP and the convolution behind it
  std::vector<index_t> rates{12, 24, 36};
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. Training needs batches of at least 2.
template <class T = float, class D = Cpu>
struct DeepLabV3 {
  ResNetBody<T, D> backbone;
  Aspp<T, D> aspp;
  ConvBnRelu<T, D> hidden;
  nn::Conv2d<T, D> score;
  std::optional<FcnHead<T, D>> aux_classifier;

  explicit DeepLabV3(const DeepLabV3Options& o = {})
      : backbone(o.backbone),
        aspp({.in = o.backbone.channels(4), .channels = o.channels, .rates = o.rates}),
        hidden(o.channels, o.channels),
        score(o.channels, o.classes, 1) {
    if (o.aux) aux_classifier.emplace(o.backbone.channels(3), o.backbone.channels(3) / 4, o.classes);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return head(backbone(x), x); }

  SegmentationOutput<T, D> with_aux(const Tensor<T, D>& x) const {
    const auto c3 = backbone.to_layer3(x);
    return {head(backbone.layer4(c3), x), aux_classifier ? resize((*aux_classifier)(c3), {x.dim(1), x.dim(2)}) : Tensor<T, D>{}};
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("classifier.0", self.aspp);
    ConvBnRelu<T, D>::for_each_field_at(self.hidden, [&](const std::string& name, auto& field) { visit("classifier." + name, field); }, 1);
    visit("classifier.4", self.score);
    visit("aux_classifier", self.aux_classifier);
  }

 private:
  Tensor<T, D> head(const Tensor<T, D>& c4, const Tensor<T, D>& x) const { return resize(score(hidden(aspp(c4))), {x.dim(1), x.dim(2)}); }
};

}  // namespace segnet::models
