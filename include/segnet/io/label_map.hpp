// Label maps: PNG files whose pixels are class ids. Their palette is for the eye; the index counts.
#pragma once

#include <optional>

#include "segnet/core/tensor.hpp"
#include "segnet/io/file.hpp"
#include "segnet/io/image.hpp"
#include "segnet/io/palette.hpp"
#include "segnet/io/png.hpp"

namespace segnet {

namespace detail {
inline PngPixels read_png_labels(const std::string& path, PngAs as, const ImageLimits& limits) {
  const std::string file = read_file(path, limits.max_bytes);
  const std::string_view format = file_format(file);
  if (format == "PNG") return decode_png(path, file, as, limits);
  if (file.empty()) throw IoError(path, "is empty, not a label map");
  throw IoError(path, concat(format.empty() ? std::string("is not a PNG file") : concat("is a ", format, " file"),
                             ": label maps are PNG, which keeps every value as it is"));
}
}  // namespace detail

/// Class ids [H, W] of a PNG label map: the indices of a palette file, the values of a grey one (1 to 16 bits).
/// @throws IoError naming the file and the reason, also for RGB files: see `read_colour_labels`
[[nodiscard]] inline Tensor<std::int32_t> read_label_map(const std::string& path, const ImageLimits& limits = {}) {
  const detail::PngPixels png = detail::read_png_labels(path, detail::PngAs::values, limits);
  if (png.channels != 1)
    throw IoError(path, "is an RGB picture, not a map of class ids: read it by read_colour_labels with the palette it was painted with");
  Tensor<std::int32_t> labels({png.height, png.width});
  for (index_t i = 0; i < labels.numel(); ++i) {
    if (png.sample_bytes == 1) {
      labels.data()[i] = png.bytes[static_cast<std::size_t>(i)];
    } else {
      std::uint16_t value;
      std::memcpy(&value, png.bytes.data() + 2 * i, 2);
      labels.data()[i] = value;
    }
  }
  return labels;
}

/// Class ids [H, W] of a label map that was painted in colours: the id of a pixel is the position of its colour in `palette`. A
/// colour that is not there becomes `other`; without `other` it is an error.
/// @throws IoError naming the file and the reason
[[nodiscard]] inline Tensor<std::int32_t> read_colour_labels(const std::string& path, const Palette& palette,
                                                             std::optional<std::int32_t> other = {}, const ImageLimits& limits = {}) {
  const detail::PngPixels png = detail::read_png_labels(path, detail::PngAs::rgb, limits);
  Tensor<std::int32_t> labels({png.height, png.width});
  std::size_t id = 0;  // neighbours mostly have the same colour
  for (index_t i = 0; i < labels.numel(); ++i) {
    const std::uint8_t* p = png.bytes.data() + 3 * i;
    const Rgb colour{p[0], p[1], p[2]};
    if (id >= palette.size() || palette[id] != colour)
      id = static_cast<std::size_t>(std::find(palette.begin(), palette.end(), colour) - palette.begin());
    if (id == palette.size() && !other)
      throw IoError(path, concat("the colour (", int{p[0]}, ", ", int{p[1]}, ", ", int{p[2]}, ") at row ", i / png.width, ", column ",
                                 i % png.width, " is not in the palette of ", palette.size(), " colours"));
    labels.data()[i] = id < palette.size() ? static_cast<std::int32_t>(id) : *other;
  }
  return labels;
}

/// Writes class ids [H, W] as PNG, at once or not at all: with a palette as an indexed file of ids 0 to 255 (ids behind the palette's
/// end are shown black), without one as a grey file of 8 bits, or of 16 where an id is above 255.
/// @throws ShapeError, ValueError naming the first pixel whose id does not fit, IoError
inline void write_label_map(const std::string& path, const Tensor<std::int32_t>& labels, const Palette& palette = {}) {
  if (labels.rank() != 2 || labels.numel() == 0) throw ShapeError("write_label_map", "labels", "[H, W], not empty", labels.shape());
  if (palette.size() > 256) throw ValueError("write_label_map", "palette", "at most 256 colours", concat(palette.size()));
  const std::int32_t most = palette.empty() ? 65535 : 255;
  std::int32_t largest = 0;
  for (index_t i = 0; i < labels.numel(); ++i) {
    const std::int32_t id = labels.data()[i];
    if (id < 0 || id > most)
      throw ValueError("write_label_map", "labels", concat("ids from 0 to ", most),
                       concat(id, " at row ", i / labels.dim(1), ", column ", i % labels.dim(1)));
    largest = std::max(largest, id);
  }
  const bool wide = largest > 255;
  std::vector<std::uint8_t> bytes;
  bytes.reserve(static_cast<std::size_t>(labels.numel()) * (wide ? 2 : 1));
  for (index_t i = 0; i < labels.numel(); ++i) {
    if (wide) bytes.push_back(static_cast<std::uint8_t>(labels.data()[i] >> 8));
    bytes.push_back(static_cast<std::uint8_t>(labels.data()[i]));
  }
  Palette colours = palette;
  if (!palette.empty()) colours.resize(std::max(palette.size(), static_cast<std::size_t>(largest) + 1));
  write_file_atomically(
      path, detail::encode_png(path, {labels.dim(0), labels.dim(1), palette.empty() ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_PALETTE,
                                      wide ? 16 : 8, bytes.data(), palette.empty() ? nullptr : &colours}));
}

}  // namespace segnet
