// First the names of operations: abs, above all, must not reach stb_image.
#include "segnet/ops/unary.hpp"
//
#include "segnet/io/image.hpp"
#include "support/files.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

using namespace segnet;
using namespace segnet::testing;

namespace {

using Bytes = Tensor<std::uint8_t>;

/// Smooth colours, so that JPEG changes them little.
Bytes gradient(index_t height, index_t width) {
  Bytes image({height, width, 3});
  for (index_t y = 0; y < height; ++y)
    for (index_t x = 0; x < width; ++x) {
      image.at(y, x, 0) = static_cast<std::uint8_t>(40 + 150 * y / height);
      image.at(y, x, 1) = static_cast<std::uint8_t>(200 - 150 * x / width);
      image.at(y, x, 2) = static_cast<std::uint8_t>(60 + 70 * (x + y) / (height + width));
    }
  return image;
}

void append(void* context, void* data, int size) {
  static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
}
std::string jpeg_file(const Bytes& image, int quality = 95) {
  std::string file;
  stbi_write_jpg_to_func(append, &file, static_cast<int>(image.dim(1)), static_cast<int>(image.dim(0)), 3, image.data(), quality);
  return file;
}
std::string bmp_file(const Bytes& image) {
  std::string file;
  stbi_write_bmp_to_func(append, &file, static_cast<int>(image.dim(1)), static_cast<int>(image.dim(0)), 3, image.data());
  return file;
}

std::string read_error(const std::string& path, const ImageLimits& limits = {}) {
  return error_text<IoError>([&] { (void)read_image(path, limits); });
}

}  // namespace

TEST_CASE("write_png and read_image: every byte comes back") {
  const TemporaryFolder folder;
  for (const Shape& shape : {Shape{1, 1, 3}, {7, 5, 3}, {64, 33, 3}, {3, 200, 3}}) {
    INFO("shape ", shape);
    const Bytes image = integers<std::uint8_t>(shape, 0, 255);
    write_png(folder / "a.png", image);
    CHECK(equal(read_image(folder / "a.png"), image));
  }
  const Bytes grey = integers<std::uint8_t>({6, 9}, 0, 255);
  write_png(folder / "grey.png", grey);
  const Bytes rgb = read_image(folder / "grey.png");
  CHECK(rgb.shape() == Shape{6, 9, 3});
  for (index_t i = 0; i < rgb.numel(); ++i) REQUIRE(rgb.data()[i] == grey.data()[i / 3]);
  write_png(folder / "grey.png", grey.alias({6, 9, 1}));
  CHECK(equal(read_image(folder / "grey.png"), rgb));

  CHECK_THROWS_WITH_AS(write_png(folder / "x.png", Bytes({2, 2, 4})), doctest::Contains("argument 'image'"), ShapeError);
  CHECK_THROWS_AS(write_png(folder / "x.png", Bytes({0, 2, 3})), ShapeError);
  CHECK_THROWS_AS(write_png(folder / "x.png", Bytes()), ShapeError);
  CHECK_FALSE(std::filesystem::exists(folder / "x.png"));
  CHECK_THROWS_AS(write_png("/nowhere/at/all.png", rgb), IoError);
}

TEST_CASE("read_image: each kind of PNG becomes 8-bit RGB") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& file) {
    save(folder / "a.png", file);
    return read_image(folder / "a.png");
  };
  // Grey of 1, 2, 4 bits is stretched to 0 ... 255; 16 bits are rounded.
  CHECK(equal(read(png_file(1, 3, 0, 1, {1, 0, 1})), Bytes({1, 3, 3}, {255, 255, 255, 0, 0, 0, 255, 255, 255})));
  CHECK(equal(read(png_file(1, 2, 0, 2, {1, 2})), Bytes({1, 2, 3}, {85, 85, 85, 170, 170, 170})));
  CHECK(equal(read(png_file(1, 2, 0, 4, {1, 15})), Bytes({1, 2, 3}, {17, 17, 17, 255, 255, 255})));
  CHECK(equal(read(png_file(1, 1, 0, 16, {0x1234})), Bytes({1, 1, 3}, {0x12, 0x12, 0x12})));
  CHECK(equal(read(png_file(1, 1, 2, 16, {0xffff, 0x8000, 0x01ff})), Bytes({1, 1, 3}, {255, 128, 2})));
  // Alpha is dropped, without blending.
  CHECK(equal(read(png_file(1, 2, 6, 8, {1, 2, 3, 0, 4, 5, 6, 255})), Bytes({1, 2, 3}, {1, 2, 3, 4, 5, 6})));
  CHECK(equal(read(png_file(1, 1, 4, 8, {77, 3})), Bytes({1, 1, 3}, {77, 77, 77})));
  // A palette, with transparency.
  const std::string palette = png_chunk("PLTE", {10, 20, 30, 40, 50, 60, 70, 80, 90}) + png_chunk("tRNS", std::string("\0\x80", 2));
  CHECK(equal(read(png_file(1, 3, 3, 2, {2, 0, 1}, palette)), Bytes({1, 3, 3}, {70, 80, 90, 10, 20, 30, 40, 50, 60})));
}

TEST_CASE("read_image: JPEG and BMP") {
  const TemporaryFolder folder;
  const Bytes image = gradient(37, 53);
  save(folder / "a.bmp", bmp_file(image));
  CHECK(equal(read_image(folder / "a.bmp"), image));
  save(folder / "a.jpg", jpeg_file(image));
  const Bytes jpeg = read_image(folder / "a.jpg");
  CHECK(max_difference(jpeg, image) <= 6);
  // The contents count, not the name.
  save(folder / "a.png", jpeg_file(image));
  CHECK(equal(read_image(folder / "a.png"), jpeg));
}

