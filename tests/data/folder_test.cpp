#include "segnet/data/folder.hpp"

#include "segnet/data/camvid.hpp"
#include "segnet/data/cityscapes.hpp"
#include "segnet/data/class_weights.hpp"
#include "segnet/data/proposals.hpp"
#include "segnet/data/voc.hpp"
#include "support/files.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {
using Labels = Tensor<std::int32_t>;
using Bytes = Tensor<std::uint8_t>;

const DatasetInfo TWO_CLASSES{{"cat", "dog"}, voc_palette(2), 255};

void save_pair(const TemporaryFolder& folder, const std::string& image, const std::string& mask, const Shape& size = {2, 3}) {
  write_png(folder / image, integers<std::uint8_t>({size[0], size[1], 3}, 0, 255));
  write_label_map(folder / mask, integers<std::int32_t>(size, 0, 1));
}
}  // namespace

TEST_CASE("FolderPairs: images and masks meet by name") {
  const TemporaryFolder folder;
  for (const char* stem : {"b", "a", "c.d"}) save_pair(folder, concat("images/", stem, ".png"), concat("masks/", stem, ".png"));
  save(folder / "images/notes.txt", "not an image");
  save(folder / "images/.hidden.png", "");
  const FolderPairs pairs(folder / "images", folder / "masks", TWO_CLASSES);
  REQUIRE(pairs.size() == 3);
  CHECK(pairs.name(0) == "a");
  CHECK(pairs.name(2) == "c.d");
  CHECK(pairs.info().classes == TWO_CLASSES.classes);
  const Sample b = pairs.get(1);
  CHECK(b.name == "b");
  CHECK(equal(b.image, read_image(folder / "images/b.png")));
  CHECK(equal(b.label, read_label_map(folder / "masks/b.png")));
  CHECK_FALSE(b.instance);

  const Dataset dataset = pairs;
  CHECK(dataset.size() == 3);
  CHECK(dataset.name(1) == "b");
  CHECK(equal(dataset.get(1).image, b.image));
  CHECK(contains(error_text<ValueError>([&] { (void)dataset.get(3); }), "expected a number from 0 to 2, got 3"));
  const Dataset last = Subset(dataset, {2, 0});
  CHECK(last.size() == 2);
  CHECK(last.get(0).name == "c.d");
  CHECK(Subset::first(dataset, 2).name(1) == "b");
  CHECK(Subset::first(dataset, 9).size() == 3);
  CHECK_THROWS_AS(Subset(dataset, {3}), ValueError);
}

TEST_CASE("FolderPairs: suffixes, remapped ids, painted masks") {
  const TemporaryFolder folder;
  save_pair(folder, "i/ulm_01_left.png", "m/ulm_01_ids.png");
  write_label_map(folder / "m/ulm_01_ids.png", Labels({2, 3}, {0, 1, 2, 3, 7, 8}));
  FolderOptions options{.image_suffix = "_left", .mask_suffix = "_ids"};
  options.remap = {255, 255, 0, 1};
  const FolderPairs pairs(folder / "i", folder / "m", TWO_CLASSES, options);
  CHECK(pairs.name(0) == "ulm_01");
  CHECK(equal(pairs.get(0).label, Labels({2, 3}, {255, 255, 0, 1, 7, 8})));

  write_png(folder / "m/ulm_01_ids.png", Bytes({2, 3, 3}, {0, 0, 0, 128, 0, 0, 0, 0, 0, 9, 9, 9, 0, 0, 0, 0, 0, 0}));
  options.remap.clear();
  options.colour_masks = true;
  CHECK(equal(FolderPairs(folder / "i", folder / "m", TWO_CLASSES, options).get(0).label, Labels({2, 3}, {0, 1, 0, 255, 0, 0})));
}

