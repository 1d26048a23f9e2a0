// Geometry of training samples: labels and instances go where their pixels go.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "segnet/data/sample.hpp"

namespace segnet::data {

/// Left becomes right.
[[nodiscard]] inline Sample flipped(const Sample& sample) {
  const auto flip = [](const auto& map) {
    auto y = map;
    if (!map) return y;
    y = map.clone();
    const index_t height = map.dim(0), width = map.dim(1), channels = map.numel() / std::max<index_t>(height * width, 1);
    for (index_t i = 0; i < height * width; ++i)
      std::copy_n(map.data() + (i / width * width + width - 1 - i % width) * channels, channels, y.data() + i * channels);
    return y;
  };
  return {flip(sample.image), flip(sample.label), flip(sample.instance), sample.name};
}

/// To height x width: the image bilinearly, labels and instances by the nearest pixel. Pixel centres are at half numbers
/// (align_corners = false), nothing is smoothed before it is made smaller. @throws ValueError for an empty size
[[nodiscard]] inline Sample resized(const Sample& sample, index_t height, index_t width) {
  const index_t h = sample.image.dim(0), w = sample.image.dim(1);
  if (height < 1 || width < 1 || h < 1 || w < 1)
    throw ValueError("data::resized", "size", "at least 1 x 1 pixels", concat(h, " x ", w, " to ", height, " x ", width));
  struct Tap {
    index_t low, high, nearest;
    float share;  // of high
  };
  const auto taps = [](index_t from, index_t to) {
    std::vector<Tap> all(static_cast<std::size_t>(to));
    const double step = static_cast<double>(from) / static_cast<double>(to);
    for (index_t i = 0; i < to; ++i) {
      const double centre = (static_cast<double>(i) + 0.5) * step, x = std::clamp(centre - 0.5, 0.0, static_cast<double>(from - 1));
      const auto low = static_cast<index_t>(x);
      all[static_cast<std::size_t>(i)] = {low, std::min(low + 1, from - 1), std::min(static_cast<index_t>(centre), from - 1),
                                          static_cast<float>(x - static_cast<double>(low))};
    }
    return all;
  };
  const std::vector<Tap> rows = taps(h, height), columns = taps(w, width);
  Sample result{Tensor<std::uint8_t>({height, width, 3}), {}, {}, sample.name};
  std::uint8_t* out = result.image.data();
  for (const Tap& y : rows) {
    const std::uint8_t *upper = sample.image.data() + y.low * w * 3, *lower = sample.image.data() + y.high * w * 3;
    for (const Tap& x : columns)
      for (index_t c = 0; c < 3; ++c) {
        const float a = upper[x.low * 3 + c], b = upper[x.high * 3 + c], d = lower[x.low * 3 + c], e = lower[x.high * 3 + c];
        const float top = a + x.share * (b - a), bottom = d + x.share * (e - d);
        *out++ = static_cast<std::uint8_t>(top + y.share * (bottom - top) + 0.5f);
      }
  }
  const auto nearest = [&](const Tensor<std::int32_t>& map) {
    if (!map) return Tensor<std::int32_t>();
    Tensor<std::int32_t> y({height, width});
    std::int32_t* to = y.data();
    for (const Tap& row : rows)
      for (const Tap& column : columns) *to++ = map.data()[row.nearest * w + column.nearest];
    return y;
  };
  result.label = nearest(sample.label);
  result.instance = nearest(sample.instance);
  return result;
}

/// The part of height x width pixels whose upper left corner is pixel (top, left). Outside of the sample it is `colour`, labels are
/// `ignore_index`, instances 0; top and left may be negative.
[[nodiscard]] inline Sample cropped(const Sample& sample, index_t top, index_t left, index_t height, index_t width,
                                    std::int32_t ignore_index, const Rgb& colour) {
  const index_t h = sample.image.dim(0), w = sample.image.dim(1);
  const index_t x0 = std::clamp<index_t>(-left, 0, width), x1 = std::clamp<index_t>(w - left, x0, width);  // columns that lie in the sample
  const auto copy = [&](const auto& map, auto& y, index_t channels) {
    for (index_t row = std::max<index_t>(0, -top); row < std::min(height, h - top); ++row)
      std::copy_n(map.data() + ((top + row) * w + left + x0) * channels, (x1 - x0) * channels, y.data() + (row * width + x0) * channels);
  };
  Sample result{Tensor<std::uint8_t>({height, width, 3}), {}, {}, sample.name};
  for (index_t i = 0; i < height * width; ++i) std::copy_n(colour.data(), 3, result.image.data() + 3 * i);
  copy(sample.image, result.image, 3);
  if (sample.label) {
    result.label = full<std::int32_t>({height, width}, ignore_index);
    copy(sample.label, result.label, 1);
  }
  if (sample.instance) {
    result.instance = zeros<std::int32_t>({height, width});
    copy(sample.instance, result.instance, 1);
  }
  return result;
}

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
