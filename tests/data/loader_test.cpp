#include "segnet/data/loader.hpp"

#include <atomic>
#include <set>

#include "support/files.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {

/// Sample i is all i; some samples fail, and every read takes a random while.
struct Numbers {
  index_t count = 10;
  index_t fails = -1, odd_size = -1;
  std::shared_ptr<std::atomic<int>> reads = std::make_shared<std::atomic<int>>(0);
  DatasetInfo about{std::vector<std::string>(100, "a number"), {}, 255};

  index_t size() const { return count; }
  const DatasetInfo& info() const { return about; }
  std::string name(index_t i) const { return concat("number_", i); }
  Sample get(index_t i) const {
    ++*reads;
    std::this_thread::sleep_for(std::chrono::microseconds(37 * (i * 7 % 11)));
    if (i == fails) throw IoError("disk/seven.png", "is broken");
    const index_t width = i == odd_size ? 5 : 4;
    Sample s{full<std::uint8_t>({4, width, 3}, static_cast<std::uint8_t>(i)),
             full<std::int32_t>({4, width}, static_cast<std::int32_t>(i)),
             {},
             name(i)};
    s.image.data()[0] = 0;  // so that flips and crops can be seen
    return s;
  }
};

/// All batches of some epochs as one text, which shows order, augmentation and names.
std::string walk(Loader& loader, index_t first_epoch, index_t epochs, index_t first_batch = 0) {
  std::string text;
  for (index_t e = first_epoch; e < first_epoch + epochs; ++e) {
    loader.start(e, e == first_epoch ? first_batch : 0);
    while (const auto batch = loader.next()) {
      text += concat("| ", batch->images.shape(), " ");
      for (const std::string& name : batch->names) text += name + " ";
      for (index_t i = 0; i < batch->images.numel(); ++i) text += concat(batch->images.data()[i], ",");
      for (index_t i = 0; i < batch->labels.numel(); ++i) text += concat(batch->labels.data()[i], ",", batch->weights.data()[i], ",");
    }
    text += "\n";
  }
  return text;
}

const Augmentation SOME{.min_scale = 0.7,
                        .max_scale = 1.5,
                        .rotation = 20,
                        .elastic = 0.5,
                        .crop_height = 3,
                        .crop_width = 5,
                        .flip = 0.5,
                        .colours = ColourJitter::usual(),
                        .blur = 0.5,
                        .border = BorderWeights{}};

}  // namespace

TEST_CASE("Loader: the same batches for any number of workers") {
  for (const bool drop_last : {false, true}) {
    std::string expected;
    for (const int workers : {0, 1, 3}) {
      INFO(workers, " workers, drop_last ", drop_last);
      Loader loader(Numbers{}, SOME,
                    {.batch = 4, .seed = 5, .workers = workers, .shuffle = true, .drop_last = drop_last, .prefetch = 1 + workers % 2});
      CHECK(loader.batches() == (drop_last ? 2 : 3));
      const std::string text = walk(loader, 0, 4);
      if (workers == 0) expected = text;
      CHECK(text == expected);
    }
    Loader other(Numbers{}, SOME, {.batch = 4, .seed = 6, .workers = 1, .shuffle = true, .drop_last = drop_last});
    CHECK(walk(other, 0, 4) != expected);
  }
}