TEST_CASE("FolderPairs: what is wrong with the folders is said at once") {
  const TemporaryFolder folder;
  const auto refused = [&] { return error_text<IoError>([&] { FolderPairs(folder / "images", folder / "masks", TWO_CLASSES); }); };
  CHECK(contains(refused(), "images: cannot list the folder: No such file or directory"));
  std::filesystem::create_directory(folder / "images");
  CHECK(contains(refused(), "images: the folder has no files *.png, *.jpg, *.jpeg, *.bmp"));
  for (int i = 0; i < 7; ++i) save_pair(folder, concat("images/", i, ".png"), concat("masks/m", i, ".png"));
  CHECK(contains(refused(),
                 concat("images: 7 of 7 images have no mask (.png) in ", folder / "masks", ": 0.png, 1.png, 2.png, 3.png, 4.png, ...")));
  for (int i = 0; i < 7; ++i) save_pair(folder, concat("images/", i, ".png"), concat("masks/", i, ".png"));
  CHECK(contains(refused(), concat("masks: 7 of 14 masks have no image in ", folder / "images", ": m0.png")));
  for (int i = 0; i < 7; ++i) std::filesystem::remove(folder / concat("masks/m", i, ".png"));
  CHECK(FolderPairs(folder / "images", folder / "masks", TWO_CLASSES).size() == 7);

  save_pair(folder, "other.png", "masks/3.png", {3, 2});
  const FolderPairs pairs(folder / "images", folder / "masks", TWO_CLASSES);
  CHECK(contains(error_text<IoError>([&] { (void)pairs.get(3); }),
                 concat("masks/3.png: has 2 x 3 pixels, but its image ", folder / "images/3.png", " has 3 x 2")));
  save(folder / "images/5.png", "nonsense");
  CHECK(contains(error_text<IoError>([&] { (void)pairs.get(5); }), "images/5.png: is not an image"));
  save_pair(folder, "images/6.jpg", "masks/6.png");
  CHECK(contains(refused(), "two files are called 6"));
}

TEST_CASE("read_classes") {
  const TemporaryFolder folder;
  save(folder / "classes.txt", "# my classes\nroad 128 64 128\r\n\n  traffic light  \nsky");
  const DatasetInfo info = read_classes(folder / "classes.txt");
  CHECK(info.classes == std::vector<std::string>{"road", "traffic light", "sky"});
  CHECK(info.palette == Palette{{128, 64, 128}, {128, 0, 0}, {0, 128, 0}});
  save(folder / "classes.txt", "road 128 64 256");
  CHECK(contains(error_text<IoError>([&] { (void)read_classes(folder / "classes.txt"); }), "line 1: 256 is not between 0 and 255"));
  save(folder / "classes.txt", "\n# nothing\n");
  CHECK(contains(error_text<IoError>([&] { (void)read_classes(folder / "classes.txt"); }), "names no classes"));
}

TEST_CASE("read_proposals: windows by the name of their picture, in their order") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    save(folder / "windows.txt", text);
    return read_proposals(folder / "windows.txt");
  };
  const Proposals found = read("# edge boxes\n3 1 20 10 a\n\n  0 0\t5 6  b c.d \r\n0 2 7 8 a");
  REQUIRE(found.size() == 2);
  CHECK(found.at("a") == std::vector<segnet::models::Window>{{1, 3, 10, 20}, {2, 0, 8, 7}});
  CHECK(found.at("b c.d") == std::vector<segnet::models::Window>{{0, 0, 6, 5}});
  for (const char* line : {"1 2 3 4", "1 2 3 a", "1 2 3 4.5 a", "1 2 3 4a", "-1 0 2 2 a", "0 0 0 2 a", "0 0 2 -2 a", "a 1 2 3 4"})
    CHECK(contains(
        error_text<IoError>([&] { (void)read(concat("0 0 5 6 a\n#\n", line, "\n")); }),
        concat("windows.txt: line 3: expected LEFT TOP WIDTH HEIGHT NAME, the first two at least 0, then at least 1, got '", line, "'")));
  CHECK(contains(error_text<IoError>([&] { (void)read("# none\n"); }), "holds no windows"));
  CHECK_THROWS_AS((void)read_proposals(folder / "nowhere.txt"), IoError);
}

