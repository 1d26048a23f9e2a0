#include "segnet/data/augment.hpp"

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {
using Bytes = Tensor<std::uint8_t>;
using Labels = Tensor<std::int32_t>;

/// A sample whose image says what its labels are: red is the label, green the instance, blue 7.
Sample coded(index_t height, index_t width, int classes = 200) {
  Sample s{Bytes({height, width, 3}), Labels({height, width}), Labels({height, width}), "coded"};
  for (index_t i = 0; i < height * width; ++i) {
    s.label.data()[i] = static_cast<std::int32_t>(segnet::testing::random().below(classes));
    s.instance.data()[i] = static_cast<std::int32_t>(segnet::testing::random().below(classes));
    s.image.data()[3 * i] = static_cast<std::uint8_t>(s.label.data()[i]);
    s.image.data()[3 * i + 1] = static_cast<std::uint8_t>(s.instance.data()[i]);
    s.image.data()[3 * i + 2] = 7;
  }
  return s;
}

const Normalization RAW{{0, 0, 0}, {1, 1, 1}};
}  // namespace

TEST_CASE("normalized: (x - mean) / std per channel") {
  const Bytes image({1, 2, 3}, {124, 116, 104, 0, 255, 255});
  const Tensor<float> y = normalized(image);
  CHECK(y.at(0, 0, 0) == doctest::Approx((124 - 123.675) / 58.395));
  CHECK(y.at(0, 1, 1) == doctest::Approx((255 - 116.28) / 57.12));
  CHECK(y.at(0, 1, 2) == doctest::Approx((255 - 103.53) / 57.375));
  CHECK_THROWS_AS((void)normalized(Bytes({2, 3})), ShapeError);
}

TEST_CASE("flipped: columns in reverse, all three maps, twice is nothing") {
  const Sample s = coded(3, 5);
  const Sample f = flipped(s);
  for (index_t y = 0; y < 3; ++y)
    for (index_t x = 0; x < 5; ++x) {
      CHECK(f.label.at(y, x) == s.label.at(y, 4 - x));
      CHECK(f.image.at(y, x, 0) == f.label.at(y, x));
      CHECK(f.image.at(y, x, 1) == f.instance.at(y, x));
      CHECK(f.image.at(y, x, 2) == 7);
    }
  CHECK(equal(flipped(f).image, s.image));
  CHECK_FALSE(flipped({s.image, {}, {}, ""}).label);
}

TEST_CASE("resized: bilinear images, nearest labels, centres at half numbers") {
  const Sample s = coded(4, 6);
  CHECK(equal(resized(s, 4, 6).image, s.image));
  CHECK(equal(resized(s, 4, 6).label, s.label));
  // Doubled: a quarter of the neighbour, as torch.nn.functional.interpolate(mode="bilinear", align_corners=False) gives.
  const Sample line{Bytes({1, 2, 3}, {0, 40, 80, 100, 140, 180}), Labels({1, 2}, {3, 9}), {}, "line"};
  const Sample twice = resized(line, 1, 4);
  CHECK(equal(twice.image, Bytes({1, 4, 3}, {0, 40, 80, 25, 65, 105, 75, 115, 155, 100, 140, 180})));
  CHECK(equal(twice.label, Labels({1, 4}, {3, 3, 9, 9})));
  CHECK_FALSE(twice.instance);
  // Halved: the mean of the two middle rows and columns for images; labels are among those that were there.
  const Sample half = resized(s, 2, 3);
  for (index_t y = 0; y < 2; ++y)
    for (index_t x = 0; x < 3; ++x) {
      const int sum = s.image.at(2 * y, 2 * x, 0) + s.image.at(2 * y, 2 * x + 1, 0) + s.image.at(2 * y + 1, 2 * x, 0) +
                      s.image.at(2 * y + 1, 2 * x + 1, 0);
      CHECK(half.image.at(y, x, 0) == (sum + 2) / 4);
      CHECK(half.label.at(y, x) == s.label.at(2 * y + 1, 2 * x + 1));
      CHECK(half.instance.at(y, x) == s.instance.at(2 * y + 1, 2 * x + 1));
    }
  CHECK(contains(error_text<ValueError>([&] { (void)resized(s, 0, 3); }), "4 x 6 to 0 x 3"));
}

