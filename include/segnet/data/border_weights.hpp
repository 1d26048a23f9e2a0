// Weights of pixels that make a network learn the narrow gaps between objects: O. Ronneberger, P. Fischer, T. Brox, "U-Net",
// arXiv:1505.04597, section 3, equation 2.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "segnet/data/objects.hpp"

namespace segnet::data {

struct BorderWeights {
  double w0 = 10;                        ///< added in a gap of no width
  double sigma = 5;                      ///< pixels, how wide a gap may be
  bool inside = false;                   ///< add it to pixels of objects, too, their own distance being 0: for objects that touch
  std::vector<float> class_weight = {};  ///< w_c [classes]; empty: all 1
};

/// w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), d1 and d2 the distances of pixel x to the nearest and the second nearest
/// object, from centre to centre, exact. The loss is
///
///   sum(cross_entropy(logits, label, {.reduction = Reduction::none}) * w) / sum(w)
///
/// Distances above 7 sigma count as infinite (the term is below 3e-11 w0). Ignored labels weigh 0.
/// @param label [H, W]   @param objects [H, W] 1, 2, ..., 0 elsewhere   @return [H, W]
/// @throws ShapeError: objects of another size; ValueError: sigma is not positive, or a label without a class weight
[[nodiscard]] inline Tensor<float> border_weights(const Tensor<std::int32_t>& label, const Tensor<std::int32_t>& objects,
                                                  std::int32_t ignore_index, const BorderWeights& options = {}) {
  if (label.rank() != 2 || objects.shape() != label.shape())
    throw ShapeError("data::border_weights", "objects", concat(label.shape(), " as the labels"), objects.shape());
  if (!(options.sigma > 0)) throw ValueError("data::border_weights", "sigma", "more than 0 pixels", concat(options.sigma));
  const index_t h = label.dim(0), w = label.dim(1);
  const auto reach = static_cast<index_t>(std::ceil(7 * options.sigma));
  constexpr float none = std::numeric_limits<float>::infinity();
  std::vector<float> nearest(static_cast<std::size_t>(h * w), none), second = nearest;  // squared distances
  std::vector<float> above;                                                             // within the column, squared
  for (const auto& [object, box] : object_boxes(objects)) {
    const index_t top = std::max<index_t>(0, box.top - reach), bottom = std::min(h - 1, box.bottom + reach);
    const index_t left = std::max<index_t>(0, box.left - reach), right = std::min(w - 1, box.right + reach);
    const index_t height = bottom - top + 1;
    above.assign(static_cast<std::size_t>(height * w), none);
    for (index_t x = box.left; x <= box.right; ++x)
      for (const index_t step : {index_t{1}, index_t{-1}}) {
        float distance = none;
        for (index_t k = 0, y = step > 0 ? top : bottom; k < height; ++k, y += step) {
          distance = objects.data()[y * w + x] == object ? 0 : distance + 1;
          float& best = above[static_cast<std::size_t>((y - top) * w + x)];
          best = std::min(best, distance * distance);
        }
      }
    for (index_t y = top; y <= bottom; ++y)
      for (index_t x = left; x <= right; ++x) {
        float best = none;
        for (index_t q = std::max(box.left, x - reach); q <= std::min(box.right, x + reach); ++q)
          best = std::min(best, static_cast<float>((x - q) * (x - q)) + above[static_cast<std::size_t>((y - top) * w + q)]);
        const auto p = static_cast<std::size_t>(y * w + x);
        second[p] = std::min(second[p], std::max(nearest[p], best));
        nearest[p] = std::min(nearest[p], best);
      }
  }

  Tensor<float> weights({h, w});
  const std::vector<float>& of_class = options.class_weight;
  for (index_t p = 0; p < h * w; ++p) {
    const std::int32_t id = label.data()[p];
    weights.data()[p] = 0;
    if (id == ignore_index) continue;
    if (!of_class.empty() && (id < 0 || static_cast<std::size_t>(id) >= of_class.size()))
      throw ValueError("data::border_weights", "label", concat("a class from 0 to ", of_class.size() - 1), concat(id));
    double weight = of_class.empty() ? 1 : of_class[static_cast<std::size_t>(id)];
    if (options.inside || objects.data()[p] == 0) {
      const double d = std::sqrt(nearest[static_cast<std::size_t>(p)]) + std::sqrt(second[static_cast<std::size_t>(p)]);
      weight += options.w0 * std::exp(-d * d / (2 * options.sigma * options.sigma));
    }
    weights.data()[p] = static_cast<float>(weight);
  }
  return weights;
}

}  // namespace segnet::data
