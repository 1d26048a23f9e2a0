// The objects of a sample: which there are, where, and pictures of single ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "segnet/data/geometry.hpp"

namespace segnet::data {

/// Rows and columns that hold an object, the last ones included.
struct Box {
  index_t top, bottom, left, right;
};

/// Where each object is. @param objects [H, W] 1, 2, ..., 0 elsewhere
[[nodiscard]] inline std::map<std::int32_t, Box> object_boxes(const Tensor<std::int32_t>& objects) {
  std::map<std::int32_t, Box> boxes;
  const index_t w = objects.dim(1);
  for (index_t p = 0; p < objects.numel(); ++p) {
    const std::int32_t object = objects.data()[p];
    if (object == 0) continue;
    const index_t y = p / w, x = p % w;
    Box& box = boxes.try_emplace(object, Box{y, y, x, x}).first->second;
    box = {box.top, y, std::min(box.left, x), std::max(box.right, x)};
  }
  return boxes;
}

/// Objects where a data set has none of its own: 1, 2, ... for the connected areas (by sides) of one class, 0 for the classes 0 and
/// `ignore_index`. @param label [H, W]   @return [H, W]
[[nodiscard]] inline Tensor<std::int32_t> connected_objects(const Tensor<std::int32_t>& label, std::int32_t ignore_index) {
  const index_t h = label.dim(0), w = label.dim(1);
  Tensor<std::int32_t> objects = zeros<std::int32_t>({h, w});
  std::vector<index_t> waiting;
  std::int32_t count = 0;
  for (index_t first = 0; first < h * w; ++first) {
    const std::int32_t id = label.data()[first];
    if (id == 0 || id == ignore_index || objects.data()[first] != 0) continue;
    ++count;
    const auto take = [&](index_t p) {
      if (label.data()[p] != id || objects.data()[p] != 0) return;
      objects.data()[p] = count;
      waiting.push_back(p);
    };
    take(first);
    while (!waiting.empty()) {
      const index_t p = waiting.back(), x = p % w;
      waiting.pop_back();
      if (x > 0) take(p - 1);
      if (x + 1 < w) take(p + 1);
      if (p >= w) take(p - w);
      if (p + w < h * w) take(p + w);
    }
  }
  return objects;
}

/// One object in the middle of a square, for networks that learn shapes before scenes: H. Noh, S. Hong, B. Han, "Learning deconvolution
/// network for semantic segmentation", arXiv:1505.04366, section 4.2, first stage. The square is `margin` times as large as the object's
/// box is long, and resized to `side` pixels. Other classes than the object's become class 0, the background; ignored labels stay, and what
/// lies outside of the sample is `colour`, ignored and instance 0. @param object a number that is in `sample.instance`
/// @throws ValueError: no such object
[[nodiscard]] inline Sample object_crop(const Sample& sample, std::int32_t object, index_t side, std::int32_t ignore_index,
                                        const Rgb& colour, double margin = 1.2) {
  const auto boxes = sample.instance ? object_boxes(sample.instance) : std::map<std::int32_t, Box>();
  const auto found = boxes.find(object);
  if (found == boxes.end()) throw ValueError("data::object_crop", "object", concat("one of ", boxes.size(), " objects"), concat(object));
  const Box& box = found->second;
  const index_t height = box.bottom - box.top + 1, width = box.right - box.left + 1;
  const auto size = static_cast<index_t>(std::lround(margin * static_cast<double>(std::max(height, width))));
  const index_t top = (box.top + box.bottom + 1 - size) / 2, left = (box.left + box.right + 1 - size) / 2;
  Sample result = cropped(sample, top, left, size, size, ignore_index, colour);
  std::int32_t own = ignore_index;
  for (index_t p = 0; p < result.label.numel() && own == ignore_index; ++p)
    if (result.instance.data()[p] == object) own = result.label.data()[p];
  for (index_t p = 0; p < result.label.numel(); ++p)
    if (std::int32_t& label = result.label.data()[p]; label != own && label != ignore_index) label = 0;
  return resized(result, side, side);
}

}  // namespace segnet::data