TEST_CASE("resized: labels follow the image at any factor") {
  // Broad vertical bars, all values the same within a bar: away from its borders, the image must show the label.
  Sample s{Bytes({8, 40, 3}), Labels({8, 40}), {}, "bars"};
  for (index_t i = 0; i < 320; ++i) {
    s.label.data()[i] = static_cast<std::int32_t>(i % 40 / 8);
    for (index_t c = 0; c < 3; ++c) s.image.data()[3 * i + c] = static_cast<std::uint8_t>(50 * (i % 40 / 8));
  }
  for (const index_t width : {13, 20, 39, 41, 57, 80, 133}) {
    const Sample r = resized(s, 5, width);
    for (index_t x = 0; x < width; ++x) {
      const int shown = r.image.at(2, x, 0);
      INFO("width ", width, " column ", x, ": level ", shown, ", label ", r.label.at(2, x));
      CHECK(std::abs(shown - 50 * r.label.at(2, x)) <= 25);
    }
  }
}

TEST_CASE("cropped: inside, across borders, outside") {
  const Sample s = coded(4, 5);
  const Rgb grey{9, 8, 6};
  for (index_t top : {-6, -2, 0, 1, 3, 5})
    for (index_t left : {-7, -1, 0, 2, 4, 6})
      for (const Shape& size : {Shape{3, 3}, Shape{1, 7}, Shape{8, 2}}) {
        INFO("top ", top, " left ", left, " size ", size);
        const Sample c = cropped(s, top, left, size[0], size[1], 255, grey);
        REQUIRE(c.image.shape() == Shape{size[0], size[1], 3});
        for (index_t y = 0; y < size[0]; ++y)
          for (index_t x = 0; x < size[1]; ++x) {
            const bool inside = top + y >= 0 && top + y < 4 && left + x >= 0 && left + x < 5;
            REQUIRE(c.label.at(y, x) == (inside ? s.label.at(top + y, left + x) : 255));
            REQUIRE(c.instance.at(y, x) == (inside ? s.instance.at(top + y, left + x) : 0));
            for (index_t k = 0; k < 3; ++k)
              REQUIRE(c.image.at(y, x, k) == (inside ? s.image.at(top + y, left + x, k) : grey[static_cast<std::size_t>(k)]));
          }
      }
}

TEST_CASE("rotated: quarter turns move pixels, others keep labels with them") {
  const Sample s = coded(5, 5);
  const Rgb grey{9, 8, 6};
  const Sample quarter = rotated(s, 90, 255, grey);
  for (index_t y = 0; y < 5; ++y)
    for (index_t x = 0; x < 5; ++x) {  // counter-clockwise, as numpy.rot90
      CHECK(quarter.label.at(y, x) == s.label.at(x, 4 - y));
      CHECK(quarter.instance.at(y, x) == s.instance.at(x, 4 - y));
      CHECK(quarter.image.at(y, x, 0) == s.label.at(x, 4 - y));
    }
  CHECK(equal(rotated(s, 0, 255, grey).image, s.image));
  CHECK_FALSE(rotated({s.image, {}, {}, ""}, 7, 255, grey).label);

  // A ramp is one in any direction, bilinearly: red counts rows, green columns. Corners are padding.
  const index_t h = 41, w = 61;
  Sample ramp{Bytes({h, w, 3}), Labels({h, w}), Labels({h, w}), "ramp"};
  for (index_t i = 0; i < h * w; ++i) {
    ramp.label.data()[i] = static_cast<std::int32_t>(i);
    ramp.instance.data()[i] = 1;
    for (index_t c = 0; c < 3; ++c)
      ramp.image.data()[3 * i + c] = static_cast<std::uint8_t>(c == 0 ? 4 * (i / w) : c == 1 ? 4 * (i % w) : 7);
  }
  for (const double degrees : {-10.0, 3.0, 10.0, 135.0}) {
    const Sample r = rotated(ramp, degrees, -1, grey);
    const double angle = degrees * std::acos(-1) / 180;
    index_t padding = 0;
    for (index_t y = 0; y < h; ++y)
      for (index_t x = 0; x < w; ++x) {
        const auto dy = static_cast<double>(y - h / 2), dx = static_cast<double>(x - w / 2);
        const double row = 20 + std::sin(angle) * dx + std::cos(angle) * dy, column = 30 + std::cos(angle) * dx - std::sin(angle) * dy;
        const bool inside = row > -0.5 && row < 40.5 && column > -0.5 && column < 60.5;
        REQUIRE(r.instance.at(y, x) == inside);
        if (!inside) {
          ++padding;
          REQUIRE(r.label.at(y, x) == -1);
          REQUIRE(r.image.at(y, x, 2) == 6);
          continue;
        }
        REQUIRE(r.label.at(y, x) == std::lround(row) * w + std::lround(column));
        REQUIRE(std::abs(r.image.at(y, x, 0) - 4 * std::clamp(row, 0.0, 40.0)) <= 0.51);
        REQUIRE(std::abs(r.image.at(y, x, 1) - 4 * std::clamp(column, 0.0, 60.0)) <= 0.51);
      }
    CHECK(padding > 0);
  }
}

