#include "segnet/io/label_map.hpp"

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {
using Labels = Tensor<std::int32_t>;

const std::string FOUR_COLOURS = png_chunk("PLTE", {0, 0, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90});

std::string read_error(const std::string& path) {
  return error_text<IoError>([&] { (void)read_label_map(path); });
}
}  // namespace

TEST_CASE("voc_palette: colours of the development kit") {
  const Palette p = voc_palette();
  CHECK(p.size() == 256);
  CHECK(p[0] == Rgb{0, 0, 0});
  CHECK(p[1] == Rgb{128, 0, 0});
  CHECK(p[3] == Rgb{128, 128, 0});
  CHECK(p[7] == Rgb{128, 128, 128});
  CHECK(p[8] == Rgb{64, 0, 0});
  CHECK(p[15] == Rgb{192, 128, 128});
  CHECK(p[20] == Rgb{0, 64, 128});
  CHECK(p[255] == Rgb{224, 224, 192});
}

TEST_CASE("read_label_map: indices of palettes and values of greys, at every depth") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& file) {
    save(folder / "a.png", file);
    return read_label_map(folder / "a.png");
  };
  for (int bits : {1, 2, 4, 8, 16}) {
    const int most = (1 << bits) - 1;
    for (index_t width : {1, 3, 8, 13}) {  // rows that end within a byte
      const Labels expected = integers<std::int32_t>({5, width}, 0, most);
      const auto values = expected.to_vector();
      INFO(bits, " bits, width ", width);
      CHECK(equal(read(png_file(5, width, 0, bits, {values.begin(), values.end()})), expected));
      if (bits < 16) {
        std::string colours;
        for (int i = 0; i <= most; ++i) colours += {7, 7, 7};  // all the same: only the index can tell them apart
        CHECK(equal(read(png_file(5, width, 3, bits, {values.begin(), values.end()}, png_chunk("PLTE", colours))), expected));
      }
    }
  }
  CHECK(equal(read(png_file(1, 2, 4, 8, {9, 0, 200, 255})), Labels({1, 2}, {9, 200})));  // alpha is dropped
}

TEST_CASE("read_label_map: what is no label map says so") {
  const TemporaryFolder folder;
  save(folder / "rgb.png", png_file(1, 1, 2, 8, {1, 2, 3}));
  CHECK(contains(read_error(folder / "rgb.png"), "is an RGB picture, not a map of class ids: read it by read_colour_labels"));
  save(folder / "a.jpg", "\xff\xd8\xff\xe0....");
  CHECK(contains(read_error(folder / "a.jpg"), "is a JPEG file: label maps are PNG, which keeps every value as it is"));
  save(folder / "a.mat", "MATLAB 5.0");
  CHECK(contains(read_error(folder / "a.mat"), "is a MATLAB file"));
  save(folder / "a.txt", "1 2 3");
  CHECK(contains(read_error(folder / "a.txt"), "is not a PNG file"));
  save(folder / "empty.png", "");
  CHECK(contains(read_error(folder / "empty.png"), "is empty"));
  const std::string whole = png_file(2, 2, 3, 2, {0, 1, 2, 3}, FOUR_COLOURS);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO("cut to ", size, " of ", whole.size(), " bytes");
    save(folder / "cut.png", whole.substr(0, size));
    CHECK(read_error(folder / "cut.png").starts_with(folder / "cut.png"));
  }
}

TEST_CASE("read_colour_labels: the place of each colour in the palette") {
  const TemporaryFolder folder;
  save(folder / "a.png", png_file(1, 4, 2, 8, {128, 0, 0, 0, 0, 0, 128, 0, 0, 0, 128, 0}));
  CHECK(equal(read_colour_labels(folder / "a.png", voc_palette(3)), Labels({1, 4}, {1, 0, 1, 2})));
  CHECK(equal(read_colour_labels(folder / "a.png", voc_palette(2), 255), Labels({1, 4}, {1, 0, 1, 255})));
  CHECK(contains(error_text<IoError>([&] { (void)read_colour_labels(folder / "a.png", voc_palette(2)); }),
                 "the colour (0, 128, 0) at row 0, column 3 is not in the palette of 2 colours"));
  save(folder / "p.png", png_file(1, 4, 3, 2, {3, 2, 1, 0}, FOUR_COLOURS));  // a palette file, by its colours
  CHECK(equal(read_colour_labels(folder / "p.png", {{70, 80, 90}, {40, 50, 60}}, -1), Labels({1, 4}, {0, 1, -1, -1})));
}

TEST_CASE("write_label_map: what is written is read") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.png";
  const Labels labels = integers<std::int32_t>({17, 9}, 0, 255);
  for (const Palette& palette : {Palette{}, voc_palette(), voc_palette(21)}) {
    write_label_map(path, labels, palette);
    CHECK(equal(read_label_map(path), labels));
  }
  const Labels wide = integers<std::int32_t>({4, 5}, 0, 65535);
  write_label_map(path, wide);
  CHECK(equal(read_label_map(path), wide));

  // The palette is in the file, and ids behind its end are black.
  write_label_map(path, Labels({1, 3}, {1, 2, 3}), voc_palette(3));
  CHECK(equal(read_image(path), Tensor<std::uint8_t>({1, 3, 3}, {128, 0, 0, 0, 128, 0, 0, 0, 0})));

  const auto refused = [&](const Labels& l, const Palette& palette) {
    return error_text<ValueError>([&] { write_label_map(path, l, palette); });
  };
  CHECK(contains(refused(Labels({2, 2}, {0, 1, -1, 0}), {}), "ids from 0 to 65535, got -1 at row 1, column 0"));
  CHECK(contains(refused(Labels({1, 2}, {0, 256}), voc_palette()), "ids from 0 to 255, got 256 at row 0, column 1"));
  CHECK(contains(refused(Labels({1, 1}, {0}), Palette(257)), "at most 256 colours"));
  CHECK_THROWS_AS(write_label_map(path, Labels({2}, {0, 1})), ShapeError);
  CHECK_THROWS_AS(write_label_map(path, Labels({0, 3})), ShapeError);
  CHECK(read_label_map(path).shape() == Shape{1, 3});  // what was there before still is
}
