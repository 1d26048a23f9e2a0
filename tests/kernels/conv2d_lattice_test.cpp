#include "segnet/kernels/conv2d_lattice.hpp"

#include <algorithm>
#include <array>

#include "ops/conv_cases.hpp"

using namespace segnet;
using namespace segnet::testing;
using kernels::ConvGeometry, kernels::Digits, kernels::LatticeAxis;

namespace {

/// What an axis adds up: (out coordinate, source coordinate, kernel tap).
std::vector<std::array<index_t, 3>> triples(const LatticeAxis& axis, index_t source_size) {
  std::vector<std::array<index_t, 3>> all;
  for (int u = 0; u < axis.size; ++u)
    for (int i = 0; i < axis.taps; ++i)
      if (axis.source(u, i) >= 0 && axis.source(u, i) < source_size) all.push_back({axis.out(u), axis.source(u, i), axis.tap(i)});
  return all;
}

}  // namespace

TEST_CASE("conv2d_lattice: the forward axes, and all phases together, read what the geometry says, once each") {
  for (int repeat = 0; repeat < 300; ++repeat) {
    const ConvCase c = random_conv_case();
    const ConvGeometry& g = c.geometry;
    INFO(describe(c));
    std::vector<std::array<index_t, 3>> forward, backward;
    for (index_t oh = 0; oh < g.OH; ++oh)
      for (index_t ki = 0; ki < g.kh; ++ki)
        if (const index_t h = g.input_row(oh, ki); h >= 0 && h < g.H) forward.push_back({oh, h, ki});
    for (index_t w = 0; w < g.W; ++w)
      for (index_t kj = 0; kj < g.kw; ++kj)
        if (const index_t ow = g.output_column(w, kj); ow >= 0) backward.push_back({w, ow, kj});
    CHECK(triples(kernels::forward_axis(g.OH, g.kh, g.stride.h, g.padding.h, g.dilation.h), g.H) == forward);

    std::vector<std::array<index_t, 3>> phases;
    for (index_t phase = 0; phase < g.stride.w; ++phase)
      for (const auto& t : triples(kernels::phase_axis(g.W, g.kw, g.stride.w, g.padding.w, g.dilation.w, phase), g.OW)) phases.push_back(t);
    std::sort(phases.begin(), phases.end());
    std::sort(backward.begin(), backward.end());
    CHECK(phases == backward);
  }
}

TEST_CASE("conv2d_lattice: a 2 x 2 kernel with stride 2 falls into phases of one tap") {
  for (const index_t phase : {0, 1}) {
    const LatticeAxis axis = kernels::phase_axis(8, 2, 2, 0, 1, phase);
    CHECK(axis.size == 4);
    CHECK(axis.taps == 1);
    CHECK(axis.tap(0) == phase);
    CHECK(axis.source(3, 0) == 3);
  }
}

TEST_CASE("conv2d_lattice: digits move as their number does") {
  for (int repeat = 0; repeat < 1000; ++repeat) {
    const auto below = [](int n) { return static_cast<int>(testing::random().below(n)); };
    const int middle = 1 + below(9), low = 1 + below(40), step = below(200);
    const Digits by = kernels::digits(step, middle, low);
    int number = below(300);
    Digits at = kernels::digits(number, middle, low);
    for (int i = 0; i < 20; ++i, number += step, at = kernels::add(at, by, middle, low)) {
      const Digits expected = kernels::digits(number, middle, low);
      REQUIRE(at.high == expected.high);
      REQUIRE(at.middle == expected.middle);
      REQUIRE(at.low == expected.low);
    }
  }
}

TEST_CASE("conv2d_lattice: what 32 bits cannot index is refused") {
  const auto fits = [](const Shape& x, const Shape& w, const Conv2dOptions& options) {
    return kernels::fits_32_bits(kernels::conv2d_geometry("conv2d", x, w, {0}, options), w[3], w[0]);
  };
  CHECK(fits({16, 480, 360, 64}, {64, 3, 3, 64}, {.padding = 1}));
  CHECK(fits({1, 1, 1 << 20, 8}, {8, 1, 3, 8}, {}));
  CHECK(fits({0, 5, 5, 3}, {4, 3, 3, 3}, {}));
  CHECK_FALSE(fits({1 << 15, 256, 256, 1}, {1, 1, 1, 1}, {}));
  CHECK_FALSE(fits({1, 1 << 20, 1 << 12, 1}, {1, 3, 3, 1}, {}));
  CHECK_FALSE(fits({1, 4, 4, 1 << 16}, {1 << 16, 1, 1, 1 << 16}, {}));
  CHECK_FALSE(fits({1, 1, 1, 1}, {1, 1, 1, 1}, {.padding = index_t{1} << 40}));
}
