// What FCOS and RetinaNet share: a pyramid of five maps, and a head whose towers run over all of them.
#pragma once

#include "segnet/detection/anchors.hpp"
#include "segnet/detection/image_batch.hpp"
#include "segnet/detection/one_stage.hpp"
#include "segnet/models/fpn.hpp"

namespace segnet::models {

/// A batch, seen by a one-stage detector: what its head says of all anchors, map by map, row by row.
template <class T, class D = Cpu>
struct OneStageOutput {
  Tensor<T, D> cls_logits;       ///< [N, A, classes]
  Tensor<T, D> bbox_regression;  ///< [N, A, 4]
  Tensor<T, D> bbox_ctrness;     ///< [N, A, 1], FCOS alone
};

namespace detail {

/// Four times a 3x3 convolution, a norm or none, and ReLU; every map goes through the same.
template <class T, class D>
struct DetectionTower {
  nn::ModuleList<nn::Conv2d<T, D>> convs;
  nn::ModuleList<nn::GroupNorm<T, D>> norms;  ///< as many, or none

  DetectionTower(index_t channels, bool with_norms) {
    for (int i = 0; i < 4; ++i) {
      convs.push_back(predictor(channels, channels));
      if (with_norms) norms.push_back(nn::GroupNorm<T, D>(std::min<index_t>(32, channels), channels));
    }
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (std::size_t i = 0; i < convs.size(); ++i)
      y = i < norms.size() ? relu(norms[i](convs[i](y))) : nn::conv_norm_act(convs[i], Activation::relu, y);
    return y;
  }
  /// FCOS: a Sequential of convolution, norm, ReLU, ...: 0, 1, 3, 4, ...; RetinaNet: Sequentials of convolution and ReLU: 0.0, 1.0, ...
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.convs.size(); ++i) {
      visit(i < self.norms.size() ? std::to_string(3 * i) : concat(i, ".0"), self.convs[i]);
      if (i < self.norms.size()) visit(std::to_string(3 * i + 1), self.norms[i]);
    }
  }

  /// A convolution 3x3 as these heads draw them.
  static nn::Conv2d<T, D> predictor(index_t in, index_t out, float bias = 0) {
    nn::Conv2d<T, D> conv(in, out, 3, {.padding = 1});
    nn::init::normal(conv.weight, default_generator(), 0, 0.01);
    conv.bias.fill(bias);
    return conv;
  }
};

/// Of classes that are rare: -ln((1 - p) / p), p = 0.01 (arXiv:1708.02002, section 4.1).
inline constexpr float rare_class_bias = -4.59511985F;

/// Maps [N, H, W, A * last] of all levels -> [N, all positions and anchors, last].
template <class T, class D>
[[nodiscard]] Tensor<T, D> over_all_anchors(const std::vector<Tensor<T, D>>& maps, index_t last) {
  std::vector<Tensor<T, D>> rows;
  for (const auto& map : maps) rows.push_back(reshape(map, Shape{map.dim(0), map.dim(1) * map.dim(2) * (map.dim(3) / last), last}));
  return concat(rows, 1);
}

template <class T, class D>
[[nodiscard]] Tensor<float> on_host(const Tensor<T, D>& t) {
  return cast<float>(t.detach().template to<Cpu>());
}

/// The anchors of a batch and how many each map has. The maps' sizes follow from the batch's: every stride rounds up.
struct BatchAnchors {
  Tensor<float> boxes;
  std::vector<index_t> level_sizes;

  BatchAnchors(const AnchorOptions& options, Extent2 image, index_t first_stride) {
    std::vector<Extent2> maps;
    Extent2 map((image.h + first_stride - 1) / first_stride, (image.w + first_stride - 1) / first_stride);
    for (std::size_t level = 0; level < options.sizes.size(); ++level) {
      maps.push_back(map);
      level_sizes.push_back(map.h * map.w * options.per_position(level));
      map = {(map.h + 1) / 2, (map.w + 1) / 2};
    }
    boxes = anchors(options, image, maps);
  }
};

/// What a batch's scores [N, A, K] and codes [N, A, 4] of boxes say of each image, in its own coordinates.
template <class Coder>
[[nodiscard]] std::vector<Detections> batch_detections(const ImageBatch& batch, const BatchAnchors& anchors, const Tensor<float>& scores,
                                                       const Tensor<float>& codes, const Coder& coder,
                                                       const OneStageDetectionOptions& options) {
  std::vector<Detections> found;
  const index_t A = scores.dim(1), K = scores.dim(2);
  for (std::size_t n = 0; n < batch.sizes.size(); ++n) {
    const auto i = static_cast<index_t>(n);
    const auto decode = [&](const std::vector<index_t>& rows) {
      return coder.decode(rows_at(codes.alias({A, 4}, i * A * 4), rows), rows_at(anchors.boxes, rows));
    };
    found.push_back(one_stage_detections(scores.alias({A, K}, i * A * K), anchors.level_sizes, batch.sizes[n], options, decode));
    found.back().boxes = batch.original_boxes(found.back().boxes, n);
  }
  return found;
}

/// Checks the targets, and makes them fit the batch.
[[nodiscard]] inline std::vector<DetectionTarget> resized_targets(const char* op, const ImageBatch& batch,
                                                                  const std::vector<DetectionTarget>& targets, index_t classes) {
  if (targets.size() != batch.sizes.size())
    throw ValueError(op, "targets", concat(batch.sizes.size(), ", one for each image"), concat(targets.size()));
  std::vector<DetectionTarget> resized;
  for (std::size_t n = 0; n < targets.size(); ++n) {
    segnet::detail::check_target(op, targets[n], n, classes);
    resized.push_back(batch.resized_target(targets[n], n));
  }
  return resized;
}

}  // namespace detail
}  // namespace segnet::models
