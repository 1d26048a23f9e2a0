// Convolutions for the tests of conv2d and conv_transpose2d on the GPU.
#pragma once

#include "cuda/same_on_gpu.hpp"
#include "ops/conv_cases.hpp"

namespace segnet::testing {

/// Large enough for several tiles and blocks of each kernel.
inline std::vector<ConvCase> larger_conv_cases() {
  if (on_gpu(true, false)) return large_conv_cases();
  return {conv_case({2, 21, 19, 20}, {70, 3, 3, 20}, {.padding = 1}),
          conv_case({1, 30, 41, 3}, {16, 3, 3, 3}, {.padding = 1}),
          conv_case({1, 31, 33, 3}, {40, 7, 7, 3}, {.stride = 2, .padding = 3}),
          conv_case({1, 12, 13, 130}, {150, 1, 1, 130}, {.stride = 2}),
          conv_case({1, 20, 15, 24}, {36, 3, 3, 12}, {.stride = {2, 1}, .padding = 6, .dilation = 6, .groups = 2}),
          conv_case({1, 5, 6, 260}, {20, 3, 3, 260}, {.padding = 2, .dilation = 2}),
          conv_case({2, 25, 26, 24}, {24, 5, 3, 1}, {.stride = {1, 2}, .padding = 2, .groups = 24})};
}

}  // namespace segnet::testing
