#include "segnet/ops/resize.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

#define ON_GPU float, double

namespace {

struct ResizeCase {
  Shape x;
  InterpolateOptions options;
};

std::string describe(const ResizeCase& c) {
  const InterpolateOptions& o = c.options;
  return concat("interpolate ", c.x, ", {.size = ", o.size, ", .scale_factor = {", o.scale_factor.h, ", ", o.scale_factor.w,
                "}, .mode = ", to_string(o.mode), ", .align_corners = ", o.align_corners,
                ", .recompute_scale_factor = ", o.recompute_scale_factor, "}");
}

bool picks(InterpolateMode mode) { return mode == InterpolateMode::nearest || mode == InterpolateMode::nearest_exact; }

/// Larger and smaller, by size and by factor, to and from one pixel, sequences, channels of packs and of none.
std::vector<ResizeCase> resize_cases() {
  std::vector<ResizeCase> cases;
  for (const InterpolateMode mode :
       {InterpolateMode::nearest, InterpolateMode::nearest_exact, InterpolateMode::bilinear, InterpolateMode::bicubic})
    for (const bool align_corners : {false, true}) {
      if (align_corners && picks(mode)) continue;
      const auto add = [&](const Shape& x, Extent2 size, Scale2 scale, bool recompute = false) {
        cases.push_back({x, {size, scale, mode, align_corners, recompute}});
      };
      add({2, 3, 4, 16}, 0, 2);
      add({1, 4, 5, 3}, {7, 11}, {});
      add({1, 9, 10, 21}, {4, 3}, {});
      add({1, 9, 10, 24}, {4, 3}, {});
      add({1, 5, 6, 8}, 0, 1.7);
      add({1, 5, 6, 2}, 0, 1.7, true);
      add({2, 1, 1, 5}, {3, 4}, {});
      add({1, 4, 5, 8}, 1, {});
      add({1, 4, 6, 17}, 0, {3.0, 0.5});
      add({1, 3, 3, 40}, 3, {});
      add({0, 3, 3, 4}, 0, 2);
      add({2, 5, 3}, {1, 8}, {});
      add({1, 2, 700, 36}, {3, 701}, {});
      add({2, on_gpu(33, 7), on_gpu(40, 9), 64}, 0, 2);
    }
  return cases;
}

}  // namespace

TEST_CASE_TEMPLATE("GPU: resizing as on the CPU, in every mode", T, ON_GPU) {
  if (!gpu()) return;
  for (const ResizeCase& c : resize_cases())
    check_same_on_gpu<T>(
        describe(c), [&](const auto& in) { return interpolate(in[0], c.options); }, {integers<T>(c.x, -9, 9)},
        picks(c.options.mode)      ? 0
        : std::is_same_v<T, float> ? 2e-6
                                   : 1e-13);
}

TEST_CASE("GPU: resizing in bfloat16") {
  if (!gpu()) return;
  for (const ResizeCase& c : resize_cases())
    check_same_on_gpu<float>(
        describe(c),
        [&]<class D>(const std::vector<Tensor<float, D>>& in) {
          if constexpr (std::is_same_v<D, Cpu>) return interpolate(in[0], c.options);
          else return cast<float>(interpolate(cast<bfloat16>(in[0]), c.options));
        },
        {integers<float>(c.x, -9, 9)}, 1e-2);
}

TEST_CASE("GPU: resizing memory that is not a multiple of 16 bytes away") {
  if (!gpu()) return;
  for (const InterpolateMode mode : {InterpolateMode::nearest, InterpolateMode::bilinear, InterpolateMode::bicubic})
    for (const Extent2 size : {Extent2(9, 12), Extent2(3, 4)})
      check_same_on_gpu<float>(
          to_string(mode), [&](const auto& in) { return unaligned(resize(unaligned(in[0]), size, mode)); },
          {integers<float>({2, 5, 6, 8}, -9, 9)}, 2e-6);
}
