// FCOS: Tian, Shen, Chen, He, "FCOS: Fully convolutional one-stage object detection", arXiv:1904.01355, section 3, in torchvision's
// variant: position (i, j) of a map is at (j, i) times its stride, and its anchor is the square around it whose side is the stride.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/detection/one_stage.hpp"
#include "segnet/ops/box_loss.hpp"

namespace segnet {

struct FcosMatchOptions {
  double center_sampling_radius = 1.5;  ///< strides around an object's centre within which positions are positive
};

/// For each position of the maps the object that it is to find, or -1. The position must be within `center_sampling_radius` strides of the
/// object's centre (along each axis) and inside of its box, and the largest distance to a side between 4 and 8 strides of the map, both
/// excluded: the paper's ranges of 64 to 128, ... pixels. The finest map has no lower bound, the coarsest no upper one. Of several objects
/// the smallest. Section 3.2.
/// @param anchors [A, 4], squares   @param boxes [M, 4]
[[nodiscard]] inline std::vector<index_t> fcos_match(const Tensor<float>& anchors, const std::vector<index_t>& level_sizes,
                                                     const Tensor<float>& boxes, const FcosMatchOptions& options = {}) {
  const index_t A = anchors.dim(0), M = boxes.dim(0);
  std::vector<index_t> matches(static_cast<std::size_t>(A), matched_background);
  const index_t first = level_sizes.front(), last = A - level_sizes.back();
  for (index_t a = 0; a < A; ++a) {
    const detail::BoxOf<float> square(anchors.data() + 4 * a);
    const float x = (square.x1 + square.x2) / 2, y = (square.y1 + square.y2) / 2, side = square.width();
    const float low = a < first ? 0 : side * 4, high = a >= last ? INFINITY : side * 8;
    float smallest = INFINITY;
    for (index_t m = 0; m < M; ++m) {
      const detail::BoxOf<float> box(boxes.data() + 4 * m);
      const float off = std::max(std::abs(x - (box.x1 + box.x2) / 2), std::abs(y - (box.y1 + box.y2) / 2));
      const float nearest = std::min(std::min(x - box.x1, y - box.y1), std::min(box.x2 - x, box.y2 - y));
      const float farthest = std::max(std::max(x - box.x1, y - box.y1), std::max(box.x2 - x, box.y2 - y));
      if (!(off < static_cast<float>(options.center_sampling_radius) * side) || !(nearest > 0)) continue;
      if (!(farthest > low && farthest < high) || !(box.area() < smallest)) continue;
      smallest = box.area();
      matches[static_cast<std::size_t>(a)] = m;
    }
  }
  return matches;
}

template <class T, class D = Cpu>
struct FcosLoss {
  Tensor<T, D> classification, box, centerness;

  /// Their sum, which training descends.
  [[nodiscard]] Tensor<T, D> total() const { return classification + box + centerness; }
};

/// Section 3.1 and 3.2; each over the number of positive positions in the batch, or 1: the focal loss of all positions and classes; the
/// positive ones' 1 - GIoU; their binary cross entropy against sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), of the distances to
/// the four sides. @param logits [N, A, K]   @param distances [N, A, 4], in strides   @param centerness [N, A]
template <class T, class D>
[[nodiscard]] FcosLoss<T, D> fcos_loss(const Tensor<float>& anchors, const std::vector<index_t>& level_sizes, const Tensor<T, D>& logits,
                                       const Tensor<T, D>& distances, const Tensor<T, D>& centerness,
                                       const std::vector<DetectionTarget>& targets, const FcosMatchOptions& options = {}) {
  const index_t N = logits.dim(0), A = logits.dim(1), K = logits.dim(2);
  const Tensor<T> classes = zeros<T>(logits.shape());
  std::vector<index_t> positive, squares;
  std::vector<Tensor<float>> boxes;
  for (index_t n = 0; n < N; ++n) {
    const DetectionTarget& target = targets[static_cast<std::size_t>(n)];
    const Tensor<float> objects = detail::boxes_of(target);
    const auto matches = fcos_match(anchors, level_sizes, objects, options);
    std::vector<index_t> found;
    for (index_t a = 0; a < A; ++a)
      if (const index_t m = matches[static_cast<std::size_t>(a)]; m >= 0) {
        classes.data()[(n * A + a) * K + target.labels.at(m)] = 1;
        positive.push_back(n * A + a);
        squares.push_back(a);
        found.push_back(m);
      }
    boxes.push_back(rows_at(objects, found));
  }
  const Tensor<T> wanted = cast<T>(concat(boxes, 0)), reference = cast<T>(rows_at(anchors, squares));
  const Tensor<T> sides = LinearBoxCoder{}.encode(wanted, reference);
  Tensor<T> central({static_cast<index_t>(positive.size())});
  for (index_t i = 0; i < central.numel(); ++i) {
    const T* const s = sides.data() + 4 * i;  // left, top, right, bottom
    central.data()[i] = std::sqrt(std::min(s[0], s[2]) / std::max(s[0], s[2]) * (std::min(s[1], s[3]) / std::max(s[1], s[3])));
  }
  const T share = static_cast<T>(1 / std::max(1., static_cast<double>(positive.size())));
  const auto predicted = LinearBoxCoder{}.decode(detail::rows(reshape(distances, Shape{N * A, 4}), positive), reference.template to<D>());
  return {sigmoid_focal_loss(logits, classes.template to<D>(), {.reduction = segnet::Reduction::sum}) * share,
          box_loss(BoxLoss::giou, predicted, wanted.template to<D>(), segnet::Reduction::sum) * share,
          binary_cross_entropy_with_logits(detail::rows(reshape(centerness, Shape{N * A}), positive), central.template to<D>(),
                                           {.reduction = segnet::Reduction::sum}) *
              share};
}

}  // namespace segnet