TEST_CASE("read_image: other files are refused by name") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& contents) {
    save(folder / "photo.jpg", contents);
    const std::string text = read_error(folder / "photo.jpg");
    CHECK(text.starts_with(folder / "photo.jpg"));
    return text;
  };
  CHECK(contains(refused("GIF89a......"), "is a GIF file: PNG, JPEG and BMP can be read"));
  CHECK(contains(refused(std::string("II*\0....", 8)), "is a TIFF file"));
  CHECK(contains(refused("RIFF....WEBPVP8 "), "is a WebP file"));
  CHECK(contains(refused("MATLAB 5.0 MAT-file"), "is a MATLAB file"));
  CHECK(contains(refused("version https://git-lfs.github.com/spec/v1"), "Git LFS pointer"));
  CHECK(contains(refused("hello"), "is not an image"));
  CHECK(contains(refused(""), "is empty"));
  CHECK(contains(read_error(folder / "none.png"), "none.png: cannot open: No such file"));
  CHECK(contains(read_error(folder.path().string()), "is a directory"));
}

TEST_CASE("read_image: limits are checked before anything is decoded") {
  const TemporaryFolder folder;
  const Bytes image = gradient(40, 50);
  write_png(folder / "a.png", image);
  save(folder / "a.jpg", jpeg_file(image));
  save(folder / "a.bmp", bmp_file(image));
  for (const char* name : {"a.png", "a.jpg", "a.bmp"}) {
    INFO(name);
    CHECK(contains(read_error(folder / name, {.max_side = 49}), "50 x 40 pixels (width x height); the limits are 49 a side"));
    CHECK(contains(read_error(folder / name, {.max_pixels = 1999}), "1999 in all"));
    CHECK(contains(read_error(folder / name, {.max_bytes = 60}), "more than the 60"));
    CHECK_NOTHROW((void)read_image(folder / name, {.max_side = 50, .max_pixels = 2000}));
  }
  // A few bytes that claim to be a huge picture: refused, and no memory asked for.
  std::string bomb = png_file(1, 1, 2, 8, {1, 2, 3});
  bomb.replace(8, 25, png_chunk("IHDR", big_endian(30000) + big_endian(8000) + std::string{8, 2, 0, 0, 0}));
  save(folder / "bomb.png", bomb);
  CHECK(contains(read_error(folder / "bomb.png"), "too few for 30000 x 8000 pixels"));
  bomb.replace(8, 25, png_chunk("IHDR", big_endian(0x7fffffff) + big_endian(0x7fffffff) + std::string{8, 2, 0, 0, 0}));
  save(folder / "bomb.png", bomb);
  CHECK(contains(read_error(folder / "bomb.png"), "2147483647 x 2147483647"));
}

TEST_CASE("read_image: a file cut anywhere is an error that names it") {
  const TemporaryFolder folder;
  const Bytes image = gradient(12, 10);
  write_png(folder / "a.png", image);
  const std::pair<const char*, std::string> files[] = {
      {"cut.png", load(folder / "a.png")}, {"cut.jpg", jpeg_file(image, 80)}, {"cut.bmp", bmp_file(image)}};
  for (const auto& [name, whole] : files)
    for (std::size_t size = 0; size < whole.size(); ++size) {
      INFO(name, " cut to ", size, " of ", whole.size(), " bytes");
      save(folder / name, std::string_view(whole).substr(0, size));
      CHECK(read_error(folder / name).starts_with(folder / name));
    }
}

TEST_CASE("read_image: random damage is an error or a picture of the same size, never a crash") {
  const TemporaryFolder folder;
  const Bytes image = gradient(24, 31);
  write_png(folder / "a.png", image);
  const std::string palette = png_chunk("PLTE", {10, 20, 30, 40, 50, 60, 70, 80, 90});
  const std::string seeds[] = {load(folder / "a.png"), jpeg_file(image, 70), jpeg_file(image, 95), bmp_file(image),
                               png_file(2, 3, 3, 2, {2, 0, 1, 1, 3, 0}, palette)};
  Generator& rng = segnet::testing::random();
  int errors = 0, pictures = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string file = seeds[rng.below(std::size(seeds))];
    for (index_t edits = 1 + rng.below(4); edits > 0; --edits) {
      const auto at = static_cast<std::size_t>(rng.below(static_cast<index_t>(file.size())));
      switch (rng.below(4)) {
        case 0:
          file[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          file[at] = static_cast<char>(file[at] ^ (1 << rng.below(8)));
          break;
        case 2:
          file.erase(at, static_cast<std::size_t>(1 + rng.below(8)));
          break;
        default:
          file.insert(at, static_cast<std::size_t>(1 + rng.below(8)), static_cast<char>(rng.below(256)));
      }
      if (file.empty()) file = "x";
    }
    save(folder / "fuzzed", file);
    try {
      const Bytes read = read_image(folder / "fuzzed", {.max_side = 4096, .max_pixels = 1 << 20});
      CHECK(read.dim(2) == 3);
      CHECK(read.numel() > 0);
      ++pictures;
    } catch (const IoError& error) {
      CHECK(error.path == folder / "fuzzed");
      ++errors;
    }
  }
  CHECK(errors > 100);
  CHECK(pictures > 100);
}

TEST_CASE("read_image: a bit that flips in the pixels of a PNG is noticed") {
  const TemporaryFolder folder;
  write_png(folder / "a.png", gradient(20, 20));
  std::string file = load(folder / "a.png");
  const std::size_t data = file.find("IDAT") + 20;
  file[data] = static_cast<char>(file[data] ^ 4);
  save(folder / "a.png", file);
  CHECK(contains(read_error(folder / "a.png"), "damaged PNG file"));
}