TEST_CASE("deformed: vectors of a grid, bicubically, say where pixels come from") {
  const Sample s = coded(21, 31);
  const Rgb grey{9, 8, 6};
  CHECK(equal(deformed(s, zeros<double>({3, 3, 2}), 255, grey).image, s.image));
  // The same vector everywhere moves the sample.
  Tensor<double> vectors({3, 4, 2});
  for (index_t i = 0; i < 12; ++i) vectors.data()[2 * i] = -2, vectors.data()[2 * i + 1] = 5;
  const Sample moved = deformed(s, vectors, 255, grey), cut = cropped(s, -2, 5, 21, 31, 255, grey);
  CHECK(equal(moved.image, cut.image));
  CHECK(equal(moved.label, cut.label));
  CHECK(equal(moved.instance, cut.instance));
  // Vectors that are linear in place turn it.
  const double angle = 7.3 * std::acos(-1) / 180;
  vectors = Tensor<double>({3, 3, 2});
  for (index_t i = 0; i < 3; ++i)
    for (index_t j = 0; j < 3; ++j) {
      const double y = 10 * static_cast<double>(i - 1), x = 15 * static_cast<double>(j - 1);
      vectors.at(i, j, 0) = std::sin(angle) * x + std::cos(angle) * y - y;
      vectors.at(i, j, 1) = std::cos(angle) * x - std::sin(angle) * y - x;
    }
  const Sample bent = deformed(s, vectors, 255, grey), turned = rotated(s, 7.3, 255, grey);
  CHECK(equal(bent.label, turned.label));
  CHECK(max_difference(bent.image, turned.image) <= 1);
  // Weights are 1 in all, and at a node that node's; a quarter of the way from it: Keys' kernel at 5/4, 1/4, 3/4, 7/4.
  const std::vector<double> w = segnet::data::detail::cubic_weights(5, 17);
  for (index_t p = 0; p < 17; ++p) {
    double sum = 0;
    for (index_t n = 0; n < 5; ++n) sum += w[static_cast<std::size_t>(5 * p + n)];
    CHECK(sum == doctest::Approx(1));
    if (p % 4 == 0) CHECK(w[static_cast<std::size_t>(5 * p + p / 4)] == 1);
  }
  const double quarter[] = {0, -0.0703125, 0.8671875, 0.2265625, -0.0234375};
  for (std::size_t n = 0; n < 5; ++n) CHECK(w[5 * 9 + n] == doctest::Approx(quarter[n]));
  CHECK(contains(error_text<ShapeError>([&] { (void)deformed(s, zeros<double>({1, 3, 2}), 255, grey); }), "[1, 3, 2]"));
}

TEST_CASE("connected_objects: areas of one class by their sides") {
  const Labels label({3, 5}, {1, 1, 0, 2, 2,    //
                              0, 1, 2, 255, 2,  //
                              1, 0, 2, 2, 0});
  CHECK(equal(connected_objects(label, 255), Labels({3, 5}, {1, 1, 0, 2, 2,  //
                                                             0, 1, 3, 0, 2,  //
                                                             4, 0, 3, 3, 0})));
}

