// Element-wise operations, reductions and copies: memory-bound. Bytes counted: each input read once, each output written once.
//
// The tensors, [4, 128, 256, 64] where nothing else is said, are 32 MiB each: larger than most last-level caches.
#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/autograd/backward.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/reduction.hpp"

namespace {

using namespace segnet;

const Shape images{4, 128, 256, 64};

Tensor<float> random_images(const Shape& shape = images) {
  Generator generator{1, 0};
  return random_normal<float>(shape, generator);
}
double bytes_of(std::initializer_list<Tensor<float>> tensors) {
  double sum = 0;
  for (const auto& t : tensors) sum += static_cast<double>(t.numel()) * sizeof(float);
  return sum;
}

/// Times f; `bytes` is what it has to read and write at least.
template <class F>
void run(benchmark::State& state, double bytes, const F& f) {
  const double copy = copy_bandwidth(static_cast<std::size_t>(images.numel()) * sizeof(float));
  for (auto _ : state) benchmark::DoNotOptimize(f());
  report_bandwidth(state, bytes, copy);
}

void relu_forward(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x, x}), [&] { return relu(x); });
}
void relu_backward(benchmark::State& state) {
  const auto x = random_images(), dy = random_images();
  x.requires_grad();
  const auto y = relu(x);
  run(state, bytes_of({x, x, x}), [&] {
    x.zero_grad();
    y.backward(dy, /*keep_graph=*/true);
    return x.grad();
  });
}
void add_same(benchmark::State& state) {
  const auto a = random_images(), b = random_images();
  run(state, bytes_of({a, a, a}), [&] { return a + b; });
}
void add_per_channel(benchmark::State& state) {
  const auto a = random_images(), b = random_images({images[3]});
  run(state, bytes_of({a, a}), [&] { return a + b; });
}
void add_per_channel_19(benchmark::State& state) {  // as many as Cityscapes has classes: no multiple of any vector
  const auto a = random_images({4, 240, 460, 19}), b = random_images({19});
  run(state, bytes_of({a, a}), [&] { return a + b; });
}
void gate_per_image(benchmark::State& state) {  // squeeze and excitation
  const auto a = random_images(), b = random_images({4, 1, 1, 64});
  run(state, bytes_of({a, a}), [&] { return a * b; });
}
void gate_per_pixel(benchmark::State& state) {  // spatial attention
  const auto a = random_images(), b = random_images({4, 128, 256, 1});
  run(state, bytes_of({a, a, b}), [&] { return a * b; });
}
void gate_per_image_backward(benchmark::State& state) {
  const auto a = random_images(), b = random_images({4, 1, 1, 64}), dy = random_images();
  a.requires_grad(), b.requires_grad();
  const auto y = a * b;
  run(state, bytes_of({a, a, a}), [&] {
    a.zero_grad(), b.zero_grad();
    y.backward(dy, /*keep_graph=*/true);
    return a.grad();
  });
}
void silu_forward(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x, x}), [&] { return silu(x); });
}
void gelu_forward(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x, x}), [&] { return gelu(x); });
}
void sum_over_pixels(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x}), [&] { return sum(x, {0, 1, 2}); });
}
void sum_over_pixels_of_each_image(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x}), [&] { return sum(x, {1, 2}); });
}
void sum_over_channels(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x}), [&] { return sum(x, -1); });
}
void sum_of_everything(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x}), [&] { return sum(x); });
}
void argmax_over_19_channels(benchmark::State& state) {
  const auto x = random_images({4, 240, 460, 19});
  run(state, bytes_of({x}), [&] { return argmax(x, -1); });
}
void concat_channels(benchmark::State& state) {
  const auto a = random_images(), b = random_images();
  run(state, bytes_of({a, a, b, b}), [&] { return concat({a, b}, -1); });
}
void concat_channels_16_and_144(benchmark::State& state) {  // a dense block's layer
  const auto a = random_images({4, 80, 160, 144}), b = random_images({4, 80, 160, 16});
  run(state, bytes_of({a, a, b, b}), [&] { return concat({a, b}, -1); });
}
void permute_to_channels_first(benchmark::State& state) {
  const auto x = random_images();
  run(state, bytes_of({x, x}), [&] { return permute(x, {0, 3, 1, 2}); });
}

BENCHMARK(relu_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(relu_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(add_same)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(add_per_channel)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(add_per_channel_19)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(gate_per_image)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(gate_per_pixel)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(gate_per_image_backward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(silu_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(gelu_forward)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_over_pixels)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_over_pixels_of_each_image)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_over_channels)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sum_of_everything)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(argmax_over_19_channels)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(concat_channels)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(concat_channels_16_and_144)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(permute_to_channels_first)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