TEST_CASE("Loader: an epoch has every sample once, in its own order; without shuffling in theirs") {
  Loader loader(Numbers{.count = 23}, {}, {.batch = 5, .seed = 1, .workers = 2, .shuffle = true});
  std::set<std::string> orders;
  for (index_t epoch = 0; epoch < 3; ++epoch) {
    loader.start(epoch);
    std::multiset<std::string> seen;
    std::string order;
    while (const auto batch = loader.next())
      for (const std::string& name : batch->names) seen.insert(name), order += name;
    CHECK(seen.size() == 23);
    CHECK(std::set<std::string>(seen.begin(), seen.end()).size() == 23);
    orders.insert(order);
  }
  CHECK(orders.size() == 3);
  CHECK_FALSE(loader.next());

  Loader plain(Numbers{.count = 3}, {.normalization = {{0, 0, 0}, {1, 1, 1}}}, {.batch = 2});
  const auto first = plain.next(), second = plain.next();  // epoch 0 starts by itself
  CHECK(first->names == std::vector<std::string>{"number_0", "number_1"});
  CHECK(second->names == std::vector<std::string>{"number_2"});
  CHECK(second->images.shape() == Shape{1, 4, 4, 3});
  CHECK(second->images.at(0, 3, 3, 2) == 2);
  CHECK(second->labels.at(0, 0, 0) == 2);
  CHECK_FALSE(second->instances);
  CHECK_FALSE(second->weights);
  CHECK_FALSE(plain.next());
}

TEST_CASE("Loader: goes on at any batch of any epoch") {
  for (const int workers : {0, 2}) {
    Loader whole(Numbers{}, SOME, {.batch = 3, .seed = 9, .workers = workers, .shuffle = true});
    const std::string all = walk(whole, 2, 2);
    Loader resumed(Numbers{}, SOME, {.batch = 3, .seed = 9, .workers = workers, .shuffle = true});
    CHECK(all.ends_with(walk(resumed, 2, 2, 1)));
    CHECK(all.ends_with(walk(resumed, 2, 2, 3)));
    CHECK(walk(resumed, 3, 1, 4) == "\n");
    // In the middle of an epoch somebody starts another one: nothing of the first is left over.
    whole.start(7);
    (void)whole.next();
    CHECK(walk(whole, 2, 2) == all);
  }
}

TEST_CASE("Loader: what goes wrong in a worker is told to the consumer") {
  for (const int workers : {0, 1, 3}) {
    INFO(workers, " workers");
    Loader loader(Numbers{.fails = 7}, {}, {.batch = 2, .workers = workers});
    for (int i = 0; i < 3; ++i) CHECK(loader.next());
    const std::string text = error_text<SampleError>([&] { (void)loader.next(); });
    CHECK(text == "sample 'number_7' (number 7): disk/seven.png: is broken");
    CHECK(loader.next()->names[0] == "number_8");  // the loader lives on
    CHECK_FALSE(loader.next());
    loader.start(1, 3);
    CHECK_THROWS_AS((void)loader.next(), SampleError);

    Loader uneven(Numbers{.odd_size = 3}, {}, {.batch = 2, .workers = workers});
    CHECK(uneven.next());
    CHECK(contains(
        error_text<SampleError>([&] { (void)uneven.next(); }),
        "sample 'number_3' (number 3): segnet::data::Loader: argument 'image': expected [4, 4] (height, width) as the first of its batch "
        "('number_2'): a crop gives all the same size, got [4, 5]"));
  }
  CHECK_THROWS_AS(Loader(Numbers{}, {}, {.batch = 0}), ValueError);
  CHECK_THROWS_AS(Loader(Numbers{}, {}, {.workers = -1}), ValueError);
  CHECK_THROWS_AS(Loader(Numbers{}, {}, {.prefetch = 0}), ValueError);
  Loader loader(Numbers{}, {}, {.batch = 4});
  CHECK(contains(error_text<ValueError>([&] { loader.start(0, 4); }), "0 to 3, got 4"));
}

TEST_CASE("Loader: prefetches as much as allowed, and ends at any moment") {
  for (int round = 0; round < 30; ++round) {
    Numbers numbers{.count = 40};
    Loader loader(numbers, {}, {.batch = 2, .workers = 2, .prefetch = 2});
    if (round % 3 == 0) continue;  // never started
    loader.start(round);
    for (int i = 0; i < round % 5; ++i) (void)loader.next();
    if (round == 29) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      CHECK(numbers.reads->load() == 2 * (4 + 4));  // four handed out, 2 x 2 ready
    }
  }
}
