// roi_align at the sizes of R-CNN's heads, against the loop that its definition is (four pixels for each sample, one after the other).
// Items: features of cells. Arguments: RoIs, their side on the map, cells along an axis, samples along an axis of a cell (0: adaptive).
#include <vector>

#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/roi_align.hpp"

namespace {

using namespace segnet;

constexpr index_t height = 50, width = 84, channels = 256;

struct Operands {
  Generator random{1, 0};
  RoiAlignOptions options;
  Tensor<float> x = random_normal<float>({1, height, width, channels}, random);
  Tensor<float> rois;
  Tensor<float> y;

  explicit Operands(const benchmark::State& state)
      : options{.output_size = state.range(2), .sampling_ratio = state.range(3)},
        rois({state.range(0), 5}),
        y({state.range(0), state.range(2), state.range(2), channels}) {
    for (index_t k = 0; k < rois.dim(0); ++k) {
      float* const r = rois.data() + 5 * k;
      const auto side = static_cast<float>(state.range(1));
      r[0] = 0;
      r[1] = static_cast<float>(random.uniform(0, width)) - side / 2;
      r[2] = static_cast<float>(random.uniform(0, height)) - side / 2;
      r[3] = r[1] + side;
      r[4] = r[2] + side;
    }
  }
};

/// What `roi_align` computes, sample by sample.
void plain_loop(const Operands& o) {
  const index_t P = o.options.output_size.h;
  parallel_for(o.rois.dim(0), 1, [&](index_t first, index_t last) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t k = first; k < last; ++k) {
        const float* const r = o.rois.data() + 5 * k;
        const float cell_w = std::max(r[3] - r[1], 1.F) / static_cast<float>(P),
                    cell_h = std::max(r[4] - r[2], 1.F) / static_cast<float>(P);
        const index_t ratio = o.options.sampling_ratio;
        const index_t gw = ratio > 0 ? ratio : static_cast<index_t>(std::ceil(cell_w));
        const index_t gh = ratio > 0 ? ratio : static_cast<index_t>(std::ceil(cell_h));
        const float share = 1 / static_cast<float>(gw * gh);
        for (index_t i = 0; i < P * P; ++i) {
          float* const to = o.y.data() + (k * P * P + i) * channels;
          std::fill(to, to + channels, 0.F);
          for (index_t s = 0; s < gw * gh; ++s) {
            const auto place = [](float start, index_t c, index_t a, index_t g, float cell) {
              return start + (static_cast<float>(c) + (static_cast<float>(a) + .5F) / static_cast<float>(g)) * cell;
            };
            float y = place(r[2], i / P, s / gw, gh, cell_h), x = place(r[1], i % P, s % gw, gw, cell_w);
            if (y < -1 || y > height || x < -1 || x > width) continue;
            y = std::max(y, 0.F), x = std::max(x, 0.F);
            const index_t y0 = std::min(static_cast<index_t>(y), height - 1), x0 = std::min(static_cast<index_t>(x), width - 1);
            const index_t y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
            const float t = y0 == height - 1 ? 0 : y - static_cast<float>(y0), u = x0 == width - 1 ? 0 : x - static_cast<float>(x0);
            const float* const image = o.x.data();
            const float *const a = image + (y0 * width + x0) * channels, *const b = image + (y0 * width + x1) * channels,
                               *const c = image + (y1 * width + x0) * channels, *const d = image + (y1 * width + x1) * channels;
            const float wa = (1 - t) * (1 - u) * share, wb = (1 - t) * u * share, wc = t * (1 - u) * share, wd = t * u * share;
            SEGNET_SIMD
            for (index_t n = 0; n < channels; ++n) to[n] += wa * a[n] + wb * b[n] + wc * c[n] + wd * d[n];
          }
        }
      }
    });
  });
}

void report(benchmark::State& state, const Operands& o) { state.SetItemsProcessed(state.iterations() * o.y.numel()); }

void align(benchmark::State& state) {
  const Operands o(state);
  plain_loop(o);
  const auto y = roi_align(o.x, o.rois, o.options);
  for (index_t i = 0; i < y.numel(); ++i)
    if (std::abs(y.data()[i] - o.y.data()[i]) > 1e-3F) return state.SkipWithError("differs from the plain loop");
  const auto rois = segnet::detail::checked_rois("roi_align", o.x, o.rois, o.options.output_size, 1);
  for (auto _ : state) kernels::roi_align(kernels::roi_align_cells<float>(rois, o.x.shape(), o.options), o.x.view(), o.y.view());
  report(state, o);
}
void align_plain_loop(benchmark::State& state) {
  const Operands o(state);
  for (auto _ : state) plain_loop(o);
  report(state, o);
}
void align_backward(benchmark::State& state) {
  const Operands o(state);
  const auto rois = segnet::detail::checked_rois("roi_align", o.x, o.rois, o.options.output_size, 1);
  for (auto _ : state) kernels::roi_align_backward(kernels::roi_align_cells<float>(rois, o.x.shape(), o.options), o.y.view(), o.x.view());
  report(state, o);
}
void pool(benchmark::State& state) {
  const Operands o(state);
  const auto rois = segnet::detail::checked_rois("roi_pool", o.x, o.rois, o.options.output_size, 1);
  const Tensor<std::int32_t> pixels(o.y.shape());
  for (auto _ : state)
    kernels::roi_pool(kernels::roi_pool_cells(rois, o.x.shape(), o.options.output_size, 1), o.x.view(), o.y.view(), pixels.view());
  report(state, o);
}

/// The head of boxes in training and at its test, the head of masks, and a map without a pyramid.
void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"rois", "side", "cells", "samples"})->Unit(benchmark::kMillisecond)->UseRealTime();
  b->Args({512, 20, 7, 2})->Args({1000, 20, 7, 2})->Args({100, 20, 14, 2})->Args({300, 40, 7, 0});
}

}  // namespace

BENCHMARK(align)->Apply(sizes)->Name("roi_align");
BENCHMARK(align_plain_loop)->Apply(sizes)->Name("plain_loop");
BENCHMARK(align_backward)->Apply(sizes)->Name("roi_align_backward");
BENCHMARK(pool)->Apply(sizes)->Name("roi_pool");
BENCHMARK_MAIN();
