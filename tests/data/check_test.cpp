#include "segnet/data/check.hpp"

#include "segnet/data/folder.hpp"
#include "support/files.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {
using Labels = Tensor<std::int32_t>;

/// A folder data set of these masks, with images to match.
FolderPairs masks(const TemporaryFolder& folder, const std::vector<Labels>& labels, DatasetInfo info) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    write_png(folder / concat("images/", i, ".png"), integers<std::uint8_t>({labels[i].dim(0), labels[i].dim(1), 3}, 0, 255));
    write_label_map(folder / concat("masks/", i, ".png"), labels[i]);
  }
  return {folder / "images", folder / "masks", std::move(info)};
}
}  // namespace

TEST_CASE("check: a good data set is counted") {
  const TemporaryFolder folder;
  const CheckReport report = check(masks(folder, {Labels({2, 2}, {0, 0, 1, 255}), Labels({1, 3}, {1, 1, 1})}, {{"cat", "dog"}, {}, 255}));
  CHECK(report.ok());
  CHECK(report.hints.empty());
  CHECK(report.counts.pixels == std::vector<index_t>{2, 4});
  CHECK(report.counts.images == std::vector<index_t>{1, 2});
  CHECK(report.ignored_pixels == 1);
  const std::string text = to_string(report);
  CHECK(contains(text, "2 samples can be used, 2 x 1 to 3 x 2 pixels (width x height)"));
  CHECK(contains(text, "   1  dog                            4  57.143%        2\n"));
  CHECK(contains(text, "      ignored                        1  14.286%\n"));
}

TEST_CASE("check: unknown labels, broken and unequal files are named") {
  const TemporaryFolder folder;
  const FolderPairs pairs =
      masks(folder, {Labels({1, 4}, {0, 2, 2, 9}), Labels({1, 2}, {0, 0}), Labels({1, 1}, {0}), Labels({1, 2}, {0, 255})},
            {{"cat", "dog"}, {}, 255});
  save(folder / "images/1.png", "broken");
  write_label_map(folder / "masks/2.png", Labels({1, 2}, {0, 0}));
  const CheckReport report = check(pairs);
  CHECK_FALSE(report.ok());
  REQUIRE(report.problems.size() == 3);
  CHECK(report.problems[0].name == "0");
  CHECK(report.problems[0].what == "labels that are neither a class, 0 to 1, nor the ignored 255: 2 (2 pixels), 9 (1 pixels)");
  CHECK(contains(report.problems[1].what, "images/1.png: is not an image"));
  CHECK(contains(report.problems[2].what, "masks/2.png: has 2 x 1 pixels, but its image"));
  CHECK(report.unknown_labels == std::map<std::int32_t, index_t>{{2, 2}, {9, 1}});
  CHECK(report.counts.all_images == 2);
  CHECK(report.hints == std::vector<std::string>{"class 1 (dog) does not occur"});
  const std::string text = to_string(report);
  CHECK(contains(text, "3 problems:\n  0: labels that are neither"));
  CHECK(contains(text, "Worth a look:\n  class 1 (dog) does not occur\n"));
}

TEST_CASE("check: black-and-white masks are recognised") {
  const TemporaryFolder folder;
  const std::vector<Labels> both{Labels({1, 2}, {0, 255}), Labels({1, 2}, {255, 255})};
  CHECK(contains(to_string(check(masks(folder, both, {{"cat", "dog"}, {}, 255}))), "black-and-white masks?"));
  CHECK(contains(to_string(check(masks(folder, both, {{"cat", "dog"}, {}, -1}))), "255 (1 pixels)"));
  const CheckReport ignored = check(masks(folder, {Labels({1, 2}, {255, 255}), Labels({1, 2}, {255, 255})}, {{"cat"}, {}, 255}));
  CHECK(contains(to_string(ignored), "all pixels are ignored"));
}

TEST_CASE("check: long lists are cut short, and an empty data set is none") {
  const TemporaryFolder folder;
  const FolderPairs pairs = masks(folder, std::vector<Labels>(25, Labels({1, 1}, {7})), {{"cat"}, {}, 255});
  const std::string text = to_string(check(pairs));
  CHECK(contains(text, "25 problems:"));
  CHECK(contains(text, "... and 5 more"));
  CHECK(contains(to_string(check(FolderPairs(std::vector<FolderPairs::Pair>{}, {{"cat"}, {}, 255}))), "0 samples can be used"));
}
