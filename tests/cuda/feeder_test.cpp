#include "segnet/data/feeder.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::data;
using namespace segnet::testing;

namespace {

/// Sample i is all i; one may fail.
struct Numbers {
  index_t fails = -1;
  DatasetInfo about{std::vector<std::string>(200, "a number"), {}, 255};

  index_t size() const { return 101; }
  const DatasetInfo& info() const { return about; }
  Sample get(index_t i) const {
    if (i == fails) throw IoError("disk/seven.png", "is broken");
    return {full<std::uint8_t>({40, 50, 3}, static_cast<std::uint8_t>(i)),
            full<std::int32_t>({40, 50}, static_cast<std::int32_t>(i)),
            {},
            concat(i)};
  }
};

}  // namespace

TEST_CASE("the batches arrive on the GPU in order, bit for bit, again and again, from any batch") {
  if (!gpu()) return;
  Loader plain(Numbers(), {}, {.batch = 8, .seed = 5, .workers = 2, .shuffle = true}),
      fed(Numbers(), {}, {.batch = 8, .seed = 5, .workers = 2, .shuffle = true});
  Feeder<Cuda> feeder(fed);
  for (index_t epoch = 0; epoch < 3; ++epoch) {
    plain.start(epoch, epoch);
    feeder.start(epoch, epoch);
    std::vector<DeviceBatch<Cuda>> kept;  // the copies of later batches must not touch these
    while (auto batch = feeder.next()) kept.push_back(std::move(*batch));
    for (const auto& batch : kept) {
      const auto expected = plain.next();
      REQUIRE(expected);
      CHECK(equal(batch.images.to<Cpu>(), expected->images));
      CHECK(equal(batch.labels.to<Cpu>(), expected->labels));
    }
    CHECK_FALSE(plain.next());
    CHECK_FALSE(feeder.next());
  }
  feeder.start(0);  // left in the middle of an epoch
  CHECK(feeder.next());
}

TEST_CASE("what the loader throws comes out of the feeder") {
  if (!gpu()) return;
  Loader loader(Numbers{7}, {}, {.batch = 8, .workers = 1});
  Feeder<Cuda> feeder(loader);
  feeder.start(0);
  CHECK_THROWS_AS(feeder.next(), SampleError);
}
