// What detectors find that speak of every anchor, without proposals: FCOS, RetinaNet.
#pragma once

#include <vector>

#include "segnet/detection/nms.hpp"
#include "segnet/detection/rpn.hpp"
#include "segnet/detection/targets.hpp"

namespace segnet {

struct OneStageDetectionOptions {
  double score_threshold = 0.2;  ///< RetinaNet: 0.05
  double nms_threshold = 0.6;    ///< RetinaNet: 0.5
  index_t candidates = 1000;     ///< of each map that are looked at
  index_t most = 100;            ///< detections of an image
};

/// What a head that speaks of every anchor found in one image: of each map the best scores above the threshold, any class; those left by
/// non-maximum suppression within each class; the best. No gradients.
/// @param scores [A, K]   @param level_sizes anchors of each map
/// @param decode of the numbers of some anchors -> their boxes [n, 4]
template <class Decode>
[[nodiscard]] Detections one_stage_detections(const Tensor<float>& scores, const std::vector<index_t>& level_sizes, Extent2 image,
                                              const OneStageDetectionOptions& options, const Decode& decode) {
  const NoGrad guard;
  const index_t K = scores.dim(1);
  std::vector<index_t> anchor, label;
  std::vector<float> score;
  index_t first = 0;
  for (const index_t size : level_sizes) {
    std::vector<index_t> here;
    for (index_t i = first * K; i < (first + size) * K; ++i)
      if (scores.data()[i] > static_cast<float>(options.score_threshold)) here.push_back(i);
    const auto order = detail::by_falling_score(rows_at(scores.alias({scores.numel()}), here));
    for (std::size_t k = 0; k < std::min(order.size(), static_cast<std::size_t>(options.candidates)); ++k) {
      const index_t i = here[static_cast<std::size_t>(order[k])];
      anchor.push_back(i / K);
      label.push_back(i % K);
      score.push_back(scores.data()[i]);
    }
    first += size;
  }
  const Tensor<float> boxes = clip_boxes(decode(anchor), image), all_scores({static_cast<index_t>(score.size())}, score);
  const Tensor<index_t> labels = detail::index_tensor(label);
  auto keep = batched_nms(boxes, all_scores, labels, options.nms_threshold);
  keep.resize(std::min(keep.size(), static_cast<std::size_t>(options.most)));
  return {rows_at(boxes, keep), rows_at(all_scores, keep), rows_at(labels, keep), {}, {}, {}};
}

}  // namespace segnet
