// What detectors learn from, and what they find.
#pragma once

#include <cstdint>
#include <vector>

#include "segnet/detection/boxes.hpp"

namespace segnet {

/// The objects of an image. Tensors are on the host; those that a network has no use for may be left out.
struct DetectionTarget {
  Tensor<float> boxes;         ///< [M, 4], with x2 > x1 and y2 > y1
  Tensor<index_t> labels;      ///< [M], classes from 1 (0 is the background)
  Tensor<std::uint8_t> masks;  ///< [M, H, W], not 0 where the object is
  Tensor<float> keypoints;     ///< [M, K, 3]: x, y, and above 0 if it is visible
};

/// What was found in an image, best first.
struct Detections {
  Tensor<float> boxes;            ///< [n, 4], in pixels of the image
  Tensor<float> scores;           ///< [n]
  Tensor<index_t> labels;         ///< [n], from 1
  Tensor<float> masks;            ///< [n, H, W], probabilities (Mask R-CNN)
  Tensor<float> keypoints;        ///< [n, K, 3]: x, y, 1 (Keypoint R-CNN)
  Tensor<float> keypoint_scores;  ///< [n, K], logits
};

namespace detail {
/// @throws ShapeError, ValueError  naming the image
inline void check_target(const char* op, const DetectionTarget& target, std::size_t image, index_t classes, bool masks = false,
                         index_t keypoints = 0) {
  const index_t M = target.boxes.numel() / 4;
  const std::string where = concat("targets[", image, "].");
  if (target.boxes.numel() > 0) check_boxes(op, (where + "boxes").c_str(), target.boxes);
  if (target.labels.numel() != M) throw ShapeError(op, where + "labels", concat("[", M, "]"), target.labels.shape());
  if (masks && M > 0 && (target.masks.rank() != 3 || target.masks.dim(0) != M))
    throw ShapeError(op, where + "masks", concat("[", M, ", H, W]"), target.masks.shape());
  if (keypoints > 0 && M > 0 && target.keypoints.shape() != Shape{M, keypoints, 3})
    throw ShapeError(op, where + "keypoints", to_string(Shape{M, keypoints, 3}), target.keypoints.shape());
  for (index_t m = 0; m < M; ++m) {
    const BoxOf<float> box(target.boxes.data() + 4 * m);
    if (!(box.x2 > box.x1 && box.y2 > box.y1))
      throw ValueError(op, where + "boxes", "x2 > x1 and y2 > y1", concat(box.x1, ", ", box.y1, ", ", box.x2, ", ", box.y2, " in box ", m));
    if (const index_t label = target.labels.data()[m]; label < 1 || label >= classes)
      throw ValueError(op, where + "labels", concat("classes in [1, ", classes, ")"), concat(label));
  }
}
/// The boxes, or [0, 4] where there are none.
[[nodiscard]] inline Tensor<float> boxes_of(const DetectionTarget& target) {
  return target.boxes.numel() > 0 ? target.boxes : Tensor<float>({0, 4});
}
}  // namespace detail

}  // namespace segnet
