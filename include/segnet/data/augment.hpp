// Random changes of a training sample: scale, rotation, bending, crop, flip, colours, blur. Labels and instances always go where their
// pixels go.
//
// The steps and their order are those of the field: scale, rotate, crop, flip, photometric, normalise.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "segnet/core/random.hpp"
#include "segnet/data/border_weights.hpp"
#include "segnet/data/elastic.hpp"
#include "segnet/data/objects.hpp"

namespace segnet::data {

/// Mean and standard deviation of each channel, in levels of 255.
struct Normalization {
  std::array<float, 3> mean{123.675f, 116.28f, 103.53f};  ///< of ImageNet, red green blue
  std::array<float, 3> std{58.395f, 57.12f, 57.375f};
  friend bool operator==(const Normalization&, const Normalization&) = default;
};

/// (image - mean) / std. @param image [H, W, 3] in [0, 255]   @return [H, W, 3]   @throws ShapeError
[[nodiscard]] inline Tensor<float> normalized(const Tensor<std::uint8_t>& image, const Normalization& normalization = {}) {
  if (image.rank() != 3 || image.dim(2) != 3) throw ShapeError("data::normalized", "image", "[H, W, 3]", image.shape());
  Tensor<float> y(image.shape());
  for (index_t i = 0; i < image.numel(); ++i) {
    const auto c = static_cast<std::size_t>(i % 3);
    y.data()[i] = (static_cast<float>(image.data()[i]) - normalization.mean[c]) / normalization.std[c];
  }
  return y;
}

/// How far colours may change; 0 leaves them alone.
struct ColourJitter {
  float brightness = 0;  ///< levels of 255 added, at most, either way; the field uses 32
  float contrast = 0;    ///< factor in [1 - contrast, 1 + contrast]; 0.5
  float saturation = 0;  ///< factor in [1 - saturation, 1 + saturation]; 0.5
  float hue = 0;         ///< degrees turned, at most, either way; 36

