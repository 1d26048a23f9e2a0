#include "segnet/report/axis.hpp"

#include <set>

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::report;

namespace {
using Texts = std::vector<std::string>;
}

TEST_CASE("make_axis: round ticks with labels that tell them apart") {
  CHECK(make_axis(0, 1).labels == Texts{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(make_axis(0.3, 2.4).labels == Texts{"0", "0.5", "1.0", "1.5", "2.0", "2.5"});
  CHECK(make_axis(0.3, 2.4).low == 0);
  CHECK(make_axis(0.3, 2.4).high == doctest::Approx(2.5));
  CHECK(make_axis(-37, 92).labels == Texts{"-50", "0", "50", "100"});
  CHECK(make_axis(1, 40, {.rounded = false}).labels == Texts{"10", "20", "30", "40"});
  CHECK(make_axis(1, 40, {.rounded = false}).low == 1);
  CHECK(make_axis(0, 80000).labels == Texts{"0", "20k", "40k", "60k", "80k"});
  CHECK(make_axis(0, 2.5e6).labels == Texts{"0", "0.5M", "1.0M", "1.5M", "2.0M", "2.5M"});
  CHECK(make_axis(0, 9000).labels == Texts{"0", "2k", "4k", "6k", "8k", "10k"});  // thousands from 10,000 on
  CHECK(make_axis(0, 0.00011).labels == Texts{"0", "2e-5", "4e-5", "6e-5", "8e-5", "1e-4", "1.2e-4"});
  CHECK(make_axis(0, 4e20).labels == Texts{"0", "1e20", "2e20", "3e20", "4e20"});
  CHECK(make_axis(1e6 + 0.001, 1e6 + 0.003, {.count = 2}).labels == Texts{"1000000.001", "1000000.002", "1000000.003"});
  CHECK(make_axis(1, 4, {.rounded = false}).labels == Texts{"1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"});
  CHECK(make_axis(1, 4, {.rounded = false, .whole = true}).labels == Texts{"1", "2", "3", "4"});
  CHECK(make_axis(1, 1, {.rounded = false, .whole = true}).labels == Texts{"1"});
  CHECK(make_axis(5, 5).low < 5);
  CHECK(make_axis(5, 5).high > 5);
}

TEST_CASE("make_axis: logarithmic ticks at decades, finer where there are few, coarser where there are many") {
  CHECK(make_axis(0.002, 3, {.log = true}).labels == Texts{"0.001", "0.01", "0.1", "1", "10"});
  CHECK(make_axis(1, 100, {.log = true}).labels == Texts{"1", "2", "5", "10", "20", "50", "100"});
  CHECK(make_axis(3, 30, {.log = true, .rounded = false}).labels == Texts{"5", "10", "20"});
  CHECK(make_axis(1.2, 1.6, {.log = true, .rounded = false}).labels.size() >= 3);
  CHECK(make_axis(1e-12, 1e12, {.log = true}).labels.front() == "1e-12");
  CHECK(make_axis(1e-12, 1e12, {.log = true}).labels.size() <= 8);
  const Axis axis = make_axis(0.01, 100, {.log = true});
  CHECK(axis.position(0.01) == doctest::Approx(0));
  CHECK(axis.position(1) == doctest::Approx(0.5));
  CHECK(axis.position(100) == doctest::Approx(1));
  CHECK(std::isnan(axis.position(0)));
  CHECK(std::isnan(axis.position(-1)));
  CHECK(std::isnan(axis.position(INFINITY)));
}

TEST_CASE("make_axis: whatever the range, ticks lie inside it, rise, and have different labels") {
  const double special[] = {0,        1,         -1,  5e-324,    -5e-324, 1e-308,   1e300, 1.7e308, -1.7e308,
                            INFINITY, -INFINITY, NAN, 1 + 1e-12, 1e15,    1e15 + 1, 0.1,   1e-290,  123456789};
  const auto check = [&](double low, double high, bool log, bool rounded) {
    const Axis axis = make_axis(low, high, {.log = log, .rounded = rounded});
    INFO("make_axis(", doctest::toString(low), ", ", doctest::toString(high), ", ", log, ", ", rounded, ")");
    CHECK(std::isfinite(axis.low));
    CHECK(axis.low < axis.high);
    CHECK(axis.ticks.size() >= 2);
    CHECK(axis.ticks.size() <= 14);
    CHECK(axis.labels.size() == axis.ticks.size());
    CHECK(std::set<std::string>(axis.labels.begin(), axis.labels.end()).size() == axis.labels.size());
    for (std::size_t i = 0; i < axis.ticks.size(); ++i) {
      CHECK(axis.position(axis.ticks[i]) >= -1e-6);
      CHECK(axis.position(axis.ticks[i]) <= 1 + 1e-6);
      if (i > 0) CHECK(axis.ticks[i] > axis.ticks[i - 1]);
    }
    if (std::isfinite(low) && low <= high && std::abs(low) < 1e300 && std::abs(high) < 1e300 && (!log || low > 1e-300)) {
      CHECK(axis.position(low) >= -1e-6);
      CHECK(axis.position(high) <= 1 + 1e-6);
    }
  };
  for (const double low : special)
    for (const double high : special)
      for (const bool log : {false, true})
        for (const bool rounded : {false, true}) check(low, high, log, rounded);
  for (int round = 0; round < 2000; ++round) {
    const double scale = std::pow(10, static_cast<double>(testing::random().below(40)) - 20);
    const double low = scale * (static_cast<double>(testing::random().below(2001)) - 1000),
                 span = scale * static_cast<double>(testing::random().below(100000)) / 100;
    check(low, low + span, false, round % 2);
    check(std::abs(low) + scale, std::abs(low) + scale + span * span / scale, true, round % 2);
  }
}
