// RetinaNet on a ResNet with a feature pyramid, as torchvision has it and under its names: Lin, Goyal, Girshick, He, Dollar,
// arXiv:1708.02002, figure 3.
#pragma once

#include "segnet/detection/retinanet.hpp"
#include "segnet/models/one_stage.hpp"

namespace segnet::models {

struct RetinaNetOptions {
  index_t classes = 91;  ///< labels are their numbers; 0 stays unused
  ResNetOptions backbone = {.depth = 50};
  index_t channels = 256;  ///< of the pyramid
  AnchorOptions anchors = retinanet_anchors();
  ImageBatchOptions images{};
  MatcherOptions matching{.high = 0.5, .low = 0.4, .allow_low_quality = true};
  OneStageDetectionOptions detections{.score_threshold = 0.05, .nms_threshold = 0.5, .most = 300};
};

template <class T = float, class D = Cpu>
struct RetinaNet {
  using Real = Master<T>;
  RetinaNetOptions options;
  ResNetFpn<T, D> backbone;
  detail::DetectionTower<T, D> class_tower, box_tower;
  nn::Conv2d<T, D> cls_logits, bbox_reg;

  explicit RetinaNet(const RetinaNetOptions& o = {})
      : options(o),
        backbone(o.backbone, 2, o.channels, FpnExtra::p6p7),
        class_tower(o.channels, false),
        box_tower(o.channels, false),
        cls_logits(class_tower.predictor(o.channels, o.anchors.per_position(0) * o.classes, detail::rare_class_bias)),
        bbox_reg(box_tower.predictor(o.channels, o.anchors.per_position(0) * 4)) {}

  /// The head on maps P3 ... P7.
  [[nodiscard]] OneStageOutput<T, D> head(const std::vector<Tensor<T, D>>& maps) const {
    std::vector<Tensor<T, D>> logits, deltas;
    for (const auto& map : maps) {
      logits.push_back(cls_logits(class_tower(map)));
      deltas.push_back(bbox_reg(box_tower(map)));
    }
    return {detail::over_all_anchors(logits, options.classes), detail::over_all_anchors(deltas, 4), {}};
  }

  /// What is in the images, each [H, W, 3] with values in [0, 1] and of its own size. Call nn::eval first. @throws ShapeError
  [[nodiscard]] std::vector<Detections> predict(const std::vector<Tensor<float>>& images) const {
    const NoGrad guard;
    const ImageBatch batch = image_batch(images, options.images);
    const auto output = head(backbone(cast<T>(batch.images.template to<D>())));
    const detail::BatchAnchors anchors(options.anchors, batch.padded(), 8);
    const auto scores = sigmoid(detail::on_host(output.cls_logits)), deltas = detail::on_host(output.bbox_regression);
    return detail::batch_detections(batch, anchors, scores, deltas, BoxCoder{}, options.detections);
  }

  /// The losses of images and what is in them. @throws ShapeError, ValueError: a target that does not fit
  [[nodiscard]] RetinaNetLoss<Real, D> loss(const std::vector<Tensor<float>>& images, const std::vector<DetectionTarget>& targets) const {
    const ImageBatch batch = image_batch(images, options.images);
    const auto resized = detail::resized_targets("RetinaNet::loss", batch, targets, options.classes);
    const auto output = head(backbone(cast<T>(batch.images.template to<D>())));
    const detail::BatchAnchors anchors(options.anchors, batch.padded(), 8);
    return retinanet_loss(anchors.boxes, cast<Real>(output.cls_logits), cast<Real>(output.bbox_regression), resized, options.matching);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("head.classification_head.conv", self.class_tower);
    visit("head.classification_head.cls_logits", self.cls_logits);
    visit("head.regression_head.conv", self.box_tower);
    visit("head.regression_head.bbox_reg", self.bbox_reg);
  }
};

}  // namespace segnet::models
