#include "segnet/data/scenes.hpp"

#include <map>
#include <set>

#include "segnet/data/check.hpp"
#include "support/files.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {

/// Pictures that need no file: of class c, a block whose brightness is 100 + 10 c, in the middle of the 28 x 28 pixels.
FashionMnist blocks(index_t count = 120) {
  FashionMnist data{zeros<std::uint8_t>({count, 28, 28}), Tensor<std::uint8_t>({count})};
  for (index_t i = 0; i < count; ++i) {
    data.labels.data()[i] = static_cast<std::uint8_t>(i % 10);
    for (index_t y = 4; y < 24; ++y)
      for (index_t x = 6; x < 22; ++x) data.images.at(i, y, x) = static_cast<std::uint8_t>(100 + 10 * (i % 10));
  }
  return data;
}

bool same(const Sample& a, const Sample& b) { return equal(a.image, b.image) && equal(a.label, b.label) && equal(a.instance, b.instance); }

std::string gz(std::string_view bytes, const std::string& path) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return path;
}

}  // namespace

TEST_CASE("Scenes: scene i is a pure function of seed, split and i") {
  const FashionMnist data = blocks();
  const Scenes a(Split::train, {.size = 64, .seed = 3}, data), b(Split::train, {.size = 64, .seed = 3}, data);
  for (index_t i : {5, 0, 19999}) CHECK(same(a.get(i), b.get(i)));
  CHECK_FALSE(same(a.get(0), a.get(1)));
  CHECK_FALSE(same(a.get(0), Scenes(Split::train, {.size = 64, .seed = 4}, data).get(0)));
  CHECK_FALSE(same(a.get(0), Scenes(Split::val, {.size = 64, .seed = 3}, data).get(0)));
  CHECK(a.get(7).name == "train_000007");
  CHECK(a.size() == 20000);
  CHECK(Scenes(Split::val, {}, data).size() == 500);
  CHECK(Scenes(Split::test, {.count = 12}, data).size() == 12);
}

TEST_CASE("Scenes: labels, instances and classes agree") {
  const Scenes scenes(Split::train, {.size = 96, .seed = run_seed()}, blocks());
  CHECK(scenes.info().num_classes() == 16);
  CHECK(scenes.info().palette.size() == 16);
  CHECK(scenes.info().classes[8] == "bag");
  CHECK(scenes.info().classes[15] == "clouds");
  std::set<std::int32_t> classes;
  index_t garment_pixels = 0, pixels = 0;
  for (index_t i = 0; i < 60; ++i) {
    INFO("seed ", run_seed(), ", scene ", i);
    const Sample s = scenes.get(i);
    REQUIRE(s.image.shape() == Shape{96, 96, 3});
    std::map<std::int32_t, std::int32_t> class_of;
    std::set<std::int32_t> ground;
    for (index_t p = 0; p < s.label.numel(); ++p) {
      const std::int32_t label = s.label.data()[p], instance = s.instance.data()[p];
      REQUIRE(label >= 0);
      REQUIRE(label < 16);
      REQUIRE((instance > 0) == (label < 10));  // garments are the things
      classes.insert(label);
      if (instance == 0) {
        ground.insert(label);
        continue;
      }
      REQUIRE(class_of.emplace(instance, label).first->second == label);  // one class an instance
      ++garment_pixels;
    }
    pixels += s.label.numel();
    CHECK(class_of.size() >= 1);
    CHECK(class_of.size() <= 9);
    CHECK(ground.size() >= 1);
    CHECK(ground.size() <= 4);
  }
  CHECK(classes.size() == 16);
  CHECK(garment_pixels > pixels / 8);
  CHECK(garment_pixels < pixels * 2 / 3);
}

TEST_CASE("Scenes: the last garment painted covers the others exactly") {
  // Two garments nearly on one another: where the second is, it hides the first; both keep the shape of a turned block.
  const ScenesOptions options{
      .size = 128, .seed = 1, .min_objects = 2, .max_objects = 2, .min_side = 0.5, .max_side = 0.5, .spacing = 0.01, .rotation = 0};
  const Scenes scenes(Split::train, options, blocks());
  const index_t whole = 64 * 64 * 20 * 16 / (28 * 28);  // pixels of one block
  int overlapping = 0;
  for (index_t i = 0; i < 40; ++i) {
    const Sample s = scenes.get(i);
    index_t first = 0, second = 0;
    for (index_t p = 0; p < s.instance.numel(); ++p) first += s.instance.data()[p] == 1, second += s.instance.data()[p] == 2;
    if (second == 0 || std::abs(static_cast<double>(second) / static_cast<double>(whole) - 1) > 0.12) continue;  // reaches over the border
    if (first < whole * 3 / 4) ++overlapping;
    CHECK(first <= whole * 12 / 10);
  }
  CHECK(overlapping > 3);
}