TEST_CASE("border_weights: the paper's formula by brute force, ignored pixels, and who is left out") {
  const index_t h = 30, w = 45;
  Labels objects = zeros<std::int32_t>({h, w}), label = zeros<std::int32_t>({h, w});
  for (std::int32_t object = 1; object <= 4; ++object) {
    const index_t y = segnet::testing::random().below(h - 8), x = segnet::testing::random().below(w - 8);
    for (index_t i = 0; i < 40; ++i) objects.at(y + i / 8, x + i % 8) = object;
  }
  for (index_t i = 0; i < h * w; ++i) label.data()[i] = objects.data()[i] > 0 ? objects.data()[i] % 2 + 1 : i % 11 == 0 ? 255 : 0;
  for (const bool inside : {false, true})
    for (const double sigma : {0.8, 5.0}) {
      INFO("sigma ", sigma, " inside ", inside);
      const BorderWeights options{.w0 = 10, .sigma = sigma, .inside = inside, .class_weight = {0.5f, 2, 3}};
      const Tensor<float> weights = border_weights(label, objects, 255, options);
      for (index_t p = 0; p < h * w; ++p) {
        double least[5] = {1e9, 1e9, 1e9, 1e9, 1e9};
        for (index_t q = 0; q < h * w; ++q) {
          const double dy = static_cast<double>(p / w - q / w), dx = static_cast<double>(p % w - q % w);
          double& d = least[objects.data()[q]];
          if (objects.data()[q]) d = std::min(d, std::sqrt(dy * dy + dx * dx));
        }
        std::sort(least, least + 5);
        const std::int32_t id = label.data()[p];
        double expected = id == 255 ? 0 : options.class_weight[static_cast<std::size_t>(id)];
        if (id != 255 && (inside || objects.data()[p] == 0))
          expected += 10 * std::exp(-(least[0] + least[1]) * (least[0] + least[1]) / (2 * sigma * sigma));
        REQUIRE(weights.data()[p] == doctest::Approx(expected).epsilon(1e-6));
      }
    }
  CHECK(equal(border_weights(label, zeros<std::int32_t>({h, w}), 7), ones<float>({h, w})));  // nothing there
  CHECK_THROWS_AS((void)border_weights(label, zeros<std::int32_t>({h, 1}), 255), ShapeError);
  CHECK_THROWS_AS((void)border_weights(label, objects, 255, {.sigma = 0}), ValueError);
  CHECK(contains(error_text<ValueError>([&] { (void)border_weights(label, objects, 255, {.class_weight = {1, 1}}); }), "0 to 1"));

  // Weights follow what is done to the sample; without instances they are of connected areas.
  Sample s = coded(h, w);
  s.label = label, s.instance = objects;
  Generator random{1, 0};
  Augmentation a{.rotation = 20, .crop_height = 20, .crop_width = 20, .border = BorderWeights{}};
  const Example e = augmented(s, a, random);
  CHECK(equal(e.weight, border_weights(e.label, e.instance, 255)));
  s.instance = {};
  const Example plain = augmented(s, {.border = BorderWeights{}}, random);
  CHECK(equal(plain.weight, border_weights(label, connected_objects(label, 255), 255)));
}

TEST_CASE("object_crop: an object in the middle of a square, other classes are background") {
  Sample s = coded(12, 16, 1);
  for (index_t i = 0; i < 12 * 16; ++i) s.label.data()[i] = 4, s.instance.data()[i] = 0;
  for (index_t y = 3; y < 8; ++y)
    for (index_t x = 1; x < 5; ++x) s.label.at(y, x) = 2, s.instance.at(y, x) = 7;
  s.label.at(3, 2) = 255, s.label.at(10, 1) = 2;
  // The box is 5 x 4: the square 6 x 6 from row 2, column 0, and 10 x 10 from row 0, column -2.
  const Sample crop = object_crop(s, 7, 6, 255, {9, 8, 6});
  for (index_t y = 0; y < 6; ++y)
    for (index_t x = 0; x < 6; ++x) {
      const std::int32_t was = s.label.at(y + 2, x);
      CHECK(crop.label.at(y, x) == (was == 4 ? 0 : was));
      CHECK(crop.instance.at(y, x) == s.instance.at(y + 2, x));
      CHECK(crop.image.at(y, x, 2) == 7);
    }
  const Sample wide = object_crop(s, 7, 20, 255, {9, 8, 6}, 2);
  CHECK(wide.image.shape() == Shape{20, 20, 3});
  CHECK(wide.label.at(10, 3) == 255);
  CHECK(wide.image.at(10, 2, 2) == 6);
  CHECK(wide.label.at(10, 8) == 2);
  CHECK(wide.label.at(19, 19) == 0);
  CHECK(contains(error_text<ValueError>([&] { (void)object_crop(s, 1, 6, 255, {}); }), "one of 1 objects"));

  // Each object as often as the other; the whole sample where there is none.
  for (index_t y = 3; y < 8; ++y) s.label.at(y, 9) = 3, s.instance.at(y, 9) = 1;
  Generator random{segnet::testing::run_seed(), 0};
  int threes = 0;
  for (int i = 0; i < 200; ++i) threes += augmented(s, {.object = 8}, random).label.at(4, 4) == 3;
  CHECK(threes > 60);
  CHECK(threes < 140);
  s.instance = zeros<std::int32_t>({12, 16});
  CHECK(equal(augmented(s, {.object = 8}, random).label, resized(s, 8, 8).label));
}

