// Masks of detections: He, Gkioxari, Dollar, Girshick, "Mask R-CNN", arXiv:1703.06870, section 3.
#pragma once

#include <concepts>

#include "segnet/detection/roi_heads.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet {

/// Mean binary cross entropy of the true class's mask, against the object's mask within the proposal: sampled by roi_align at scale 1,
/// values between 0 and 1. Without proposals it is 0, with a graph.
/// @param logits [R, m, m, K]   @param proposals [R, 4]   @param labels [R], classes   @param masks [M, H, W]
/// @param objects R numbers of masks   @throws ShapeError, ValueError
template <class T, class D>
[[nodiscard]] Tensor<T, D> mask_rcnn_loss(const Tensor<T, D>& logits, const Tensor<float>& proposals, const Tensor<index_t>& labels,
                                          const Tensor<std::uint8_t>& masks, const std::vector<index_t>& objects) {
  if (logits.rank() != 4) throw ShapeError("mask_rcnn_loss", "logits", "[R, m, m, K]", logits.shape());
  const index_t R = logits.dim(0), h = logits.dim(1), w = logits.dim(2);
  if (R == 0) return sum(logits);
  if (masks.rank() != 3) throw ShapeError("mask_rcnn_loss", "masks", "[M, H, W]", masks.shape());
  if (labels.shape() != Shape{R}) throw ShapeError("mask_rcnn_loss", "labels", to_string(Shape{R}), labels.shape());
  Tensor<T> images({masks.dim(0), masks.dim(1), masks.dim(2), 1});
  for (index_t i = 0; i < images.numel(); ++i) images.data()[i] = masks.data()[i] != 0 ? T(1) : T(0);
  Tensor<float> rois({R, 5});
  const Tensor<index_t> channel({R, h, w, 1});
  for (index_t r = 0; r < R; ++r) {
    rois.at(r, 0) = static_cast<float>(objects[static_cast<std::size_t>(r)]);
    std::copy_n(proposals.data() + 4 * r, 4, rois.data() + 5 * r + 1);
    std::fill_n(channel.data() + r * h * w, h * w, labels.at(r));
  }
  const auto target = roi_align(images, rois, {.output_size = {h, w}});
  return binary_cross_entropy_with_logits(gather(logits, 3, channel.template to<D>()), target.template to<D>());
}

/// Masks of boxes, [n, m, m], where they are in the image: [n, H, W], 0 outside. As torchvision does it: with a frame of zeros around,
/// the mask is stretched (bilinear) over the box, which grows alike and whose corners are cut to integers.
/// @param boxes [n, 4]   @throws ShapeError
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] Tensor<T> paste_masks(const Tensor<T>& masks, const Tensor<T>& boxes, Extent2 image) {
  const NoGrad guard;
  detail::check_boxes("paste_masks", "boxes", boxes);
  if (masks.rank() != 3 || masks.dim(0) != boxes.dim(0) || masks.dim(1) != masks.dim(2))
    throw ShapeError("paste_masks", "masks", concat("[", boxes.dim(0), ", m, m]"), masks.shape());
  const index_t n = masks.dim(0), m = masks.dim(1);
  const Tensor<float> result = zeros<float>({n, image.h, image.w});
  const float grow = static_cast<float>(m + 2) / static_cast<float>(m);
  for (index_t k = 0; k < n; ++k) {
    const detail::BoxOf<float> box(boxes.data() + 4 * k);
    const float dx = box.width() * 0.5F * grow, dy = box.height() * 0.5F * grow;
    const float x = (box.x1 + box.x2) * 0.5F, y = (box.y1 + box.y2) * 0.5F;
    const auto corner = [](float v) { return static_cast<index_t>(std::clamp(v, -1e6F, 1e6F)); };
    const index_t x1 = corner(x - dx), y1 = corner(y - dy), x2 = corner(x + dx), y2 = corner(y + dy);
    const Extent2 size(std::max<index_t>(y2 - y1 + 1, 1), std::max<index_t>(x2 - x1 + 1, 1));
    const auto mask = resize(pad(masks.alias({1, m, m, 1}, k * m * m), {0, 0, 1, 1, 1, 1}), size);
    const index_t left = std::max<index_t>(x1, 0), right = std::min(x2 + 1, image.w);
    for (index_t i = std::max<index_t>(y1, 0); i < std::min(y2 + 1, image.h) && left < right; ++i)
      std::copy_n(mask.data() + (i - y1) * size.w + left - x1, right - left, result.data() + (k * image.h + i) * image.w + left);
  }
  return result;
}

}  // namespace segnet