TEST_CASE("Scenes: garments stand out against the ground") {
  // Where a garment begins, colours must change more than within the ground on average.
  const Scenes scenes(Split::train, {.seed = run_seed(), .noise = 0}, blocks());
  double across = 0;
  index_t borders = 0;
  for (index_t i = 0; i < 20; ++i) {
    const Sample s = scenes.get(i);
    for (index_t y = 0; y < 128; ++y)
      for (index_t x = 4; x < 124; ++x) {
        if (s.instance.at(y, x) == 0 || s.instance.at(y, x - 1) != 0) continue;
        double distance = 0;
        for (index_t c = 0; c < 3; ++c) distance += std::abs(s.image.at(y, x + 3, c) - s.image.at(y, x - 4, c));
        across += distance;
        ++borders;
      }
  }
  CHECK(borders > 1000);
  CHECK(across / static_cast<double>(borders) > 90);  // levels, summed over the channels
}

TEST_CASE("Scenes: no picture is in two splits") {
  // Pictures that tell which they are: training pictures 0 to 109 of 120 are of class 0, the others, for val, of class 1.
  FashionMnist data = blocks(120);
  for (index_t i = 0; i < 120; ++i) data.labels.data()[i] = i < 110 ? 0 : 1;
  for (const auto& [split, wanted] : {std::pair{Split::train, 0}, {Split::val, 1}}) {
    const Scenes scenes(split, {.size = 64}, data);
    for (index_t n = 0; n < 30; ++n) {
      const Sample s = scenes.get(n);
      for (index_t p = 0; p < s.label.numel(); ++p) REQUIRE((s.label.data()[p] == wanted || s.label.data()[p] >= 10));
    }
  }
}

TEST_CASE("Scenes: options out of range") {
  const FashionMnist data = blocks();
  const auto refused = [&](const ScenesOptions& options) { return error_text<ValueError>([&] { Scenes(Split::train, options, data); }); };
  CHECK(contains(refused({.size = 8}), "'size': expected 16 to 4096, got 8"));
  CHECK(contains(refused({.count = -1}), "'count'"));
  CHECK(contains(refused({.min_objects = 5, .max_objects = 4}), "5 to 4"));
  CHECK(contains(refused({.min_side = 0.5, .max_side = 0.2}), "'max_side'"));
  CHECK(contains(refused({.min_regions = 0}), "'max_regions'"));
  CHECK(contains(refused({.max_regions = 7}), "2 to 7"));
  CHECK_NOTHROW((void)Scenes(Split::train, {.size = 16, .min_objects = 0, .max_objects = 0}, data).get(0));
  CHECK_NOTHROW((void)Scenes(Split::train, ScenesOptions::hard(), data).get(0));
}

TEST_CASE("load_fashion_mnist: what is missing or wrong is said") {
  const TemporaryFolder folder;
  const auto refused = [&] { return error_text<IoError>([&] { (void)load_fashion_mnist(false, folder.path().string()); }); };
  CHECK(contains(refused(), "t10k-images-idx3-ubyte.gz: cannot open: install the Debian package dataset-fashion-mnist"));
  const std::string header = std::string("\0\0\x08\x03", 4) + big_endian(10000) + big_endian(28) + big_endian(28);
  const std::string images = folder / "t10k-images-idx3-ubyte.gz", labels = folder / "t10k-labels-idx1-ubyte.gz";
  gz(header, images);
  CHECK(contains(refused(), "ends too early"));
  gz(std::string("\0\0\x08\x01", 4) + big_endian(10000), images);
  CHECK(contains(refused(), "is not an IDX file of bytes in 3 dimensions"));
  gz(std::string("\0\0\x08\x03", 4) + big_endian(100) + big_endian(28) + big_endian(28), images);
  CHECK(contains(refused(), "size 100 in dimension 0; Fashion-MNIST has [10000, 28, 28]"));
  gz(header + std::string(10000 * 784, '\x05'), images);
  gz(std::string("\0\0\x08\x01", 4) + big_endian(10000) + std::string(9999, '\x02') + '\x0a', labels);
  CHECK(contains(refused(), "label 10 of picture 9999 is above 9"));
  gz(std::string("\0\0\x08\x01", 4) + big_endian(10000) + std::string(10000, '\x02'), labels);
  CHECK(load_fashion_mnist(false, folder.path().string()).images.at(9999, 27, 27) == 5);
  std::string cut = load(images);
  save(images, cut.substr(0, cut.size() / 2));
  CHECK(contains(refused(), "damaged file"));

  ::setenv("SEGNET_FASHION_MNIST", "/elsewhere", 1);
  CHECK(fashion_mnist_folder() == "/elsewhere");
  CHECK(fashion_mnist_folder("/here") == "/here");
  ::unsetenv("SEGNET_FASHION_MNIST");
}

TEST_CASE("load_fashion_mnist: the package's files") {
  if (!std::filesystem::exists(fashion_mnist_folder() + "/t10k-images-idx3-ubyte.gz")) {
    MESSAGE("skipped: the package dataset-fashion-mnist is not installed");
    return;
  }
  const FashionMnist test = load_fashion_mnist(false);
  int count[10] = {};
  for (index_t i = 0; i < 10000; ++i) ++count[test.labels.data()[i]];
  for (const int n : count) CHECK(n == 1000);
  const CheckReport report = check(Scenes(Split::test, {.count = 60}, test));
  CHECK(report.ok());
  CHECK(report.hints.empty());
}
