// Image files: PNG, JPEG and BMP in, PNG out. PNG goes through libpng (link with -lpng), JPEG and BMP through stb_image.
#pragma once

#include <algorithm>

#include "segnet/core/tensor.hpp"
#include "segnet/io/file.hpp"
#include "segnet/io/png.hpp"
#include "segnet/io/stb_image.hpp"

namespace segnet {

namespace detail {

/// What a file is, by its first bytes: "PNG", "JPEG", ..., or "" when they say nothing.
inline std::string_view file_format(std::string_view file) {
  struct Magic {
    std::size_t position;
    std::string_view bytes, name;
  };
  using namespace std::string_view_literals;
  static constexpr Magic known[] = {
      {0, "\x89PNG\r\n\x1a\n"sv, "PNG"},
      {0, "\xff\xd8\xff"sv, "JPEG"},
      {0, "BM"sv, "BMP"},
      {0, "GIF8"sv, "GIF"},
      {0, "II*\0"sv, "TIFF"},
      {0, "MM\0*"sv, "TIFF"},
      {8, "WEBP"sv, "WebP"},
      {4, "ftypavif"sv, "AVIF"},
      {4, "ftyp"sv, "HEIF or MP4"},
      {0, "\0\0\0\x0cjP  "sv, "JPEG 2000"},
      {0, "\xff\x0a"sv, "JPEG XL"},
      {0, "8BPS"sv, "Photoshop"},
      {0, "#?RADIANCE"sv, "Radiance HDR"},
      {0, "v/1\x01"sv, "OpenEXR"},
      {0, "qoif"sv, "QOI"},
      {0, "P5\n"sv, "PGM"},
      {0, "P6\n"sv, "PPM"},
      {0, "\x93NUMPY"sv, "NumPy"},
      {0, "MATLAB"sv, "MATLAB"},
      {0, "\x89HDF"sv, "HDF5"},
      {0, "%PDF"sv, "PDF"},
      {0, "PK\x03\x04"sv, "zip"},
      {0, "\x1f\x8b"sv, "gzip"},
      {0, "version https://git-lfs"sv, "Git LFS pointer"},
  };
  for (const Magic& m : known)
    if (file.size() >= m.position && file.substr(m.position, m.bytes.size()) == m.bytes) return m.name;
  return {};
}

inline unsigned byte_at(std::string_view file, std::size_t i) { return static_cast<std::uint8_t>(file[i]); }

/// What is wrong with the markers of a JPEG file, or "". stb_image fills in grey where a file ends too early, and trusts the counts
/// of a Huffman table.
inline std::string_view jpeg_fault(std::string_view file) {
  std::size_t i = 2;
  while (i + 1 < file.size()) {
    if (byte_at(file, i) != 0xff || byte_at(file, i + 1) == 0xff) {  // pixels, or padding before a marker
      ++i;
      continue;
    }
    const unsigned marker = byte_at(file, i + 1);
    i += 2;
    if (marker == 0xd9) return {};                                                   // end of image
    if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // 255 among the pixels; nothing follows these
    if (i + 1 >= file.size()) break;
    const std::size_t end = i + (byte_at(file, i) << 8 | byte_at(file, i + 1));
    if (marker == 0xc4) {
      for (std::size_t table = i + 2; table < end;) {
        if (table + 17 > file.size()) return "it ends too early";
        std::size_t codes = 0;
        for (std::size_t length = 1; length <= 16; ++length) codes += byte_at(file, table + length);
        table += 17 + codes;
        if (codes > 256 || table > end) return "a Huffman table of too many codes";
      }
    }
    i = end;
  }
  return "it ends too early";
}

/// Whether a BMP file is as long as its header says; stb_image reads zeros behind the end.
inline bool bmp_is_whole(std::string_view file, index_t height, index_t width) {
  const auto number = [&](std::size_t i, std::size_t bytes) {
    index_t value = 0;
    for (std::size_t k = 0; k < bytes; ++k) value |= index_t{byte_at(file, i + k)} << (8 * k);
    return value;
  };
  if (file.size() < 30) return false;
  const index_t bits = number(14, 4) == 12 ? number(24, 2) : number(28, 2);
  const index_t row = (width * bits + 31) / 32 * 4;
  return number(10, 4) + row * height <= static_cast<index_t>(file.size());
}

inline Tensor<std::uint8_t> decode_by_stb(const std::string& path, std::string_view format, std::string_view file,
                                          const ImageLimits& limits) {
  const auto damaged = [&](std::string_view reason) { return IoError(path, concat("damaged ", format, " file: ", reason)); };
  if (const std::string_view fault = format == "JPEG" ? jpeg_fault(file) : ""; !fault.empty()) throw damaged(fault);
  const auto* bytes = reinterpret_cast<const segnet_stb::stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());
  int width = 0, height = 0, channels = 0;
  if (!segnet_stb::stbi_info_from_memory(bytes, size, &width, &height, &channels)) throw damaged(segnet_stb::stbi_failure_reason());
  check_image_size(path, height, width, limits);
  if (format == "BMP" && !bmp_is_whole(file, height, width)) throw damaged("it ends too early");
  struct Free {
    void operator()(segnet_stb::stbi_uc* p) const { segnet_stb::stbi_image_free(p); }
  };
  const std::unique_ptr<segnet_stb::stbi_uc, Free> pixels(segnet_stb::stbi_load_from_memory(bytes, size, &width, &height, &channels, 3));
  if (!pixels) throw damaged(segnet_stb::stbi_failure_reason());
  return {{height, width, 3}, pixels.get(), static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3};
}

}  // namespace detail