TEST_CASE("blurred: a point becomes the Gaussian, what is even stays") {
  Bytes point = zeros<std::uint8_t>({15, 15, 3});
  for (index_t c = 0; c < 3; ++c) point.at(7, 7, c) = 255;
  const Bytes b = blurred(point, 1.1);
  double sum = 0;
  for (int d = -4; d <= 4; ++d) sum += std::exp(-d * d / (2 * 1.21));
  for (index_t y = 0; y < 15; ++y)
    for (index_t x = 0; x < 15; ++x) {
      const auto square = static_cast<double>((y - 7) * (y - 7) + (x - 7) * (x - 7));
      CHECK(std::abs(b.at(y, x, 1) - 255 * std::exp(-square / (2 * 1.21)) / (sum * sum)) <= 0.51);
    }
  const Bytes even = full<std::uint8_t>({4, 3, 3}, 200), image = coded(6, 7).image;
  CHECK(equal(blurred(even, 2), even));
  CHECK(equal(blurred(image, 0), image));
  CHECK_THROWS_AS((void)blurred(image, -1), ValueError);
}

TEST_CASE("augmented: rotations within their range, blur as often as asked for, elastic vectors; none draws where it is off") {
  const Sample s = coded(21, 21);
  Generator random{segnet::testing::run_seed(), 0};
  double most = 0;
  int blurs = 0;
  for (int i = 0; i < 300; ++i) {
    Generator again = random;
    Augmentation a{.rotation = 10, .elastic = 2, .blur = 0.25};
    a.normalization = RAW;
    const Example e = augmented(s, a, random);
    for (int drawn = 0; drawn < 4; ++drawn) (void)again.uniform();  // scale, crop, flip
    const double degrees = again.uniform(-10, 10);
    most = std::max(most, std::abs(degrees));
    const bool blur = again.uniform() < 0.25;
    const Tensor<double> vectors = random_normal<double>({3, 3, 2}, again, 0, 2);
    const Sample turned = deformed(rotated(s, degrees, 255, {0, 0, 0}), vectors, 255, {0, 0, 0});
    REQUIRE(equal(e.label, turned.label));
    blurs += blur;
    REQUIRE(equal(e.image, normalized(blur ? blurred(turned.image, 1.1) : turned.image, RAW)));
    REQUIRE(again.offset == random.offset);
  }
  CHECK(most > 9);
  CHECK(blurs > 45);
  CHECK(blurs < 105);
  Generator plain{1, 0};
  (void)augmented(s, {}, plain);
  CHECK(plain.offset == 4);
}

TEST_CASE("augmented: geometry moves labels with pixels") {
  for (int round = 0; round < 40; ++round) {
    const Sample s = coded(9, 13);
    Augmentation a{.crop_height = 6, .crop_width = 17, .flip = 0.5};
    a.normalization = RAW;
    a.ignore_index = 11;
    Generator random{static_cast<std::uint64_t>(round), 0}, again = random;
    const Example e = augmented(s, a, random);
    REQUIRE(e.image.shape() == Shape{6, 17, 3});
    int padding = 0;
    for (index_t y = 0; y < 6; ++y)
      for (index_t x = 0; x < 17; ++x) {
        if (e.image.at(y, x, 2) == 7) {
          REQUIRE(e.image.at(y, x, 0) == static_cast<float>(e.label.at(y, x)));
          REQUIRE(e.image.at(y, x, 1) == static_cast<float>(e.instance.at(y, x)));
        } else {
          REQUIRE(e.label.at(y, x) == 11);
          REQUIRE(e.image.at(y, x, 0) == 0);  // the mean colour
          ++padding;
        }
      }
    CHECK(padding == 6 * 4);  // 13 of 17 columns are the image, all rows are inside it
    const Example same = augmented(s, a, again);
    CHECK(equal(same.image, e.image));
    CHECK(equal(same.label, e.label));
  }
}

