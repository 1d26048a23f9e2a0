#include "segnet/report/overlay.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;

namespace {

const Palette palette{{0, 0, 0}, {200, 100, 0}, {250, 250, 240}};
using Labels = Tensor<std::int32_t>;

Rgb pixel(const Image& image, index_t y, index_t x) { return {image.at(y, x, 0), image.at(y, x, 1), image.at(y, x, 2)}; }

Image uniform(index_t height, index_t width, const Rgb& colour) {
  return contact_sheet({{colourise(zeros<std::int32_t>({height, width}), {colour})}});
}

}  // namespace

TEST_CASE("colourise: every pixel has its class colour; what has none is hatched") {
  const Image image = colourise(Labels({2, 3}, {0, 1, 2, -1, 3, 255}), palette);
  CHECK(image.shape() == Shape{2, 3, 3});
  for (int k = 0; k < 3; ++k) CHECK(pixel(image, 0, k) == palette[static_cast<std::size_t>(k)]);
  for (int x = 0; x < 3; ++x) CHECK(pixel(image, 1, x) == Rgb{112, 112, 112});  // the first stripe

  CHECK(pixel(colourise(Labels({1, 1}, {2}), palette, 2), 0, 0) == Rgb{112, 112, 112});
  CHECK(pixel(colourise(Tensor<std::uint8_t>({1, 1}, {2}), palette), 0, 0) == palette[2]);
  CHECK(pixel(colourise(Tensor<std::int64_t>({1, 1}, {std::int64_t{1} << 32}), palette), 0, 0) == Rgb{112, 112, 112});

  const Image hatched = colourise(full<std::int32_t>({9, 9}, 255), palette);  // diagonal stripes, 4 wide
  for (index_t y = 0; y < 9; ++y)
    for (index_t x = 0; x < 9; ++x) CHECK(pixel(hatched, y, x)[1] == (((x + y) / 4) % 2 ? 160 : 112));

  CHECK(colourise(Labels(Shape{0, 5}), palette).shape() == Shape{0, 5, 3});
  CHECK_THROWS_WITH_AS((void)colourise(Labels({3}, {0, 1, 2}), palette), "segnet::colourise: argument 'labels': expected [H, W], got [3]",
                       ShapeError);
}

TEST_CASE("overlay: tint is image + alpha * (colour - image), rounded") {
  const Image image = uniform(3, 3, {10, 20, 31});
  const Labels ones_everywhere = full<std::int32_t>({3, 3}, 1);
  CHECK(pixel(overlay(image, ones_everywhere, palette), 1, 1) == Rgb{105, 60, 16});  // 15.5 rounds up
  CHECK(pixel(overlay(image, ones_everywhere, palette, {.alpha = 0.25}), 0, 0) == Rgb{58, 40, 23});
  CHECK(pixel(overlay(image, ones_everywhere, palette, {.alpha = 0}), 0, 0) == Rgb{10, 20, 31});
  CHECK(pixel(overlay(image, ones_everywhere, palette, {.alpha = 1}), 2, 2) == palette[1]);
  // The frame of the picture is no border, and unlabelled pixels keep the image.
  CHECK(equal(overlay(image, full<std::int32_t>({3, 3}, 9), palette), image));
  CHECK(equal(overlay(image, ones_everywhere, palette, {.ignore_index = 1}), image));
}

TEST_CASE("overlay: a border is drawn on both sides, halfway to white for dark classes and to black for light ones") {
  const Image image = uniform(3, 6, {100, 100, 100});
  Labels labels({3, 6});
  for (index_t i = 0; i < 18; ++i) labels.data()[i] = i % 6 < 3 ? 0 : 2;
  labels.at(0, 0) = 255;
  const Image image_with_border = overlay(image, labels, palette);
  const Rgb tint0{50, 50, 50}, tint2{175, 175, 170}, line0{128, 128, 128}, line2{125, 125, 120};
  const Rgb expected[3][6] = {{{100, 100, 100}, line0, line0, line2, tint2, tint2},
                              {line0, tint0, line0, line2, tint2, tint2},
                              {tint0, tint0, line0, line2, tint2, tint2}};
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 6; ++x) {
      INFO(y, " ", x);
      CHECK(pixel(image_with_border, y, x) == expected[y][x]);
    }
  const Image without = overlay(image, labels, palette, {.contour = false});
  CHECK(pixel(without, 0, 2) == tint0);
  CHECK(pixel(without, 0, 3) == tint2);
  CHECK(pixel(without, 0, 0) == Rgb{100, 100, 100});
}

TEST_CASE("overlay: each of the four neighbours makes a border, no diagonal one does; light and dark part at luma 128") {
  const Image image = uniform(3, 3, {100, 100, 100});
  for (int other = 0; other < 9; ++other) {
    INFO("neighbour ", other);
    if (other == 4) continue;
    Labels labels = zeros<std::int32_t>({3, 3});
    labels.data()[other] = 1;
    CHECK((pixel(overlay(image, labels, palette), 1, 1) == Rgb{128, 128, 128}) == (other % 2 == 1));
  }
  const auto line = [](const Rgb& colour) { return pixel(overlay(uniform(1, 2, {}), Labels({1, 2}, {0, 1}), {colour, {}}), 0, 0); };
  CHECK(line({127, 127, 127}) == Rgb{191, 191, 191});
  CHECK(line({128, 128, 128}) == Rgb{64, 64, 64});
  CHECK(line({255, 0, 0}) == Rgb{255, 128, 128});
  CHECK(line({0, 255, 0}) == Rgb{0, 128, 0});
  CHECK(line({0, 0, 255}) == Rgb{128, 128, 255});
}

