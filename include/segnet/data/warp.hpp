// A training sample turned or bent: every pixel of the result is looked up somewhere in the sample.
#pragma once

#include <algorithm>
#include <cmath>

#include "segnet/data/sample.hpp"

namespace segnet::data {

/// A place in a picture, in pixels: (0, 0) is the centre of its first one.
struct Place {
  double row, column;
};

/// The sample with, at each pixel (row, column), what lies at `place(row, column)`: the image bilinearly, labels and instances of the
/// pixel that the place is in. Places outside of the sample have `colour`, the label `ignore_index`, the instance 0.
template <class F>
[[nodiscard]] Sample warped(const Sample& sample, const F& place, std::int32_t ignore_index, const Rgb& colour) {
  const index_t h = sample.image.dim(0), w = sample.image.dim(1);
  const std::uint8_t* in = sample.image.data();
  Sample result{Tensor<std::uint8_t>({h, w, 3}), {}, {}, sample.name};
  if (sample.label) result.label = full<std::int32_t>({h, w}, ignore_index);
  if (sample.instance) result.instance = zeros<std::int32_t>({h, w});
  const auto height = static_cast<double>(h), width = static_cast<double>(w);
  for (index_t i = 0; i < h * w; ++i) {
    std::uint8_t* to = result.image.data() + 3 * i;
    const Place at = place(i / w, i % w);
    if (!(at.row >= -0.5 && at.row < height - 0.5 && at.column >= -0.5 && at.column < width - 0.5)) {
      std::copy_n(colour.data(), 3, to);
      continue;
    }
    const index_t nearest = static_cast<index_t>(at.row + 0.5) * w + static_cast<index_t>(at.column + 0.5);
    if (sample.label) result.label.data()[i] = sample.label.data()[nearest];
    if (sample.instance) result.instance.data()[i] = sample.instance.data()[nearest];
    const double y = std::clamp(at.row, 0.0, height - 1), x = std::clamp(at.column, 0.0, width - 1);
    const auto top = static_cast<index_t>(y), left = static_cast<index_t>(x);
    const index_t down = top + 1 < h ? 3 * w : 0, right = left + 1 < w ? 3 : 0;
    const auto v = static_cast<float>(y - static_cast<double>(top)), u = static_cast<float>(x - static_cast<double>(left));
    const std::uint8_t* from = in + 3 * (top * w + left);
    for (index_t c = 0; c < 3; ++c) {
      const float a = from[c], b = from[c + right], d = from[c + down], e = from[c + down + right];
      const float upper = a + u * (b - a), lower = d + u * (e - d);
      to[c] = static_cast<std::uint8_t>(upper + v * (lower - upper) + 0.5f);
    }
  }
  return result;
}

/// Turned about its centre by `degrees`, counter-clockwise, its size as before.
[[nodiscard]] inline Sample rotated(const Sample& sample, double degrees, std::int32_t ignore_index, const Rgb& colour) {
  const double angle = degrees * (3.141592653589793 / 180), c = std::cos(angle), s = std::sin(angle);
  const double middle_row = static_cast<double>(sample.image.dim(0) - 1) / 2,
               middle_column = static_cast<double>(sample.image.dim(1) - 1) / 2;
  const auto place = [=](index_t row, index_t column) {
    const double y = static_cast<double>(row) - middle_row, x = static_cast<double>(column) - middle_column;
    return Place{middle_row + s * x + c * y, middle_column + c * x - s * y};
  };
  return warped(sample, place, ignore_index, colour);
}

}  // namespace segnet::data
