#include "segnet/ops/roi_align.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/ops/box_loss.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Regions of images of side 64; multiples of 1/4.
Tensor<float> some_rois(index_t K) {
  Tensor<float> rois = integers<float>({K, 5}, -40, 300);
  for (index_t i = 0; i < rois.numel(); ++i)
    rois.data()[i] = i % 5 == 0 ? static_cast<float>(testing::random().below(2)) : rois.data()[i] / 4;
  return rois;
}

}  // namespace

TEST_CASE("regions of interest on the GPU: as on the CPU") {
  if (!gpu()) return;
  const auto rois = some_rois(7), none = Tensor<float>({0, 5});
  for (const index_t C : {3, 16}) {
    const Shape shape{2, 9, 16, C};
    for (const bool aligned : {false, true}) {
      const RoiAlignOptions options{.output_size = {2, 3}, .spatial_scale = 0.25, .sampling_ratio = aligned ? 0 : 2, .aligned = aligned};
      const auto align = [&](const auto& x) { return roi_align(x[0], rois, options); };
      check_same_on_gpu<float>("roi_align", align, {integers<float>(shape, -9, 9)}, 1e-5);
      check_same_on_gpu<double>("roi_align", align, {integers<double>(shape, -9, 9)}, 1e-13);
      check_bfloat16_on_gpu("roi_align", align, {integers<float>(shape, -9, 9)});
    }
    const auto pool = [&](const auto& x) { return roi_pool(x[0], rois, {2, 3}, 0.25); };
    check_same_on_gpu<float>("roi_pool", pool, {integers<float>(shape, -9, 9)});
    check_bfloat16_on_gpu("roi_pool", pool, {integers<float>(shape, -9, 9)});
    check_same_on_gpu<float>("no regions", [&](const auto& x) { return roi_align(x[0], none); }, {integers<float>(shape, -9, 9)});
    check_same_on_gpu<float>("no regions", [&](const auto& x) { return roi_pool(x[0], none, 2); }, {integers<float>(shape, -9, 9)});
  }
}

TEST_CASE("losses of boxes on the GPU: as on the CPU") {
  if (!gpu()) return;
  for (const index_t n : {0, 5, 300})
    for (const BoxLoss kind : {BoxLoss::giou, BoxLoss::diou, BoxLoss::ciou})
      for (const Reduction r : {Reduction::mean, Reduction::none}) {
        auto a = integers<double>({n, 4}, 0, 9), b = integers<double>({n, 4}, 0, 9);
        for (index_t i = 0; i < a.numel(); ++i)
          if (i % 4 >= 2) a.data()[i] += 10, b.data()[i] += 10;
        check_same_on_gpu<double>("box_loss", [&](const auto& x) { return box_loss(kind, x[0], x[1], r); }, {a, b}, 1e-12);
      }
}
