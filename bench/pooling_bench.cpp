// Pooling and unpooling at the sizes of U-Net and SegNet (2 x 2) and of a ResNet stem (3 x 3, stride 2), against copying memory.
// Bytes: every input and output once. Arguments: images, side, channels.
#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/pooling.hpp"

namespace {

using namespace segnet;

template <class T>
struct Operands {
  explicit Operands(const benchmark::State& state, const Pool2dOptions& options = {})
      : x(random_normal<T>({state.range(0), state.range(1), state.range(1), state.range(2)}, random)),
        g(kernels::pool2d_geometry("max_pool2d", x.shape(), options)),
        y(g.output_shape()),
        dx(x.shape()),
        indices(g.output_shape()) {
    kernels::max_pool2d(g, x.view(), y.view(), indices.view());
    dx.fill(0);
  }
  /// Counters for a pass that reads or writes the large image `large` times, the small one `small` times, and `places` indices.
  void report(benchmark::State& state, int large, int small, int places) const {
    const auto bytes = static_cast<double>(large * x.numel() + small * y.numel()) * sizeof(T) + static_cast<double>(places * y.numel()) * 4;
    report_bandwidth(state, bytes, copy);
  }
  Generator random{1, 0};
  Tensor<T> x;
  double copy = copy_bandwidth(static_cast<std::size_t>(x.numel()) * sizeof(T));
  kernels::PoolGeometry g;
  Tensor<T> y, dx;
  Tensor<std::int32_t> indices;
};

constexpr Pool2dOptions stem{.kernel = 3, .stride = 2, .padding = 1};

template <class T>
void max_pool2d_inference(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::max_pool2d(o.g, o.x.view(), o.y.view(), View<std::int32_t>{});
  o.report(state, 1, 1, 0);
}
template <class T>
void max_pool2d_with_indices(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::max_pool2d(o.g, o.x.view(), o.y.view(), o.indices.view());
  o.report(state, 1, 1, 1);
}
template <class T>
void max_pool2d_backward(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::max_pool2d_backward(o.g, o.y.view(), o.indices.view(), o.dx.view());
  o.report(state, 1, 1, 1);
}
template <class T>
void max_pool2d_stem(benchmark::State& state) {
  const Operands<T> o(state, stem);
  for (auto _ : state) kernels::max_pool2d(o.g, o.x.view(), o.y.view(), o.indices.view());
  o.report(state, 1, 1, 1);
}
template <class T>
void max_pool2d_stem_backward(benchmark::State& state) {
  const Operands<T> o(state, stem);
  for (auto _ : state) kernels::max_pool2d_backward(o.g, o.y.view(), o.indices.view(), o.dx.view());
  o.report(state, 1, 1, 1);
}
template <class T>
void avg_pool2d(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::avg_pool2d(o.g, {}, o.x.view(), o.y.view());
  o.report(state, 1, 1, 0);
}
template <class T>
void avg_pool2d_backward(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::avg_pool2d_backward(o.g, {}, o.y.view(), o.dx.view());
  o.report(state, 1, 1, 0);
}
template <class T>
void global_avg_pool2d(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) benchmark::DoNotOptimize(adaptive_avg_pool2d(o.x, 1));
  o.report(state, 1, 0, 0);
}
template <class T>
void max_unpool2d(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) benchmark::DoNotOptimize(segnet::max_unpool2d(o.y, o.indices, {o.x.dim(1), o.x.dim(2)}));
  o.report(state, 1, 1, 1);
}
template <class T>
void max_unpool2d_backward(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::max_unpool2d_backward(o.x.view(), o.indices.view(), o.y.view());
  o.report(state, 1, 1, 1);  // one element in four of the large image, but all of its cache lines
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "side", "C"})->Args({2, 256, 64})->Args({2, 128, 128})->Args({2, 64, 256})->Args({2, 256, 32})->Args({1, 512, 21});
  b->Unit(benchmark::kMillisecond)->UseRealTime();
}

}  // namespace

BENCHMARK(max_pool2d_inference<float>)->Apply(sizes);
BENCHMARK(max_pool2d_inference<double>)->Apply(sizes);
BENCHMARK(max_pool2d_with_indices<float>)->Apply(sizes);
BENCHMARK(max_pool2d_with_indices<double>)->Apply(sizes);
BENCHMARK(max_pool2d_backward<float>)->Apply(sizes);
BENCHMARK(max_pool2d_backward<double>)->Apply(sizes);
BENCHMARK(max_pool2d_stem<float>)->Apply(sizes);
BENCHMARK(max_pool2d_stem_backward<float>)->Apply(sizes);
BENCHMARK(avg_pool2d<float>)->Apply(sizes);
BENCHMARK(avg_pool2d_backward<float>)->Apply(sizes);
BENCHMARK(global_avg_pool2d<float>)->Apply(sizes);
BENCHMARK(max_unpool2d<float>)->Apply(sizes);
BENCHMARK(max_unpool2d_backward<float>)->Apply(sizes);
BENCHMARK_MAIN();