TEST_CASE("overlay: wrong shapes and alpha") {
  const Image image = uniform(2, 3, {});
  const Labels labels = zeros<std::int32_t>({2, 3});
  CHECK_THROWS_WITH_AS((void)overlay(Image({2, 3}), labels, palette), "segnet::overlay: argument 'image': expected [H, W, 3], got [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)overlay(image, zeros<std::int32_t>({3, 2}), palette),
                       "segnet::overlay: argument 'labels': expected [2, 3], got [3, 2]", ShapeError);
  for (const double alpha : {-0.1, 1.5, double(NAN)}) CHECK_THROWS_AS((void)overlay(image, labels, palette, {.alpha = alpha}), ValueError);
}

TEST_CASE("error_map: red where wrong, grey where right, hatched where nothing is asked") {
  const Image map = error_map(Labels({1, 4}, {0, 1, 255, -1}), Tensor<std::int64_t>({1, 4}, {0, 2, 255, 0}));
  CHECK(pixel(map, 0, 0) == Rgb{222, 222, 222});
  CHECK(pixel(map, 0, 1) == Rgb{214, 40, 40});
  CHECK(pixel(map, 0, 2) == Rgb{112, 112, 112});
  CHECK(pixel(map, 0, 3) == Rgb{112, 112, 112});
  CHECK(pixel(error_map(Labels({1, 1}, {0}), Labels({1, 1}, {1}), 0), 0, 0) == Rgb{112, 112, 112});
  CHECK_THROWS_AS((void)error_map(Labels({1, 2}, {0, 0}), Labels({2, 1}, {0, 0})), ShapeError);
  CHECK_THROWS_AS((void)error_map(Labels({2}, {0, 0}), Labels({2}, {0, 0})), ShapeError);
}

TEST_CASE_TEMPLATE("heat_map: the table's colours, steadily lighter; clamped; NaN hatched", T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  const Image map = heat_map(Tensor<T>({1, 7}, {0, T(0.5), 1, -inf, inf, nan, T(0.0625)}));
  CHECK(pixel(map, 0, 0) == Rgb{68, 1, 84});
  CHECK(pixel(map, 0, 1) == Rgb{33, 144, 141});
  CHECK(pixel(map, 0, 2) == Rgb{253, 231, 37});
  CHECK(pixel(map, 0, 3) == pixel(map, 0, 0));
  CHECK(pixel(map, 0, 4) == pixel(map, 0, 2));
  CHECK(pixel(map, 0, 5) == Rgb{160, 160, 160});
  CHECK(pixel(map, 0, 6) == Rgb{70, 23, 103});  // halfway between two entries
  CHECK(equal(heat_map(Tensor<T>({1, 2}, {-3, 5}), -3, 5), heat_map(Tensor<T>({1, 2}, {0, 1}))));
  double before = -1;
  for (int i = 0; i <= 1000; ++i) {
    const Rgb c = viridis(i / 1000.0);
    const double luma = 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
    CHECK(luma > before - 0.8);  // rounding to eight bits
    before = luma;
  }
  CHECK_THROWS_AS((void)heat_map(zeros<T>({2})), ShapeError);
  CHECK_THROWS_AS((void)heat_map(zeros<T>({2, 2}), 1, 1), ValueError);
  CHECK_THROWS_AS((void)heat_map(zeros<T>({2, 2}), 0, double(NAN)), ValueError);
}

TEST_CASE("contact_sheet and beside: cells, gaps, background, exactly") {
  const Rgb red{255, 0, 0}, green{0, 255, 0}, blue{0, 0, 255}, white{255, 255, 255}, grey{9, 9, 9};
  const Image sheet =
      contact_sheet({{uniform(1, 2, red), uniform(2, 1, green)}, {uniform(1, 1, blue)}, {}, {Image{}, uniform(1, 1, red)}}, 1, grey);
  // Column widths 2 and 1, row heights 2, 1, 0, 1.
  const char* expected[] = {"RR.G", "...G", "....", "B...", "....", "....", "...R"};
  REQUIRE(sheet.shape() == Shape{7, 4, 3});
  for (int y = 0; y < 7; ++y)
    for (int x = 0; x < 4; ++x) {
      INFO(y, " ", x);
      const char c = expected[y][x];
      CHECK(pixel(sheet, y, x) == (c == 'R' ? red : c == 'G' ? green : c == 'B' ? blue : grey));
    }

  const Image pair = beside({uniform(2, 2, red), uniform(1, 3, green)}, 2);
  REQUIRE(pair.shape() == Shape{2, 7, 3});
  CHECK(pixel(pair, 1, 1) == red);
  CHECK(pixel(pair, 1, 2) == white);
  CHECK(pixel(pair, 0, 6) == green);
  CHECK(pixel(pair, 1, 6) == white);
  CHECK(beside({uniform(2, 2, red), uniform(2, 2, red)}, 0).shape() == Shape{2, 4, 3});

  CHECK(beside({}).shape() == Shape{0, 0, 3});
  CHECK(contact_sheet({}).shape() == Shape{0, 0, 3});
  CHECK(contact_sheet({{}}).shape() == Shape{0, 0, 3});
  CHECK_THROWS_AS((void)beside({Image({2, 2})}), ShapeError);
  CHECK_THROWS_AS((void)beside({Image({2, 2, 1})}), ShapeError);
  CHECK_THROWS_AS((void)beside({}, -1), ValueError);
}
