// Label maps and probabilities as pictures: [H, W, 3], eight bits, red green blue.
//
// A pixel is *unlabelled* where its label is `ignore_index` or has no colour in the palette (negative labels, 255 for void).
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <vector>

#include "segnet/core/tensor.hpp"
#include "segnet/io/palette.hpp"

namespace segnet::report {

using Image = Tensor<std::uint8_t, Cpu>;  ///< [H, W, 3]

namespace detail {

inline void check_image(const char* op, const char* argument, const Image& image) {
  if (image.rank() != 3 || image.dim(2) != 3) throw ShapeError(op, argument, "[H, W, 3]", image.shape());
}

/// Diagonal stripes of two greys, four pixels wide: no class colour looks like it, on any background.
inline Rgb hatch(index_t y, index_t x) {
  const std::uint8_t grey = (y + x) / 4 % 2 ? 160 : 112;
  return {grey, grey, grey};
}

template <std::integral L>
bool labelled(L label, const Palette& palette, index_t ignore_index) {
  const auto k = static_cast<index_t>(label);
  return k != ignore_index && k >= 0 && k < static_cast<index_t>(palette.size());
}

/// a + t * (b - a), rounded, per channel; t in [0, 1].
inline Rgb mix(const Rgb& a, const Rgb& b, double t) {
  Rgb c;
  for (std::size_t i = 0; i < 3; ++i) c[i] = static_cast<std::uint8_t>(a[i] + t * (b[i] - a[i]) + 0.5);
  return c;
}

/// The colour a region is outlined with: halfway to black for a light class colour, halfway to white for a dark one.
inline Rgb outline(const Rgb& c) {
  const bool light = 299 * c[0] + 587 * c[1] + 114 * c[2] >= 128 * 1000;  // luma of ITU-R BT.601
  return mix(c, light ? Rgb{0, 0, 0} : Rgb{255, 255, 255}, 0.5);
}

/// An image whose pixel at (y, x) is f(y, x).
template <class F>
Image draw(index_t height, index_t width, const F& f) {
  Image image({height, width, 3});
  std::uint8_t* out = image.data();
  for (index_t y = 0; y < height; ++y)
    for (index_t x = 0; x < width; ++x, out += 3) {
      const Rgb c = f(y, x);
      std::copy(c.begin(), c.end(), out);
    }
  return image;
}

}  // namespace detail

/// Every pixel in the colour of its class; unlabelled pixels in a hatch of two greys, which no class colour looks like.
/// @param labels [H, W]   @return [H, W, 3]   @throws ShapeError
template <std::integral L>
[[nodiscard]] Image colourise(const Tensor<L, Cpu>& labels, const Palette& palette, index_t ignore_index = -100) {
  if (labels.rank() != 2) throw ShapeError("colourise", "labels", "[H, W]", labels.shape());
  return detail::draw(labels.dim(0), labels.dim(1), [&](index_t y, index_t x) {
    const L label = labels.data()[y * labels.dim(1) + x];
    return detail::labelled(label, palette, ignore_index) ? palette[static_cast<std::size_t>(label)] : detail::hatch(y, x);
  });
}

struct OverlayOptions {
  double alpha = 0.5;           ///< 0 shows the image alone, 1 the class colours alone
  bool contour = true;          ///< outlines every region, one pixel wide on each side of a border
  index_t ignore_index = -100;  ///< a label to leave out, though it has a colour
};

/// The image tinted with the colours of its labels: image + alpha * (colour - image). Unlabelled pixels keep the image.
/// A pixel beside one of another label (up, down, left or right) is drawn opaque, in its class colour moved halfway to black
/// where that is light and halfway to white where it is dark, so that regions of like colours can be told apart.
/// @param image [H, W, 3]   @param labels [H, W]   @return [H, W, 3]   @throws ShapeError, ValueError: alpha not in [0, 1]
template <std::integral L>
[[nodiscard]] Image overlay(const Image& image, const Tensor<L, Cpu>& labels, const Palette& palette, const OverlayOptions& options = {}) {
  detail::check_image("overlay", "image", image);
  const index_t height = image.dim(0), width = image.dim(1);
  if (labels.shape() != Shape{height, width}) throw ShapeError("overlay", "labels", concat(Shape{height, width}), labels.shape());
  if (!(options.alpha >= 0 && options.alpha <= 1)) throw ValueError("overlay", "alpha", "a number in [0, 1]", concat(options.alpha));
  const L* label = labels.data();
  return detail::draw(height, width, [&](index_t y, index_t x) {
    const index_t i = y * width + x;
    const Rgb pixel{image.data()[3 * i], image.data()[3 * i + 1], image.data()[3 * i + 2]};
    if (!detail::labelled(label[i], palette, options.ignore_index)) return pixel;
    const Rgb& colour = palette[static_cast<std::size_t>(label[i])];
    const bool border = (x > 0 && label[i - 1] != label[i]) || (x + 1 < width && label[i + 1] != label[i]) ||
                        (y > 0 && label[i - width] != label[i]) || (y + 1 < height && label[i + width] != label[i]);
    return options.contour && border ? detail::outline(colour) : detail::mix(pixel, colour, options.alpha);
  });
}

/// Where a prediction is wrong: red there, light grey where it is right, hatched where the target is `ignore_index` or negative.
/// @param target [H, W]   @param prediction [H, W]   @return [H, W, 3]   @throws ShapeError
template <std::integral L, std::integral M>
[[nodiscard]] Image error_map(const Tensor<L, Cpu>& target, const Tensor<M, Cpu>& prediction, index_t ignore_index = 255) {
  if (target.rank() != 2) throw ShapeError("error_map", "target", "[H, W]", target.shape());
  if (prediction.shape() != target.shape()) throw ShapeError("error_map", "prediction", concat(target.shape()), prediction.shape());
  return detail::draw(target.dim(0), target.dim(1), [&](index_t y, index_t x) {
    const index_t i = y * target.dim(1) + x, expected = static_cast<index_t>(target.data()[i]);
    if (expected == ignore_index || expected < 0) return detail::hatch(y, x);
    return expected == static_cast<index_t>(prediction.data()[i]) ? Rgb{222, 222, 222} : Rgb{214, 40, 40};
  });
}

/// The colour of t in [0, 1] on a scale from dark violet over teal to yellow, evenly rising in lightness (viridis, of which
/// every eighth of the way is tabled and the rest interpolated). Outside [0, 1] the end's colour.
[[nodiscard]] inline Rgb viridis(double t) {
  static constexpr Rgb table[] = {{68, 1, 84},    {71, 44, 122}, {59, 81, 139},  {44, 113, 142}, {33, 144, 141},
                                  {39, 173, 129}, {92, 200, 99}, {170, 220, 50}, {253, 231, 37}};
  const double position = 8 * std::clamp(t, 0.0, 1.0);
  const int cell = std::min(7, static_cast<int>(position));
  return detail::mix(table[cell], table[cell + 1], position - cell);
}

/// Probabilities, or anything else in [low, high], as colours: `viridis((x - low) / (high - low))`. NaN is hatched.
/// @param x [H, W]   @return [H, W, 3]   @throws ShapeError, ValueError: not low < high
template <std::floating_point T>
[[nodiscard]] Image heat_map(const Tensor<T, Cpu>& x, double low = 0, double high = 1) {
  if (x.rank() != 2) throw ShapeError("heat_map", "x", "[H, W]", x.shape());
  if (!(low < high)) throw ValueError("heat_map", "low", concat("less than high = ", high), concat(low));
  return detail::draw(x.dim(0), x.dim(1), [&](index_t i, index_t j) {
    const double value = static_cast<double>(x.data()[i * x.dim(1) + j]);
    return std::isnan(value) ? detail::hatch(i, j) : viridis((value - low) / (high - low));
  });
}

/// Rows of images on one sheet. A column is as wide as its widest image and a row as high as its highest; images lie in the upper
/// left corner of their cell, undefined ones leave it empty, and rows may differ in length. No image at all: [0, 0, 3].
/// @param gap pixels between cells   @throws ShapeError, ValueError: negative gap
[[nodiscard]] inline Image contact_sheet(const std::vector<std::vector<Image>>& rows, index_t gap = 4,
                                         const Rgb& background = {255, 255, 255}) {
  if (gap < 0) throw ValueError("contact_sheet", "gap", "at least 0", concat(gap));
  std::vector<index_t> widths, heights;
  for (const auto& row : rows) {
    heights.push_back(0);
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (std::size_t j = 0; j < row.size(); ++j) {
      if (!row[j]) continue;
      detail::check_image("contact_sheet", "rows", row[j]);
      heights.back() = std::max(heights.back(), row[j].dim(0));
      widths[j] = std::max(widths[j], row[j].dim(1));
    }
  }
  const auto extent = [gap](const std::vector<index_t>& sizes) {
    index_t sum = sizes.empty() ? 0 : gap * static_cast<index_t>(sizes.size() - 1);
    for (const index_t size : sizes) sum += size;
    return sum;
  };
  Image sheet = detail::draw(extent(heights), extent(widths), [&](index_t, index_t) { return background; });
  index_t top = 0;
  for (std::size_t i = 0; i < rows.size(); top += heights[i++] + gap) {
    index_t left = 0;
    for (std::size_t j = 0; j < rows[i].size(); left += widths[j++] + gap) {
      if (!rows[i][j]) continue;
      const Image& image = rows[i][j];
      for (index_t y = 0; y < image.dim(0); ++y)
        std::copy_n(image.data() + y * image.dim(1) * 3, image.dim(1) * 3, sheet.data() + ((top + y) * sheet.dim(1) + left) * 3);
    }
  }
  return sheet;
}

/// Images side by side, aligned at the top: a contact sheet of one row.
[[nodiscard]] inline Image beside(const std::vector<Image>& images, index_t gap = 4, const Rgb& background = {255, 255, 255}) {
  return contact_sheet({images}, gap, background);
}

}  // namespace segnet::report