TEST_CASE("augmented: scale range, probability of flips, where crops lie") {
  const Sample s = coded(10, 20);
  Generator random{segnet::testing::run_seed(), 0};
  Augmentation scale{.min_scale = 0.5, .max_scale = 2};
  index_t least = 100, most = 0;
  for (int i = 0; i < 300; ++i) {
    const index_t width = augmented(s, scale, random).image.dim(1);
    least = std::min(least, width), most = std::max(most, width);
  }
  CHECK(least >= 10);
  CHECK(least <= 12);
  CHECK(most <= 40);
  CHECK(most >= 38);

  int flips = 0, first[3] = {};
  for (int i = 0; i < 600; ++i) flips += equal(augmented(s, {.flip = 0.25}, random).label, s.label) ? 0 : 1;
  CHECK(flips > 90);
  CHECK(flips < 210);
  for (int i = 0; i < 600; ++i) {
    const Example e = augmented(s, {.crop_height = 8, .crop_width = 20}, random);
    for (index_t top = 0; top < 3; ++top) first[top] += equal(e.label, cropped(s, top, 0, 8, 20, 0, {}).label);
  }
  CHECK(first[0] + first[1] + first[2] == 600);
  for (int count : first) CHECK(count > 120);

  CHECK(contains(error_text<ValueError>([&] { (void)augmented(s, {.crop_height = 8, .crop_width = 21, .pad = false}, random); }),
                 "expected at most the image, 10 x 20 (height x width), without padding, got 8 x 21"));
  CHECK_NOTHROW((void)augmented(s, {.crop_height = 10, .crop_width = 20, .pad = false}, random));
}

TEST_CASE("jitter_colours: ranges, and what must not change") {
  Generator random{segnet::testing::run_seed(), 0};
  const Bytes image = integers<std::uint8_t>({6, 6, 3}, 0, 255);
  const Bytes none = image.clone();
  for (int i = 0; i < 20; ++i) jitter_colours(none, {}, random);
  CHECK(equal(none, image));

  int changed = 0;
  for (int i = 0; i < 200; ++i) {
    const Bytes bright = full<std::uint8_t>({1, 1, 3}, 100);
    jitter_colours(bright, {.brightness = 32}, random);
    CHECK(std::abs(bright.data()[0] - 100) <= 32);
    changed += bright.data()[0] != 100;

    Bytes grey = full<std::uint8_t>({1, 1, 3}, 100);  // grey has no hue and no saturation
    jitter_colours(grey, {.saturation = 0.5f, .hue = 36}, random);
    CHECK(equal(grey, full<std::uint8_t>({1, 1, 3}, 100)));
    jitter_colours(grey, {.contrast = 0.5f}, random);
    CHECK(grey.data()[0] >= 50);
    CHECK(grey.data()[0] <= 150);

    Bytes colour({1, 1, 3}, {200, 100, 50});  // hue and saturation keep the largest channel's level, the value of HSV
    jitter_colours(colour, {.saturation = 0.5f, .hue = 36}, random);
    CHECK(std::max({colour.data()[0], colour.data()[1], colour.data()[2]}) == 200);
  }
  CHECK(changed > 60);
  CHECK(changed < 140);

  // A third of a turn permutes the channels; found among many draws, as the angle is random.
  bool turned = false;
  for (int i = 0; i < 4000 && !turned; ++i) {
    Bytes colour({1, 1, 3}, {200, 100, 50});
    jitter_colours(colour, {.hue = 125}, random);
    turned = max_difference(colour, Bytes({1, 1, 3}, {50, 200, 100})) <= 4;  // 0.04 of the draws come so close
  }
  CHECK(turned);

  // `augmented` does not write into the sample's own image.
  const Sample s = coded(4, 4);
  const Bytes before = s.image.clone();
  for (int i = 0; i < 10; ++i) (void)augmented(s, {.colours = ColourJitter::usual()}, random);
  CHECK(equal(s.image, before));
}
