// Anchors: boxes of a few sizes and shapes at every position of every map, which proposals and detections are corrections of.
// Ren, He, Girshick, Sun, "Faster R-CNN", arXiv:1506.01497, section 3.1.1; as torchvision places them.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/core/tensor.hpp"

namespace segnet {

struct AnchorOptions {
  std::vector<std::vector<double>> sizes;               ///< for each map the sides of square anchors, in pixels of the image
  std::vector<double> aspect_ratios = {0.5, 1.0, 2.0};  ///< height / width, at the area of the square

  /// Anchors at each position of map number `level`.
  [[nodiscard]] index_t per_position(std::size_t level) const { return static_cast<index_t>(sizes[level].size() * aspect_ratios.size()); }
};

/// The anchors around (0, 0): for each ratio all sizes, w = size / sqrt(ratio), h = size * sqrt(ratio), half sides rounded to integers
/// (halves to the even one). [ratios * sizes, 4]
[[nodiscard]] inline Tensor<float> base_anchors(const std::vector<double>& sizes, const std::vector<double>& aspect_ratios) {
  std::vector<float> boxes;
  for (const double ratio : aspect_ratios)
    for (const double size : sizes) {
      const float root = std::sqrt(static_cast<float>(ratio)), w = 1 / root * static_cast<float>(size), h = root * static_cast<float>(size);
      for (const float side : {-w / 2, -h / 2, w / 2, h / 2}) boxes.push_back(std::nearbyint(side));
    }
  return {{static_cast<index_t>(boxes.size() / 4), 4}, boxes};
}

/// All anchors of an image, [A, 4]: map by map, row by row, position by position, in the order of `base_anchors`. Position (i, j) is at
/// (j, i) times the strides, which are the whole parts of image / map: no half stride is added, and where a map's size was rounded up its
/// stride is no power of two. Weights trained with these want them so.
/// @param image the padded size that the network saw   @param maps sizes of the maps   @throws ValueError: other than a list of sizes a map
[[nodiscard]] inline Tensor<float> anchors(const AnchorOptions& options, Extent2 image, const std::vector<Extent2>& maps) {
  if (maps.size() != options.sizes.size())
    throw ValueError("anchors", "maps", concat(options.sizes.size(), " maps, one for each list of sizes"), concat(maps.size()));
  std::vector<float> all;
  for (std::size_t level = 0; level < maps.size(); ++level) {
    const Tensor<float> base = base_anchors(options.sizes[level], options.aspect_ratios);
    const Extent2 map = maps[level], stride(image.h / map.h, image.w / map.w);
    for (index_t i = 0; i < map.h; ++i)
      for (index_t j = 0; j < map.w; ++j)
        for (index_t k = 0; k < base.numel(); ++k)
          all.push_back(base.data()[k] + static_cast<float>(k % 2 == 0 ? j * stride.w : i * stride.h));
  }
  return {{static_cast<index_t>(all.size() / 4), 4}, all};
}

}  // namespace segnet
