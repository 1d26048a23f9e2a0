#include "segnet/ops/grid_sample.hpp"

#include <array>

#include "cuda/same_on_gpu.hpp"
#include "segnet/ops/ms_deform_attn.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Coordinates of a grid, or of attention, some of them outside.
Tensor<float> points(const Shape& shape, double centre, double spread) {
  return random_normal<float>(shape, testing::random(), centre, spread);
}

}  // namespace

TEST_CASE("GPU: grid_sample as on the CPU, in every mode") {
  if (!gpu()) return;
  for (const auto mode : {GridSampleMode::bilinear, GridSampleMode::nearest, GridSampleMode::bicubic})
    for (const auto padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      for (const bool align_corners : {false, true}) {
        const GridSampleOptions o{mode, padding, align_corners};
        const std::string what = concat(to_string(mode), " ", to_string(padding), align_corners ? " align_corners" : "");
        for (const Shape& shape : {Shape{2, 5, 6, 3}, Shape{1, 4, 7, 16}, Shape{1, 3, 3, 300}})
          check_same_on_gpu<float>(
              what, [&](const auto& in) { return grid_sample(in[0], in[1], o); },
              {integers<float>(shape, -9, 9), points({shape[0], 4, 5, 2}, 0, 0.8)}, 2e-5);
      }
  const auto bilinear = [](const auto& in) { return grid_sample(in[0], in[1]); };
  check_same_on_gpu<double>("double", bilinear, {normal<double>({2, 5, 6, 4}), normal<double>({2, 7, 9, 2})}, 1e-13);
  check_same_on_gpu<float>("many points on few pixels", bilinear,
                           {normal<float>({1, 2, 3, 8}), points({1, on_gpu(300, 30), on_gpu(400, 20), 2}, 0, 0.5)}, 1e-4);
  check_same_on_gpu<float>(
      "unaligned", [&](const auto& in) { return unaligned(grid_sample(unaligned(in[0]), in[1])); },
      {normal<float>({1, 4, 5, 8}), points({1, 4, 5, 2}, 0, 0.5)}, 2e-5);
  check_same_on_gpu<float>("no points", bilinear, {normal<float>({1, 4, 5, 8}), zeros<float>({1, 0, 5, 2})});
  check_same_on_gpu<float>(
      "affine", [](const auto& in) { return grid_sample(in[0], affine_grid(in[1], {6, 5})); },
      {normal<float>({2, 4, 5, 4}), normal<float>({2, 2, 3}, 0, 0.4)}, 2e-5);
}

TEST_CASE("GPU: ms_deform_attn as on the CPU") {
  if (!gpu()) return;
  const std::vector<Extent2> maps{{6, 8}, {3, 4}, {1, 2}};
  for (const auto& [M, D] : {std::array<index_t, 2>{2, 3}, {4, 32}, {1, 200}}) {
    const auto attend = [&](const auto& in) { return ms_deform_attn(in[0], maps, in[1], in[2]); };
    check_same_on_gpu<float>(concat("heads ", M, " x ", D), attend,
                             {integers<float>({2, 62, M, D}, -3, 3), points({2, 5, M, 3, 2, 2}, 0.5, 0.4), normal<float>({2, 5, M, 3, 2})},
                             2e-5);
  }
}

TEST_CASE("GPU: sampling of bfloat16 images at float points") {
  if (!gpu()) return;
  const auto grid = points({2, 4, 5, 2}, 0, 0.5), locations = points({2, 5, 4, 2, 3, 2}, 0.5, 0.3);
  const std::vector<Extent2> maps{{3, 4}, {2, 2}};
  check_bfloat16_on_gpu(
      "grid_sample", [&]<class T, class D>(const std::vector<Tensor<T, D>>& in) { return grid_sample(in[0], grid.to<D>()); },
      {integers<float>({2, 5, 6, 8}, -9, 9)}, 1. / 128);
  check_bfloat16_on_gpu(
      "ms_deform_attn",
      [&]<class T, class D>(const std::vector<Tensor<T, D>>& in) { return ms_deform_attn(in[0], maps, locations.to<D>(), in[1]); },
      {integers<float>({2, 16, 4, 8}, -9, 9), integers<float>({2, 5, 4, 2, 3}, -3, 3)}, 1. / 128);
}
