// PNG files by libpng: what images and label maps share. Link with -lpng.
#pragma once

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "segnet/core/error.hpp"
#include "segnet/core/shape.hpp"
#include "segnet/io/palette.hpp"

namespace segnet {

/// What a reader of images accepts. The sizes in a file's header are checked before anything is decoded, so that a small damaged
/// or hostile file cannot ask for all memory.
struct ImageLimits {
  index_t max_side = 32768;            ///< pixels, of height and of width
  index_t max_pixels = 1 << 28;        ///< height * width; 2^28 is 16384 x 16384
  std::size_t max_bytes = 1ull << 30;  ///< size of the file
};

namespace detail {

/// @throws IoError when an image of that size is empty or larger than `limits` allow.
inline void check_image_size(std::string_view path, index_t height, index_t width, const ImageLimits& limits) {
  if (height < 1 || width < 1) throw IoError(path, concat("the header says ", width, " x ", height, " pixels"));
  if (height > limits.max_side || width > limits.max_side || height > limits.max_pixels / width)
    throw IoError(path, concat("the header says ", width, " x ", height, " pixels (width x height); the limits are ", limits.max_side,
                               " a side and ", limits.max_pixels, " in all"));
}

/// What of a PNG is wanted.
enum class PngAs {
  rgb,    ///< colours: everything becomes three samples of 8 bits; alpha is dropped
  values  ///< what is stored: palette indices, grey levels of 1 to 16 bits; alpha is dropped
};

struct PngPixels {
  index_t height = 0, width = 0;
  int channels = 0;                 ///< 3, or 1 for grey and palette files read as `values`
  int sample_bytes = 1;             ///< 2 for 16-bit files read as `values`: native order
  bool indexed = false;             ///< the file has a palette
  Palette palette;                  ///< of an indexed file
  std::vector<std::uint8_t> bytes;  ///< [height, width, channels] samples of `sample_bytes`
};

/// libpng reports errors by longjmp. It may pass only through frames of C and of functions whose locals need no destructor; so
/// everything that calls libpng runs inside `guarded`, which turns the jump into an exception when only its own frame is left.
class PngErrors {
 public:
  explicit PngErrors(std::string path) : path_(std::move(path)) {}

  template <class F>
  void guarded(png_structp png, const F& f) {
    if (setjmp(png_jmpbuf(png))) throw IoError(path_, concat("damaged PNG file: ", message_));
    f();
  }

  static void on_error(png_structp png, png_const_charp message) {
    PngErrors& self = *static_cast<PngErrors*>(png_get_error_ptr(png));
    std::strncpy(self.message_, message, sizeof self.message_ - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}

 private:
  std::string path_;
  char message_[128] = {};
};

class PngReader {
 public:
  PngReader(const std::string& path, std::string_view file) : path_(path), file_(file), file_size_(file.size()), errors_(path) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, PngErrors::on_error, PngErrors::on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) {
      png_destroy_read_struct(&png_, &info_, nullptr);
      throw IoError(path, "libpng cannot be initialised");
    }
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  PngPixels read(PngAs as, const ImageLimits& limits) {
    PngPixels image;
    std::size_t row_bytes = 0;
    errors_.guarded(png_, [&] {
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // `limits` are checked below, with a better message
      png_set_chunk_malloc_max(png_, 8 << 20);
      png_set_read_fn(png_, this, read_bytes);
      png_read_info(png_, info_);
      image.height = png_get_image_height(png_, info_);
      image.width = png_get_image_width(png_, info_);
      image.indexed = png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE;
      row_bytes = png_get_rowbytes(png_, info_);
    });
    check_image_size(path_, image.height, image.width, limits);
    if (row_bytes > file_.size() * 1032 / static_cast<std::size_t>(image.height) + 1)  // deflate packs at most 1032 to 1
      throw IoError(path_,
                    concat("damaged PNG file: ", file_.size(), " bytes are too few for ", image.width, " x ", image.height, " pixels"));

    png_colorp colours = nullptr;
    int colour_count = 0;
    errors_.guarded(png_, [&] {
      if (image.indexed) png_get_PLTE(png_, info_, &colours, &colour_count);
      if (as == PngAs::rgb) {
        png_set_expand(png_);
        png_set_scale_16(png_);
        png_set_gray_to_rgb(png_);
      } else {
        png_set_packing(png_);
        const std::uint16_t one = 1;
        std::uint8_t first;
        std::memcpy(&first, &one, 1);
        if (first) png_set_swap(png_);
      }
      png_set_strip_alpha(png_);
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
      image.channels = png_get_channels(png_, info_);
      image.sample_bytes = png_get_bit_depth(png_, info_) == 16 ? 2 : 1;
      row_bytes = png_get_rowbytes(png_, info_);
    });
    for (int i = 0; i < colour_count; ++i) image.palette.push_back({colours[i].red, colours[i].green, colours[i].blue});
    image.bytes.resize(row_bytes * static_cast<std::size_t>(image.height));
    std::vector<png_bytep> rows;
    for (index_t y = 0; y < image.height; ++y) rows.push_back(image.bytes.data() + row_bytes * static_cast<std::size_t>(y));
    errors_.guarded(png_, [&] {
      png_read_image(png_, rows.data());
      png_read_end(png_, nullptr);
    });
    return image;
  }

