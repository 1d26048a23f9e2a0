// Resizing of feature maps, class scores and photographs, against copying memory; and dropout. Bytes: input and output once.
#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/dropout.hpp"
#include "segnet/ops/resize.hpp"

namespace {

using namespace segnet;

/// Arguments: side, channels, side of the result, mode. The backward pass goes from the result's size to the image's.
template <class T, bool backward>
void resize(benchmark::State& state) {
  Generator random{1, 0};
  const index_t side = state.range(0), C = state.range(1), result = state.range(2);
  const auto mode = static_cast<InterpolateMode>(state.range(3));
  const auto x = random_normal<T>({2, side, side, C}, random), y = random_normal<T>({2, result, result, C}, random);
  const double scale = static_cast<double>(side) / static_cast<double>(result);
  const auto matrix = kernels::resize_matrix<T>({side, result, scale, mode}), transposed = kernels::transposed(matrix, side);
  const double copy = copy_bandwidth(static_cast<std::size_t>(std::max(x.numel(), y.numel())) * sizeof(T));
  for (auto _ : state) {
    if constexpr (backward) kernels::resample(transposed, transposed, y.view(), x.view());
    else kernels::resample(matrix, matrix, x.view(), y.view());
  }
  state.SetLabel(to_string(mode));
  report_bandwidth(state, static_cast<double>(x.numel() + y.numel()) * sizeof(T), copy);
}
void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"side", "C", "result", "mode"})->Unit(benchmark::kMillisecond)->UseRealTime();
  const auto bilinear = static_cast<int>(InterpolateMode::bilinear);
  b->Args({64, 256, 128, bilinear})->Args({128, 64, 256, bilinear})->Args({32, 21, 256, bilinear})->Args({128, 19, 512, bilinear});
  b->Args({256, 64, 128, bilinear})->Args({512, 3, 300, bilinear});
  b->Args({128, 64, 256, static_cast<int>(InterpolateMode::nearest)})->Args({128, 64, 256, static_cast<int>(InterpolateMode::bicubic)});
}

template <class T>
void dropout(benchmark::State& state) {
  const auto x = ones<T>({state.range(0)}), y = ones<T>({state.range(0)});
  const double bytes = static_cast<double>(x.numel()) * sizeof(T), copy = copy_bandwidth(static_cast<std::size_t>(bytes));
  for (auto _ : state) kernels::dropout({1, 2, 0.5}, x.view(), y.view());
  report_bandwidth(state, 2 * bytes, copy);
}

}  // namespace

BENCHMARK(resize<float, false>)->Apply(sizes)->Name("resize");
BENCHMARK(resize<float, true>)->Apply(sizes)->Name("resize_backward");
BENCHMARK(dropout<float>)->Arg(1 << 22)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_MAIN();