TEST_CASE("Windows: each a sample of its own, cropped and resized; one outside of its picture is named") {
  const TemporaryFolder folder;
  for (const char* stem : {"a", "b", "c"}) save_pair(folder, concat("i/", stem, ".png"), concat("m/", stem, ".png"), {6, 8});
  const Dataset pairs = FolderPairs(folder / "i", folder / "m", TWO_CLASSES);
  const Windows windows(pairs, {{"a", {{1, 2, 4, 4}, {2, 0, 2, 8}}}, {"c", {{3, 3, 4, 4}}}, {"other", {{0, 0, 1, 1}}}}, 4);
  REQUIRE(windows.size() == 3);
  CHECK(windows.pictures() == 2);
  CHECK(windows.info().classes == TWO_CLASSES.classes);
  CHECK(windows.name(1) == "a, 2 x 8 pixels (height x width) from row 2, column 0 on");
  const Sample a = pairs.get(0), first = windows.get(0), wide = windows.get(1);
  for (index_t y = 0; y < 4; ++y)
    for (index_t x = 0; x < 4; ++x) {
      CHECK(first.label.at(y, x) == a.label.at(y + 1, x + 2));
      for (index_t c = 0; c < 3; ++c) CHECK(first.image.at(y, x, c) == a.image.at(y + 1, x + 2, c));
      CHECK(wide.label.at(y, x) == a.label.at(2 + y / 2, 2 * x + 1));  // the nearest pixel
    }
  CHECK(wide.image.shape() == Shape{4, 4, 3});
  CHECK(contains(error_text<ValueError>([&] { (void)windows.get(2); }),
                 "inside of the 6 x 8 pixels of 'c', got 4 x 4 pixels (height x width) from row 3, column 3 on"));
  CHECK(contains(error_text<ValueError>([&] { (void)Windows(pairs, {{"0.9 a", {{0, 0, 1, 1}}}}, 4); }),
                 "windows of 'a' or another of the 3 samples, got those of others, such as '0.9 a'"));
  CHECK_THROWS_AS(Windows(pairs, {{"a", {{0, 0, 1, 1}}}}, 0), ValueError);
}

TEST_CASE("camvid: its folders, classes and weights") {
  const TemporaryFolder folder;
  save_pair(folder, "val/0016E5_07959.png", "valannot/0016E5_07959.png");
  const FolderPairs val = camvid(folder.path().string(), Split::val);
  CHECK(val.size() == 1);
  CHECK(val.get(0).name == "0016E5_07959");
  CHECK(val.info().num_classes() == 11);
  CHECK(val.info().palette.size() == 11);
  CHECK(val.info().ignore_index == 11);
  CHECK(val.info().classes[10] == "bicyclist");
  CHECK(contains(error_text<IoError>([&] { (void)camvid(folder.path().string(), Split::test); }), "/test: cannot list the folder"));
}

TEST_CASE("cityscapes: cities, ids as classes, what is missing") {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  const auto refused = [&] { return error_text<IoError>([&] { (void)cityscapes(root, Split::val); }); };
  CHECK(contains(refused(), "leftImg8bit/val: cannot list the folder: No such file or directory"));
  save(folder / "leftImg8bit/val/license.txt", "");
  CHECK(contains(refused(), "leftImg8bit/val: has no folders of cities"));
  const auto add = [&](const std::string& city, const std::string& name, const Labels& ids) {
    write_png(folder / concat("leftImg8bit/val/", city, "/", name, "_leftImg8bit.png"),
              integers<std::uint8_t>({ids.dim(0), ids.dim(1), 3}, 0, 255));
    for (const char* kind : {"gtFine_labelIds", "gtFine_instanceIds", "gtFine_color", "gtCoarse_labelIds"})
      write_label_map(
          folder / concat(std::string(kind).substr(0, std::string(kind).find('_')), "/val/", city, "/", name, "_", kind, ".png"), ids);
  };
  Labels all({1, 34});
  for (index_t id = 0; id < 34; ++id) all.data()[id] = static_cast<std::int32_t>(id);
  add("munster", "munster_000000_000019", all);
  add("frankfurt", "frankfurt_000001_000019", Labels({1, 2}, {7, 255}));
  add("frankfurt", "frankfurt_000000_000294", Labels({1, 2}, {34, 8}));

  const FolderPairs val = cityscapes(root, Split::val);
  REQUIRE(val.size() == 3);
  CHECK(val.name(0) == "frankfurt_000000_000294");
  CHECK(val.name(2) == "munster_000000_000019");
  const auto& info = val.info();
  CHECK(info.num_classes() == 19);
  CHECK(info.palette.size() == 19);
  CHECK(info.ignore_index == 255);
  CHECK(info.classes[16] == "train");
  CHECK(equal(val.get(1).label, Labels({1, 2}, {0, 255})));
  CHECK(equal(val.get(0).label, Labels({1, 2}, {34, 1})));  // no id of Cityscapes: left for the check of labels
  CHECK(contains(error_text<ValueError>([&] { check_labels(val.get(0), info); }), "a class from 0 to 18, or 255 (ignored), got 34"));
  // Classes are the ids that count, in order.
  const Labels label = val.get(2).label;
  std::int32_t next = 0;
  for (const index_t id : {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}) CHECK(label.at(0, id) == next++);
  CHECK(std::count(label.data(), label.data() + 34, 255) == 34 - 19);
  CHECK(cityscapes(root, Split::val, {.annotations = "gtCoarse"}).size() == 3);
  CHECK(contains(error_text<IoError>([&] { (void)cityscapes(root, Split::val, {.annotations = "gt"}); }), "gt/val/frankfurt: cannot list"));

  std::filesystem::remove(folder / "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png");
  add("munster", "munster_000001_000019", Labels({1, 1}, {7}));
  CHECK(contains(refused(), concat("1 of 2 images have no mask (.png) in ", folder / "gtFine/val/munster",
                                   ": munster_000000_000019_leftImg8bit.png")));
}

