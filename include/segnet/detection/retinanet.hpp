// RetinaNet: Lin, Goyal, Girshick, He, Dollar, "Focal loss for dense object detection", arXiv:1708.02002, section 4, as torchvision has it.
#pragma once

#include <vector>

#include "segnet/detection/anchors.hpp"
#include "segnet/detection/one_stage.hpp"

namespace segnet {

/// Its anchors: on maps of stride 8 ... 128 squares of four strides and of 2^(1/3) and 2^(2/3) times that, rounded down, each in three
/// shapes. Section 4, "Anchors".
[[nodiscard]] inline AnchorOptions retinanet_anchors() {
  return {.sizes = {{32, 40, 50}, {64, 80, 101}, {128, 161, 203}, {256, 322, 406}, {512, 645, 812}}};
}

template <class T, class D = Cpu>
struct RetinaNetLoss {
  Tensor<T, D> classification, box;

  /// Their sum, which training descends.
  [[nodiscard]] Tensor<T, D> total() const { return classification + box; }
};

/// The mean over images of the focal loss of all anchors that are positive or background, and of the l1 loss of the positive ones' codes,
/// each over the image's number of positive anchors, or 1. Sections 3 and 4. @param logits [N, A, K]   @param deltas [N, A, 4]
template <class T, class D>
[[nodiscard]] RetinaNetLoss<T, D> retinanet_loss(const Tensor<float>& anchors, const Tensor<T, D>& logits, const Tensor<T, D>& deltas,
                                                 const std::vector<DetectionTarget>& targets,
                                                 const MatcherOptions& options = {.high = 0.5, .low = 0.4, .allow_low_quality = true}) {
  const index_t N = logits.dim(0), A = logits.dim(1), K = logits.dim(2);
  RetinaNetLoss<T, D> total;
  for (index_t n = 0; n < N; ++n) {
    const DetectionTarget& target = targets[static_cast<std::size_t>(n)];
    const Tensor<float> objects = detail::boxes_of(target);
    const auto matches = match(box_iou(objects, anchors), options);
    std::vector<index_t> asked, positive, found, own;
    for (index_t a = 0; a < A; ++a) {
      const index_t m = matches[static_cast<std::size_t>(a)];
      if (m == matched_nothing) continue;
      asked.push_back(n * A + a);
      if (m < 0) continue;
      positive.push_back(n * A + a);
      own.push_back((static_cast<index_t>(asked.size()) - 1) * K + target.labels.at(m));
      found.push_back(m);
    }
    const Tensor<T> classes = zeros<T>({static_cast<index_t>(asked.size()), K});
    for (const index_t i : own) classes.data()[i] = 1;
    std::vector<index_t> here = positive;
    for (index_t& a : here) a -= n * A;
    const auto codes = cast<T>(BoxCoder{}.encode(rows_at(objects, found), rows_at(anchors, here)));
    const T share = static_cast<T>(1 / (std::max(1., static_cast<double>(positive.size())) * static_cast<double>(N)));
    const auto focal = sigmoid_focal_loss(detail::rows(reshape(logits, Shape{N * A, K}), asked), classes.template to<D>(),
                                          {.reduction = segnet::Reduction::sum}) *
                       share;
    const auto off =
        l1_loss(detail::rows(reshape(deltas, Shape{N * A, 4}), positive), codes.template to<D>(), segnet::Reduction::sum) * share;
    total.classification = n == 0 ? focal : total.classification + focal;
    total.box = n == 0 ? off : total.box + off;
  }
  return total;
}

}  // namespace segnet
