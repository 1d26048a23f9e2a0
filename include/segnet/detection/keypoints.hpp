// Keypoints of detections, as maps of where each may be: arXiv:1703.06870, section 5.
#pragma once

#include <concepts>

#include "segnet/detection/roi_heads.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet {

/// Mean cross entropy over the positions of each map, for the keypoints that are visible and inside of their proposal. Position of (x, y):
/// floor((x - x1) * w / (x2 - x1)), y alike; x = x2 counts as inside. Without any it is 0, with a graph.
/// @param logits [R, h, w, K]   @param proposals [R, 4]   @param keypoints [M, K, 3]: x, y, visible   @param objects R numbers of objects
/// @throws ShapeError
template <class T, class D>
[[nodiscard]] Tensor<T, D> keypoint_rcnn_loss(const Tensor<T, D>& logits, const Tensor<float>& proposals, const Tensor<float>& keypoints,
                                              const std::vector<index_t>& objects) {
  if (logits.rank() != 4) throw ShapeError("keypoint_rcnn_loss", "logits", "[R, h, w, K]", logits.shape());
  const index_t R = logits.dim(0), h = logits.dim(1), w = logits.dim(2), K = logits.dim(3);
  if (R > 0 && (keypoints.rank() != 3 || keypoints.dim(1) != K || keypoints.dim(2) != 3))
    throw ShapeError("keypoint_rcnn_loss", "keypoints", concat("[M, ", K, ", 3]"), keypoints.shape());
  std::vector<index_t> maps, positions;
  for (index_t r = 0; r < R; ++r) {
    const detail::BoxOf<float> box(proposals.data() + 4 * r);
    for (index_t k = 0; k < K; ++k) {
      const float* const p = keypoints.data() + (objects[static_cast<std::size_t>(r)] * K + k) * 3;
      if (!(p[2] > 0) || !(p[0] >= box.x1 && p[0] <= box.x2 && p[1] >= box.y1 && p[1] <= box.y2)) continue;
      const auto cell = [](float v, float from, float size, index_t cells) {
        return std::min(static_cast<index_t>((v - from) * (static_cast<float>(cells) / size)), cells - 1);
      };
      maps.push_back(r * K + k);
      positions.push_back(cell(p[1], box.y1, box.height(), h) * w + cell(p[0], box.x1, box.width(), w));
    }
  }
  if (maps.empty()) return sum(logits) * T(0);
  const auto by_keypoint = reshape(permute(logits, {0, 3, 1, 2}), Shape{R * K, h * w});
  return cross_entropy(detail::rows(by_keypoint, maps), detail::index_tensor(positions).template to<D>());
}

struct Keypoints {
  Tensor<float> places;  ///< [n, K, 3]: x, y, 1
  Tensor<float> scores;  ///< [n, K], the map there
};

/// Where the maps [n, h, w, K] of boxes [n, 4] are largest, once each is resized (bicubic) to the box's size in whole pixels, rounded up.
/// @throws ShapeError
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] Keypoints heatmaps_to_keypoints(const Tensor<T>& maps, const Tensor<T>& boxes) {
  const NoGrad guard;
  detail::check_boxes("heatmaps_to_keypoints", "boxes", boxes);
  if (maps.rank() != 4 || maps.dim(0) != boxes.dim(0))
    throw ShapeError("heatmaps_to_keypoints", "maps", concat("[", boxes.dim(0), ", h, w, K]"), maps.shape());
  const index_t n = maps.dim(0), K = maps.dim(3), size = maps.dim(1) * maps.dim(2) * K;
  const Keypoints found{Tensor<float>({n, K, 3}), Tensor<float>({n, K})};
  for (index_t i = 0; i < n; ++i) {
    const detail::BoxOf<float> box(boxes.data() + 4 * i);
    const float w = std::max(box.width(), 1.F), h = std::max(box.height(), 1.F);
    const Extent2 pixels(static_cast<index_t>(std::ceil(h)), static_cast<index_t>(std::ceil(w)));
    const auto map = resize(maps.alias({1, maps.dim(1), maps.dim(2), K}, i * size), pixels, InterpolateMode::bicubic);
    for (index_t k = 0; k < K; ++k) {
      index_t best = 0;
      for (index_t p = 1; p < pixels.h * pixels.w; ++p)
        if (map.data()[p * K + k] > map.data()[best * K + k]) best = p;
      float* const to = found.places.data() + (i * K + k) * 3;
      const auto centre = [](index_t p, float length, index_t count) {
        return (static_cast<float>(p) + 0.5F) * (length / static_cast<float>(count));
      };
      to[0] = centre(best % pixels.w, w, pixels.w) + box.x1;
      to[1] = centre(best / pixels.w, h, pixels.h) + box.y1;
      to[2] = 1;
      found.scores.at(i, k) = map.data()[best * K + k];
    }
  }
  return found;
}

}  // namespace segnet
