// FCOS on a ResNet with a feature pyramid, as torchvision has it and under its names: Tian, Shen, Chen, He, arXiv:1904.01355, figure 2.
//
//   image -> ResNet -> P3 ... P7 -> tower -> classes
//                               '-> tower -> four distances, centerness
#pragma once

#include "segnet/detection/fcos.hpp"
#include "segnet/models/one_stage.hpp"

namespace segnet::models {

struct FcosOptions {
  index_t classes = 91;  ///< labels are their numbers; 0 stays unused
  ResNetOptions backbone = {.depth = 50};
  index_t channels = 256;  ///< of the pyramid
  AnchorOptions anchors{.sizes = {{8}, {16}, {32}, {64}, {128}}, .aspect_ratios = {1}};
  ImageBatchOptions images{};
  FcosMatchOptions matching{};
  OneStageDetectionOptions detections{.score_threshold = 0.2, .nms_threshold = 0.6};
};

template <class T = float, class D = Cpu>
struct Fcos {
  using Real = Master<T>;
  FcosOptions options;
  ResNetFpn<T, D> backbone;
  detail::DetectionTower<T, D> class_tower, box_tower;
  nn::Conv2d<T, D> cls_logits, bbox_reg, bbox_ctrness;

  explicit Fcos(const FcosOptions& o = {})
      : options(o),
        backbone(o.backbone, 2, o.channels, FpnExtra::p6p7),
        class_tower(o.channels, true),
        box_tower(o.channels, true),
        cls_logits(class_tower.predictor(o.channels, o.classes, detail::rare_class_bias)),
        bbox_reg(box_tower.predictor(o.channels, 4)),
        bbox_ctrness(box_tower.predictor(o.channels, 1)) {}

  /// The head on maps P3 ... P7; distances in strides.
  [[nodiscard]] OneStageOutput<T, D> head(const std::vector<Tensor<T, D>>& maps) const {
    std::vector<Tensor<T, D>> logits, distances, centerness;
    for (const auto& map : maps) {
      const auto box = box_tower(map);
      logits.push_back(cls_logits(class_tower(map)));
      distances.push_back(relu(bbox_reg(box)));
      centerness.push_back(bbox_ctrness(box));
    }
    return {detail::over_all_anchors(logits, options.classes), detail::over_all_anchors(distances, 4),
            detail::over_all_anchors(centerness, 1)};
  }

  /// What is in the images, each [H, W, 3] with values in [0, 1] and of its own size. Call nn::eval first. The score of a class is
  /// sqrt(its probability * centerness). @throws ShapeError
  [[nodiscard]] std::vector<Detections> predict(const std::vector<Tensor<float>>& images) const {
    const NoGrad guard;
    const ImageBatch batch = image_batch(images, options.images);
    const auto output = head(backbone(cast<T>(batch.images.template to<D>())));
    const detail::BatchAnchors anchors(options.anchors, batch.padded(), 8);
    const auto scores = sqrt(sigmoid(detail::on_host(output.cls_logits)) * sigmoid(detail::on_host(output.bbox_ctrness)));
    const auto distances = detail::on_host(output.bbox_regression);
    return detail::batch_detections(batch, anchors, scores, distances, LinearBoxCoder{}, options.detections);
  }

  /// The losses of images and what is in them. @throws ShapeError, ValueError: a target that does not fit
  [[nodiscard]] FcosLoss<Real, D> loss(const std::vector<Tensor<float>>& images, const std::vector<DetectionTarget>& targets) const {
    const ImageBatch batch = image_batch(images, options.images);
    const auto resized = detail::resized_targets("Fcos::loss", batch, targets, options.classes);
    const auto output = head(backbone(cast<T>(batch.images.template to<D>())));
    const detail::BatchAnchors anchors(options.anchors, batch.padded(), 8);
    return fcos_loss(anchors.boxes, anchors.level_sizes, cast<Real>(output.cls_logits), cast<Real>(output.bbox_regression),
                     cast<Real>(output.bbox_ctrness), resized, options.matching);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("head.classification_head.conv", self.class_tower);
    visit("head.classification_head.cls_logits", self.cls_logits);
    visit("head.regression_head.conv", self.box_tower);
    visit("head.regression_head.bbox_reg", self.bbox_reg);
    visit("head.regression_head.bbox_ctrness", self.bbox_ctrness);
  }
};

}  // namespace segnet::models
