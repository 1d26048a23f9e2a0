// Random convolutions for the tests of conv2d and conv_transpose2d: every attribute differs from its default in some of them.
#pragma once

#include "segnet/kernels/conv2d.hpp"
#include "support/testing.hpp"

namespace segnet::testing {

struct ConvCase {
  Shape x, w;
  Conv2dOptions options;
  kernels::ConvGeometry geometry;
};

/// The case as a line of code, to be pasted into a test.
inline std::string describe(const ConvCase& c) {
  const Padding2& p = c.options.padding;
  const auto shape = [](const Shape& s) { return concat("{", s[0], ", ", s[1], ", ", s[2], ", ", s[3], "}"); };
  const auto pair = [](Extent2 e) { return concat("{", e.h, ", ", e.w, "}"); };
  return concat("{", shape(c.x), ", ", shape(c.w), ", {.stride = ", pair(c.options.stride), ", .padding = {", pair(p.begin), ", ",
                pair(p.end), "}, .dilation = ", pair(c.options.dilation), ", .groups = ", c.options.groups, "}}");
}

inline ConvCase conv_case(const Shape& x, const Shape& w, const Conv2dOptions& options) {
  return {x, w, options, kernels::conv2d_geometry("conv2d", x, w, {0}, options)};
}

/// Sizes 1-17, kernels 1-7, strides and dilations 1-4, padding 0-3 on each side, batches 0-3, up to 4 groups or one per channel.
inline ConvCase random_conv_case() {
  const auto between = [](index_t low, index_t high) { return low + random().below(high - low + 1); };
  const auto often_one = [&](index_t high) { return random().below(2) ? Extent2(1) : Extent2(between(1, high), between(1, high)); };
  for (;;) {
    const bool depthwise = random().below(6) == 0;
    const index_t groups = depthwise ? between(1, 40) : random().below(3) == 0 ? between(2, 4) : 1;
    const index_t C = groups * (depthwise ? 1 : between(1, 36 / groups)), O = groups * (depthwise ? 1 : between(1, 72 / groups));
    const Shape x{random().below(8) ? between(1, 3) : 0, between(1, 17), between(1, 17), C};
    const Shape w{O, between(1, 7), between(1, 7), C / groups};
    const Padding2 padding(Extent2(between(0, 3), between(0, 3)), Extent2(between(0, 3), between(0, 3)));
    const Conv2dOptions options{.stride = often_one(4), .padding = padding, .dilation = often_one(4), .groups = groups};
    try {
      return conv_case(x, w, options);
    } catch (const ShapeError&) {  // a kernel larger than its image: draw again
    }
  }
}

/// Large enough for several tiles, panels, blocks and slots of each kernel, and for edges in all of them.
inline std::vector<ConvCase> large_conv_cases() {
  return {conv_case({2, 41, 37, 20}, {70, 3, 3, 20}, {.padding = 1}),
          conv_case({1, 30, 131, 3}, {16, 3, 3, 3}, {.padding = 1}),
          conv_case({1, 61, 63, 3}, {40, 7, 7, 3}, {.stride = 2, .padding = 3}),
          conv_case({3, 33, 35, 64}, {11, 1, 1, 64}, {}),
          conv_case({1, 12, 13, 130}, {150, 1, 1, 130}, {.stride = 2}),
          conv_case({1, 40, 29, 24}, {36, 3, 3, 12}, {.stride = {2, 1}, .padding = 6, .dilation = 6, .groups = 2}),
          conv_case({1, 4, 9, 1100}, {35, 3, 3, 1100}, {.padding = 1}),
          conv_case({1, 5, 6, 1100}, {20, 3, 3, 1100}, {.padding = 2, .dilation = 2}),
          conv_case({2, 65, 66, 24}, {24, 5, 3, 1}, {.stride = {1, 2}, .padding = 2, .groups = 24})};
}

}  // namespace segnet::testing
