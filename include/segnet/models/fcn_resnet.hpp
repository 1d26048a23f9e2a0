// torchvision's FCN: a ResNet of output stride 8 in place of the VGG with skips of Long, Shelhamer, Darrell, "Fully convolutional
// networks for semantic segmentation", arXiv:1411.4038 (fcn.hpp), under torchvision's names.
#pragma once

#include "segnet/models/fcn_head.hpp"
#include "segnet/models/resnet.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

struct FcnResNetOptions {
  index_t classes = 21;
  bool aux = true;  ///< an auxiliary head on layer3
  ResNetOptions backbone = {.output_stride = 8};
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]
template <class T = float, class D = Cpu>
struct FcnResNet {
  ResNetBody<T, D> backbone;
  FcnHead<T, D> classifier;
  std::optional<FcnHead<T, D>> aux_classifier;

  explicit FcnResNet(const FcnResNetOptions& o = {})
      : backbone(o.backbone), classifier(o.backbone.channels(4), o.backbone.channels(4) / 4, o.classes) {
    if (o.aux) aux_classifier.emplace(o.backbone.channels(3), o.backbone.channels(3) / 4, o.classes);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(classifier(backbone(x)), {x.dim(1), x.dim(2)}); }

  SegmentationOutput<T, D> with_aux(const Tensor<T, D>& x) const {
    const Extent2 size(x.dim(1), x.dim(2));
    const auto c3 = backbone.to_layer3(x);
    return {resize(classifier(backbone.layer4(c3)), size), aux_classifier ? resize((*aux_classifier)(c3), size) : Tensor<T, D>{}};
  }

  SEGNET_FIELDS(backbone, classifier, aux_classifier)
};

}  // namespace segnet::models