TEST_CASE("voc: the ids of a list") {
  const TemporaryFolder folder;
  save(folder / "ImageSets/Segmentation/val.txt", "2007_000033\n2007_000042\r\n");
  for (const char* id : {"2007_000033", "2007_000042"})
    save_pair(folder, concat("JPEGImages/", id, ".jpg"), concat("SegmentationClass/", id, ".png"));
  write_label_map(folder / "SegmentationClass/2007_000042.png", Labels({1, 3}, {0, 255, 20}), voc_palette());
  write_label_map(folder / "SegmentationObject/2007_000042.png", Labels({1, 3}, {0, 255, 2}), voc_palette());
  write_png(folder / "JPEGImages/2007_000042.jpg", integers<std::uint8_t>({1, 3, 3}, 0, 255));
  const std::string root = folder.path().string();
  const FolderPairs val = voc(root, "val");
  CHECK(val.size() == 2);
  CHECK(val.info().num_classes() == 21);
  CHECK(val.info().classes[20] == "tvmonitor");
  CHECK(equal(val.get(1).label, Labels({1, 3}, {0, 255, 20})));
  CHECK_FALSE(val.get(1).instance);
  CHECK(equal(voc(root, "val", {.instances = true}).get(1).instance, Labels({1, 3}, {0, 0, 2})));
  CHECK(contains(error_text<IoError>([&] { (void)voc(root, "train"); }), "ImageSets/Segmentation/train.txt: cannot open"));
  save(folder / "ImageSets/Segmentation/train.txt", " \n");
  CHECK(contains(error_text<IoError>([&] { (void)voc(root, "train"); }), "lists no images"));
}

TEST_CASE("median_frequency_weights: by the definition, and CamVid's pixel counts") {
  LabelCounts counts(3);
  counts.add(Labels({2, 2}, {0, 0, 0, 1}));  // 4 pixels
  counts.add(Labels({1, 2}, {0, 255}));      // 2 pixels, one ignored
  CHECK(counts.pixels == std::vector<index_t>{4, 1, 0});
  CHECK(counts.images == std::vector<index_t>{2, 1, 0});
  CHECK(counts.image_pixels == std::vector<index_t>{6, 4, 0});
  // f = 4/6 and 1/4; the median of two is their mean, 11/24.
  CHECK(median_frequency_weights(counts) == std::vector<float>{11.0f / 16, 11.0f / 6, 0});
  CHECK(median_frequency_weights(counts, Frequency::over_pixels) == std::vector<float>{5.0f / 8, 5.0f / 2, 0});
  CHECK(median_frequency_weights(LabelCounts(2)) == std::vector<float>{0, 0});
  CHECK(enet_weights(counts)[0] == doctest::Approx(1 / std::log(1.82)));
  CHECK(enet_weights(counts)[2] == doctest::Approx(1 / std::log(1.02)));

  LabelCounts train(11);
  train.pixels = {10682767, 14750079, 623349, 20076880, 2845085, 6166762, 743859, 714595, 3719877, 405385, 184967};
  train.all_pixels = 367 * 360 * 480;
  const auto weights = median_frequency_weights(train, Frequency::over_pixels);
  const double expected[] = {.2663, .1929, 4.5642, .1417, 1.0000, .4614, 3.8248, 3.9814, .7648, 7.0182, 15.3816};
  for (std::size_t c = 0; c < 11; ++c) CHECK(weights[c] == doctest::Approx(expected[c]).epsilon(2e-4));
}