 private:
  static void read_bytes(png_structp png, png_bytep out, std::size_t count) {
    PngReader& self = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self.file_.size()) png_error(png, "it ends too early");
    std::memcpy(out, self.file_.data(), count);
    self.file_.remove_prefix(count);
  }

  const std::string& path_;
  std::string_view file_;  // what is left to read
  const std::size_t file_size_;
  PngErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// Decodes the PNG file whose contents are `file`; `path` is for messages. @throws IoError
[[nodiscard]] inline PngPixels decode_png(const std::string& path, std::string_view file, PngAs as, const ImageLimits& limits) {
  return PngReader(path, file).read(as, limits);
}

/// What is to be encoded: samples as PNG stores them, most significant byte first.
struct PngRaster {
  index_t height, width;
  int colour_type, bit_depth;  ///< PNG_COLOR_TYPE_..., 8 or 16
  const std::uint8_t* bytes;
  const Palette* palette = nullptr;  ///< of PNG_COLOR_TYPE_PALETTE: at most 256 colours
};

class PngWriter {
 public:
  explicit PngWriter(const std::string& path) : errors_(path) {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, PngErrors::on_error, PngErrors::on_warning);
    if (png_) info_ = png_create_info_struct(png_);
    if (!info_) {
      png_destroy_write_struct(&png_, &info_);
      throw IoError(path, "libpng cannot be initialised");
    }
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  std::string write(const PngRaster& raster) {
    const index_t samples = raster.colour_type == PNG_COLOR_TYPE_RGB ? 3 : 1;
    const index_t row_bytes = raster.width * samples * raster.bit_depth / 8;
    std::vector<png_bytep> rows;  // libpng takes them without const and does not write to them
    for (index_t y = 0; y < raster.height; ++y) rows.push_back(const_cast<png_bytep>(raster.bytes + y * row_bytes));
    std::vector<png_color> colours;
    if (raster.palette)
      for (const Rgb& c : *raster.palette) colours.push_back({c[0], c[1], c[2]});
    errors_.guarded(png_, [&] {
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
      png_set_write_fn(png_, this, write_bytes, nullptr);
      if (!raster.palette) png_set_compression_level(png_, 3);  // of photographs: 2.4 times as fast as 6, for 2 % more bytes
      png_set_IHDR(png_, info_, static_cast<png_uint_32>(raster.width), static_cast<png_uint_32>(raster.height), raster.bit_depth,
                   raster.colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
      if (!colours.empty()) png_set_PLTE(png_, info_, colours.data(), static_cast<int>(colours.size()));
      png_write_info(png_, info_);
      png_write_image(png_, rows.data());
      png_write_end(png_, nullptr);
    });
    return std::move(file_);
  }

 private:
  static void write_bytes(png_structp png, png_bytep bytes, std::size_t count) {
    if (!static_cast<PngWriter*>(png_get_io_ptr(png))->append(bytes, count)) png_error(png, "out of memory");
  }
  bool append(const std::uint8_t* bytes, std::size_t count) noexcept {
    try {
      file_.append(reinterpret_cast<const char*>(bytes), count);
      return true;
    } catch (const std::bad_alloc&) {
      return false;  // and not an exception through the frames of libpng
    }
  }

  std::string file_;
  PngErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

/// The bytes of a PNG file. @throws IoError
[[nodiscard]] inline std::string encode_png(const std::string& path, const PngRaster& raster) { return PngWriter(path).write(raster); }

}  // namespace detail
}  // namespace segnet