/// A PNG, JPEG or BMP file as [H, W, 3] RGB. Grey becomes RGB, palettes become their colours, 16 bits are rounded to 8, alpha is
/// dropped (colours as stored, not blended). Orientation tags are not followed.
/// @throws IoError naming the file and the reason: it cannot be read, is of another format, larger than `limits`, damaged, truncated
[[nodiscard]] inline Tensor<std::uint8_t> read_image(const std::string& path, const ImageLimits& limits = {}) {
  const std::string file = read_file(path, std::min<std::size_t>(limits.max_bytes, INT_MAX));
  const std::string_view format = detail::file_format(file);
  if (format == "PNG") {
    const detail::PngPixels image = detail::decode_png(path, file, detail::PngAs::rgb, limits);
    return {{image.height, image.width, 3}, image.bytes};
  }
  if (format == "JPEG" || format == "BMP") return detail::decode_by_stb(path, format, file, limits);
  if (file.empty()) throw IoError(path, "is empty, not an image");
  throw IoError(path, format.empty() ? std::string("is not an image: PNG, JPEG and BMP can be read")
                                     : concat("is a ", format, " file: PNG, JPEG and BMP can be read"));
}

/// [H, W, 3] RGB, or [H, W] or [H, W, 1] grey, as the bytes of an 8-bit PNG file. @throws ShapeError for other shapes and empty images
[[nodiscard]] inline std::string encode_png(const Tensor<std::uint8_t>& image) {
  const bool grey = image.rank() == 2 || (image.rank() == 3 && image.dim(2) == 1);
  if (!image || image.numel() == 0 || !(grey || (image.rank() == 3 && image.dim(2) == 3)))
    throw ShapeError("encode_png", "image", "[H, W, 3], [H, W, 1] or [H, W], not empty", image.shape());
  const int colour_type = grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  return detail::encode_png("PNG in memory", {image.dim(0), image.dim(1), colour_type, 8, image.data()});
}

/// Writes such an image as a PNG file, at once or not at all (`write_file_atomically`). @throws ShapeError as `encode_png`; IoError
inline void write_png(const std::string& path, const Tensor<std::uint8_t>& image) { write_file_atomically(path, encode_png(image)); }

}  // namespace segnet
