#include "segnet/data/cached.hpp"

#include <atomic>
#include <thread>

#include "segnet/data/feeder.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {

/// Sample i is all i and takes 7 * 16 bytes.
struct Counted {
  std::shared_ptr<std::atomic<int>> reads = std::make_shared<std::atomic<int>>(0);
  DatasetInfo about{std::vector<std::string>(100, "a number"), {}, 255};

  index_t size() const { return 12; }
  const DatasetInfo& info() const { return about; }
  std::string name(index_t i) const { return concat("number_", i); }
  Sample get(index_t i) const {
    ++*reads;
    return {
        full<std::uint8_t>({4, 4, 3}, static_cast<std::uint8_t>(i)), full<std::int32_t>({4, 4}, static_cast<std::int32_t>(i)), {}, name(i)};
  }
};

}  // namespace

TEST_CASE("a cached data set is the data set, read once") {
  const Counted numbers;
  const Dataset cached = Cached(numbers, 1 << 20);
  for (int pass = 0; pass < 3; ++pass)
    for (index_t i = 0; i < cached.size(); ++i) {
      const Sample sample = cached.get(i);
      CHECK(equal(sample.image, numbers.get(i).image));
      CHECK(equal(sample.label, full<std::int32_t>({4, 4}, static_cast<std::int32_t>(i))));
      CHECK(sample.name == concat("number_", i));
    }
  CHECK(*numbers.reads == 12 + 3 * 12);
  CHECK(cached.name(3) == "number_3");
  CHECK(cached.info().num_classes() == 100);
  CHECK_THROWS_AS(cached.get(12), ValueError);
}

TEST_CASE("a cached data set keeps no more than it may") {
  const Counted numbers;
  const Dataset cached = Cached(numbers, 3 * 112 + 50);  // three samples
  for (int pass = 0; pass < 2; ++pass)
    for (index_t i = 0; i < cached.size(); ++i) CHECK(cached.get(i).label.at(1, 2) == i);
  CHECK(*numbers.reads == 12 + 9);
  CHECK(Dataset(Cached(numbers, 0)).get(5).label.at(0, 0) == 5);
}

TEST_CASE("a cached data set serves several threads") {
  const Counted numbers;
  const Cached cached(numbers, 1 << 20);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int pass = 0; pass < 50; ++pass)
        for (index_t i = 0; i < cached.size(); ++i) wrong += cached.get(i).label.data()[7] != i;
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(*numbers.reads <= 4 * 12);
}

TEST_CASE("a feeder hands out the loader's batches") {
  Loader loader(Counted(), {}, {.batch = 4, .workers = 1});
  Feeder<Cpu> feeder(loader);
  for (int pass = 0; pass < 2; ++pass) {
    feeder.start(0, 1);
    CHECK(feeder.next()->labels.at(0, 0, 0) == 4);
    CHECK(feeder.next()->labels.at(3, 0, 0) == 11);
    CHECK_FALSE(feeder.next());
  }
}
