// Non-maximum suppression: of boxes that overlap, the one with the highest score stays.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "segnet/detection/boxes.hpp"

namespace segnet {

namespace detail {

/// Numbers of the elements by falling score. Equal scores stay in order; NaN counts as larger than every number, as in `sort`.
[[nodiscard]] inline std::vector<index_t> by_falling_score(const Tensor<float>& scores) {
  std::vector<index_t> order(static_cast<std::size_t>(scores.numel()));
  std::iota(order.begin(), order.end(), index_t{0});
  const float* const s = scores.data();
  std::sort(order.begin(), order.end(), [s](index_t a, index_t b) {
    const bool nan_a = s[a] != s[a], nan_b = s[b] != s[b];
    if (s[a] > s[b] || (nan_a && !nan_b)) return true;
    return !(s[b] > s[a] || (nan_b && !nan_a)) && a < b;
  });
  return order;
}

/// Keeps the first of `order`, drops what overlaps it, and so on; the numbers kept are appended to `keep`.
inline void suppress(const Tensor<float>& boxes, const std::vector<index_t>& order, float iou_threshold, std::vector<index_t>& keep) {
  std::vector<std::uint8_t> dropped(order.size(), 0);
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (dropped[i]) continue;
    keep.push_back(order[i]);
    const BoxOf<float> box(boxes.data() + 4 * order[i]);
    for (std::size_t j = i + 1; j < order.size(); ++j)
      if (!dropped[j]) dropped[j] = intersection_over_union(box, BoxOf<float>(boxes.data() + 4 * order[j])) > iou_threshold;
  }
}

inline void check_scores_of_boxes(const char* op, const Tensor<float>& boxes, const Tensor<float>& scores) {
  check_boxes(op, "boxes", boxes);
  if (scores.shape() != Shape{boxes.dim(0)}) throw ShapeError(op, "scores", to_string(Shape{boxes.dim(0)}), scores.shape());
}

}  // namespace detail

/// Greedy suppression: boxes in the order of their scores, each kept unless its IoU with one kept before is above iou_threshold (an equal
/// one stays). Equal scores in the order of their boxes; a box without area overlaps nothing. O(N^2) time at most.
/// @param boxes [N, 4]   @param scores [N], NaN first   @return the numbers of the boxes kept, by falling score
/// @throws ShapeError
[[nodiscard]] inline std::vector<index_t> nms(const Tensor<float>& boxes, const Tensor<float>& scores, double iou_threshold) {
  detail::check_scores_of_boxes("nms", boxes, scores);
  std::vector<index_t> keep;
  detail::suppress(boxes, detail::by_falling_score(scores), static_cast<float>(iou_threshold), keep);
  return keep;
}

/// The same within each class: boxes of different classes never drop each other. @param classes [N], any numbers
[[nodiscard]] inline std::vector<index_t> batched_nms(const Tensor<float>& boxes, const Tensor<float>& scores,
                                                      const Tensor<index_t>& classes, double iou_threshold) {
  detail::check_scores_of_boxes("batched_nms", boxes, scores);
  if (classes.shape() != scores.shape()) throw ShapeError("batched_nms", "classes", to_string(scores.shape()), classes.shape());
  const std::vector<index_t> order = detail::by_falling_score(scores);
  std::vector<index_t> rank(order.size()), by_class(order), keep;
  for (std::size_t r = 0; r < order.size(); ++r) rank[static_cast<std::size_t>(order[r])] = static_cast<index_t>(r);
  const auto class_of = [&](index_t i) { return classes.data()[i]; };
  const auto ranked = [&](index_t i) { return rank[static_cast<std::size_t>(i)]; };
  std::sort(by_class.begin(), by_class.end(),
            [&](index_t a, index_t b) { return class_of(a) != class_of(b) ? class_of(a) < class_of(b) : ranked(a) < ranked(b); });
  for (auto first = by_class.begin(); first != by_class.end();) {
    const auto last = std::find_if(first, by_class.end(), [&](index_t i) { return class_of(i) != class_of(*first); });
    detail::suppress(boxes, {first, last}, static_cast<float>(iou_threshold), keep);
    first = last;
  }
  std::sort(keep.begin(), keep.end(), [&](index_t a, index_t b) { return ranked(a) < ranked(b); });
  return keep;
}

}  // namespace segnet
