// What cuda/ uses of CUDA's bfloat16.
#pragma once

#include "segnet/core/bfloat16.hpp"

struct alignas(4) __nv_bfloat162 {
  segnet::bfloat16 x, y;
};
[[nodiscard]] inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {segnet::bfloat16(x), segnet::bfloat16(y)}; }