  /// The values of the field's photometric distortion (SSD, arXiv:1512.02325), times `strength`.
  [[nodiscard]] static ColourJitter usual(float strength = 1) { return {32 * strength, 0.5f * strength, 0.5f * strength, 36 * strength}; }
};

/// Each change with probability 1/2, in the order brightness, contrast, saturation, hue, with contrast last instead of second every
/// other time; levels are cut to [0, 255] after each. The image is changed in place.
inline void jitter_colours(const Tensor<std::uint8_t>& image, const ColourJitter& jitter, Generator& random) {
  const auto change = [&](float most) {  // 0 when it is not this one's turn; two numbers are drawn in any case
    const bool now = random.uniform() < 0.5;
    const auto amount = static_cast<float>(random.uniform(-most, most));
    return now ? amount : 0;
  };
  const bool contrast_last = random.uniform() < 0.5;
  const float brightness = change(jitter.brightness), contrast = 1 + change(jitter.contrast), saturation = 1 + change(jitter.saturation);
  const float turn = change(jitter.hue) / 60;  // in sixths
  const auto cut = [](float level) { return std::clamp(level, 0.0f, 255.0f); };
  const index_t pixels = image.numel() / 3;
  std::uint8_t* p = image.data();
  for (index_t i = 0; i < pixels; ++i, p += 3) {
    float c[3];
    for (int k = 0; k < 3; ++k) {
      c[k] = cut(p[k] + brightness);
      if (!contrast_last) c[k] = cut(c[k] * contrast);
    }
    if (saturation != 1 || turn != 0) {
      const float value = std::max({c[0], c[1], c[2]}), least = std::min({c[0], c[1], c[2]}), chroma = value - least;
      if (chroma > 0) {
        float hue = c[0] == value ? (c[1] - c[2]) / chroma : c[1] == value ? 2 + (c[2] - c[0]) / chroma : 4 + (c[0] - c[1]) / chroma;
        hue += turn + 6;
        const float new_chroma = std::min(chroma * saturation, value);  // saturation = chroma / value, at most 1
        for (int k = 0; k < 3; ++k) {
          const float position = std::fmod(hue + static_cast<float>(k == 0 ? 5 : k == 1 ? 3 : 1), 6.0f);
          c[k] = value - new_chroma * std::clamp(std::min(position, 4 - position), 0.0f, 1.0f);
        }
      }
    }
    for (int k = 0; k < 3; ++k) p[k] = static_cast<std::uint8_t>((contrast_last ? cut(c[k] * contrast) : c[k]) + 0.5f);
  }
}

/// Convolved with a Gaussian of standard deviation `sigma` pixels, cut off behind 3 sigma; the border repeats its pixels.
/// @param image [H, W, 3]   @throws ValueError: sigma is negative or no number
[[nodiscard]] inline Tensor<std::uint8_t> blurred(const Tensor<std::uint8_t>& image, double sigma) {
  if (!(sigma >= 0)) throw ValueError("data::blurred", "sigma", "at least 0 pixels", concat(sigma));
  const auto radius = static_cast<index_t>(std::ceil(3 * sigma));
  std::vector<float> kernel;
  double sum = 0;
  const auto bell = [&](index_t d) { return sigma > 0 ? std::exp(-static_cast<double>(d * d) / (2 * sigma * sigma)) : 1.0; };
  for (index_t d = -radius; d <= radius; ++d) sum += bell(d);
  for (index_t d = -radius; d <= radius; ++d) kernel.push_back(static_cast<float>(bell(d) / sum));
  const index_t h = image.dim(0), w = image.dim(1);
  std::vector<float> rows(static_cast<std::size_t>(h * w * 3));                           // blurred along them
  const auto along = [&](const auto* from, index_t at, index_t length, index_t stride) {  // around element `at` of a line
    float value = 0;
    for (index_t d = -radius; d <= radius; ++d)
      value += kernel[static_cast<std::size_t>(d + radius)] * static_cast<float>(from[std::clamp<index_t>(at + d, 0, length - 1) * stride]);
    return value;
  };
  Tensor<std::uint8_t> result(image.shape());
  for (index_t i = 0; i < h * w * 3; ++i)
    rows[static_cast<std::size_t>(i)] = along(image.data() + i / (3 * w) * 3 * w + i % 3, i / 3 % w, w, 3);
  for (index_t i = 0; i < h * w * 3; ++i)
    result.data()[i] = static_cast<std::uint8_t>(along(rows.data() + i % (3 * w), i / (3 * w), h, 3 * w) + 0.5f);
  return result;
}

/// What happens to a training sample, in this order. The default only normalises.
struct Augmentation {
  index_t object = 0;                       ///< pixels, side of the square around one of its objects (`object_crop`); 0: all of it
  double min_scale = 1, max_scale = 1;      ///< factor of height and width, uniform between; the field uses 0.5 to 2
  double rotation = 0;                      ///< degrees, at most, either way, uniform; the size stays, corners are padding
  double elastic = 0;                       ///< pixels, standard deviation of vectors on a 3 x 3 grid that bend it; U-Net: 10
  index_t crop_height = 0, crop_width = 0;  ///< 0: no crop
  bool pad = true;                          ///< a crop may be larger than the image: mean colour, ignored label, image anywhere within
  double flip = 0;                          ///< probability of left-right
  ColourJitter colours = {};
  double blur = 0;          ///< probability of a Gaussian blur
  double blur_sigma = 1.1;  ///< its standard deviation in pixels
  Normalization normalization = {};
  std::int32_t ignore_index = 255;           ///< label of padding
  std::optional<BorderWeights> border = {};  ///< weights of pixels wanted; objects are the instances, else `connected_objects`
};

/// A sample as networks take it.
struct Example {
  Tensor<float> image;            ///< [H, W, 3], normalised
  Tensor<std::int32_t> label;     ///< [H, W]
  Tensor<std::int32_t> instance;  ///< [H, W] or undefined
  Tensor<float> weight;           ///< [H, W] of the loss, or undefined
  std::string name;
};

/// `sample` changed at random: as many numbers are drawn from `random` for every sample, whatever its size.
/// @throws ValueError naming both sizes when a crop is larger than the (scaled) image and `pad` is off
[[nodiscard]] inline Example augmented(Sample sample, const Augmentation& augmentation, Generator& random) {
  const Augmentation& a = augmentation;
  const double scale = random.uniform(a.min_scale, a.max_scale), down = random.uniform(), right = random.uniform();
  const bool flip = random.uniform() < a.flip;
  const double degrees = a.rotation > 0 ? random.uniform(-a.rotation, a.rotation) : 0;
  const bool blur = a.blur > 0 && random.uniform() < a.blur;
  const Tensor<double> vectors = a.elastic > 0 ? random_normal<double>({3, 3, 2}, random, 0, a.elastic) : Tensor<double>();
  const double which = a.object > 0 ? random.uniform() : 0;
  Rgb mean;
  for (std::size_t c = 0; c < 3; ++c) mean[c] = static_cast<std::uint8_t>(std::clamp(a.normalization.mean[c] + 0.5f, 0.0f, 255.0f));
  if (a.object > 0) {
    const auto boxes = sample.instance ? object_boxes(sample.instance) : std::map<std::int32_t, Box>();
    const auto chosen = std::next(boxes.begin(), static_cast<std::ptrdiff_t>(which * static_cast<double>(boxes.size())));
    sample = boxes.empty() ? resized(sample, a.object, a.object) : object_crop(sample, chosen->first, a.object, a.ignore_index, mean);
  }
  if (scale != 1) {
    const auto times = [&](index_t n) { return std::max<index_t>(1, static_cast<index_t>(std::lround(scale * static_cast<double>(n)))); };
    sample = resized(sample, times(sample.image.dim(0)), times(sample.image.dim(1)));
  }
  if (degrees != 0) sample = rotated(sample, degrees, a.ignore_index, mean);
  if (vectors) sample = deformed(sample, vectors, a.ignore_index, mean);
  if (a.crop_height > 0 || a.crop_width > 0) {
    const index_t h = sample.image.dim(0), w = sample.image.dim(1);
    const index_t height = a.crop_height > 0 ? a.crop_height : h, width = a.crop_width > 0 ? a.crop_width : w;
    if (!a.pad && (height > h || width > w))
      throw ValueError("data::augmented", "crop", concat("at most the image, ", h, " x ", w, " (height x width), without padding"),
                       concat(height, " x ", width));
    const auto offset = [](double u, index_t room) {  // uniform in 0 ... room, or room ... 0 when the image lies within the crop
      return room >= 0 ? static_cast<index_t>(u * static_cast<double>(room + 1)) : -static_cast<index_t>(u * static_cast<double>(1 - room));
    };
    sample = cropped(sample, offset(down, h - height), offset(right, w - width), height, width, a.ignore_index, mean);
  }
  if (flip) sample = flipped(sample);
  if (a.colours.brightness != 0 || a.colours.contrast != 0 || a.colours.saturation != 0 || a.colours.hue != 0) {
    sample.image = sample.image.clone();  // somebody else may hold it
    jitter_colours(sample.image, a.colours, random);
  }
  if (blur) sample.image = blurred(sample.image, a.blur_sigma);
  Tensor<float> weight;
  if (a.border) {
    const auto objects = sample.instance ? sample.instance : connected_objects(sample.label, a.ignore_index);
    weight = border_weights(sample.label, objects, a.ignore_index, *a.border);
  }
  return {normalized(sample.image, a.normalization), sample.label, sample.instance, weight, sample.name};
}

}  // namespace segnet::data
