// Images of any size as a batch that detectors take, and what was found in them back in the images' own pixels.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <vector>

#include "segnet/detection/targets.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet {

struct ImageBatchOptions {
  index_t min_side = 800, max_side = 1333;  ///< the short side becomes min_side, unless the long one would pass max_side
  std::array<double, 3> mean{0.485, 0.456, 0.406}, std{0.229, 0.224, 0.225};
  index_t multiple = 32;  ///< sides of the batch are a multiple of it
};

/// Images, resized, normalised and padded with zeros at the bottom and on the right.
struct ImageBatch {
  Tensor<float> images;            ///< [N, H, W, 3]
  std::vector<Extent2> sizes;      ///< of each, without its padding
  std::vector<Extent2> originals;  ///< as they came

  [[nodiscard]] Extent2 padded() const { return {images.dim(1), images.dim(2)}; }

  /// Boxes (or any rows that begin with x, y, x, y, ...) of image n times the ratio of its sizes.
  [[nodiscard]] Tensor<float> resized_boxes(const Tensor<float>& boxes, std::size_t n) const {
    return scaled(boxes, originals[n], sizes[n]);
  }
  /// Boxes in the batch's pixels back in the image's own.
  [[nodiscard]] Tensor<float> original_boxes(const Tensor<float>& boxes, std::size_t n) const {
    return scaled(boxes, sizes[n], originals[n]);
  }
  /// Points [n, K, 3] back in the image's own pixels.
  [[nodiscard]] Tensor<float> original_points(const Tensor<float>& points, std::size_t n) const {
    return scaled_points(points, sizes[n], originals[n]);
  }
  /// A target of image n as the network sees it. Masks are resized to the nearest pixel.
  [[nodiscard]] DetectionTarget resized_target(const DetectionTarget& target, std::size_t n) const {
    DetectionTarget result = target;
    result.boxes = resized_boxes(detail::boxes_of(target), n);
    if (target.keypoints) result.keypoints = scaled_points(target.keypoints, originals[n], sizes[n]);
    if (target.masks && target.masks.numel() > 0) {
      const Shape s = target.masks.shape();
      const auto masks = resize(cast<float>(target.masks.alias({s[0], s[1], s[2], 1})), sizes[n], InterpolateMode::nearest);
      result.masks = cast<std::uint8_t>(masks).alias({s[0], sizes[n].h, sizes[n].w});
    }
    return result;
  }

 private:
  static Tensor<float> scaled(const Tensor<float>& boxes, Extent2 from, Extent2 to) {
    const auto y = boxes.clone();
    for (index_t i = 0; i < y.numel(); ++i) y.data()[i] *= ratio(i % 2 == 1, from, to);
    return y;
  }
  static Tensor<float> scaled_points(const Tensor<float>& points, Extent2 from, Extent2 to) {
    const auto y = points.clone();
    for (index_t i = 0; i < y.numel(); ++i)
      if (i % 3 < 2) y.data()[i] *= ratio(i % 3 == 1, from, to);
    return y;
  }
  static float ratio(bool vertical, Extent2 from, Extent2 to) {
    return vertical ? static_cast<float>(to.h) / static_cast<float>(from.h) : static_cast<float>(to.w) / static_cast<float>(from.w);
  }
};

/// @param images [H, W, 3] each, values in [0, 1], sizes of their own   @throws ShapeError; ValueError: none at all
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] ImageBatch image_batch(const std::vector<Tensor<T>>& images, const ImageBatchOptions& options = {}) {
  const NoGrad guard;
  if (images.empty()) throw ValueError("image_batch", "images", "at least one", "none");
  ImageBatch batch;
  std::vector<Tensor<float>> resized;
  Extent2 largest = 1;
  Tensor<float> mean({3}), std({3});
  for (std::size_t c = 0; c < 3; ++c) {
    mean.data()[c] = static_cast<float>(options.mean[c]);
    std.data()[c] = static_cast<float>(options.std[c]);
  }
  for (std::size_t n = 0; n < images.size(); ++n) {
    const Shape s = images[n].shape();
    if (s.rank() != 3 || s[2] != 3 || s[0] < 1 || s[1] < 1) throw ShapeError("image_batch", concat("images[", n, "]"), "[H, W, 3]", s);
    const Extent2 original(s[0], s[1]);
    // In float and rounded down, as torchvision has it: 480 x 640 becomes 799 x 1066.
    const float scale = std::min(static_cast<float>(options.min_side) / static_cast<float>(std::min(original.h, original.w)),
                                 static_cast<float>(options.max_side) / static_cast<float>(std::max(original.h, original.w)));
    const auto side = [&](index_t n_pixels) {
      return std::max<index_t>(1, static_cast<index_t>(static_cast<double>(n_pixels) * static_cast<double>(scale)));
    };
    const Extent2 size(side(original.h), side(original.w));
    resized.push_back(resize((images[n].alias({1, s[0], s[1], 3}) - mean) / std, size));
    batch.originals.push_back(original);
    batch.sizes.push_back(size);
    largest = {std::max(largest.h, size.h), std::max(largest.w, size.w)};
  }
  const auto rounded = [&](index_t n) { return (n + options.multiple - 1) / options.multiple * options.multiple; };
  for (auto& image : resized) image = pad(image, {0, 0, 0, rounded(largest.w) - image.dim(2), 0, rounded(largest.h) - image.dim(1)});
  batch.images = concat(resized, 0);
  return batch;
}

}  // namespace segnet
