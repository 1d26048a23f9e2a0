#include "segnet/core/random.hpp"

#include "segnet/core/isa.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("Philox4x32-10 gives the published test vectors") {  // Random123, kat_vectors
  const Philox zero = Philox::block(0, 0, 0);
  CHECK(zero.r[0] == 0x6627e8d5u);
  CHECK(zero.r[1] == 0xe169c58du);
  CHECK(zero.r[2] == 0xbc57ac4cu);
  CHECK(zero.r[3] == 0x9b00dbd8u);
  const Philox ones = Philox::block(~0ull, ~0ull, ~0ull);
  CHECK(ones.r[0] == 0x408f276du);
  CHECK(ones.r[1] == 0x41c83b0eu);
  CHECK(ones.r[2] == 0xa20bc7c6u);
  CHECK(ones.r[3] == 0x6d5451fdu);
}

TEST_CASE_TEMPLATE("fills: the same bits for any number of threads, other bits for another seed or the next fill", T, float, double) {
  const int threads = num_threads();
  Generator g{7, 0};
  set_num_threads(1);
  const auto a = random_normal<T>({100003}, g);
  set_num_threads(threads + 1);
  Generator same{7, 0}, other{8, 0};
  const auto b = random_normal<T>({100003}, same);
  set_num_threads(threads);
  CHECK(equal(a, b));
  CHECK_FALSE(equal(a, random_normal<T>({100003}, other)));
  CHECK_FALSE(equal(a, random_normal<T>({100003}, g)));
}

TEST_CASE("fills have the moments they should") {
  Generator& g = testing::random();
  const index_t n = 1 << 20;
  const auto moments = [](const Tensor<double>& t) {
    double mean = 0, square = 0;
    for (index_t i = 0; i < n; ++i) mean += t.data()[i] / static_cast<double>(n);
    for (index_t i = 0; i < n; ++i) square += (t.data()[i] - mean) * (t.data()[i] - mean) / static_cast<double>(n);
    return std::pair(mean, square);
  };
  const auto [mean, variance] = moments(random_normal<double>({n}, g, 3, 2));
  CHECK(std::abs(mean - 3) < 0.02);
  CHECK(std::abs(variance - 4) < 0.05);
  const auto uniform = random_uniform<double>({n}, g, -1, 3);
  const auto [umean, uvariance] = moments(uniform);
  CHECK(std::abs(umean - 1) < 0.02);
  CHECK(std::abs(uvariance - 16.0 / 12) < 0.02);
  for (index_t i = 0; i < n; ++i) REQUIRE((uniform.data()[i] >= -1 && uniform.data()[i] < 3));
}

TEST_CASE("Generator: draws are in range, split streams differ, a copy replays") {
  Generator g{3, 0};
  const Generator copy = g;
  Generator a = g.split(0), b = g.split(1), replay = copy;
  CHECK(a.bits() != b.bits());
  CHECK(g.bits() == replay.bits());
  index_t seen[5] = {};
  for (int i = 0; i < 1000; ++i) ++seen[g.below(5)];
  for (const index_t count : seen) CHECK(count > 100);
}
