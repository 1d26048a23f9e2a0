// Normalisation, pass by pass, against copying memory. Bytes: every tensor of the image's size once for each pass that the head of
// kernels/normalization.hpp counts. Arguments: images, side, channels.
#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/normalization.hpp"

namespace {

using namespace segnet;

template <class T>
struct Operands {
  explicit Operands(const benchmark::State& state)
      : C(state.range(2)),
        x(random_normal<T>({state.range(0), state.range(1), state.range(1), C}, random)),
        dy(random_normal<T>(x.shape(), random)),
        out(x.shape()),
        weight(random_normal<T>({C}, random)),
        bias(random_normal<T>({C}, random)),
        mean(zeros<T>({C})),
        var(ones<T>({C})),
        g{1, x.numel() / C, C},
        moments({1, 2, C}),
        coefficients({1, kernels::norm_rows, C}),
        into_dx({1, 3, C}) {
    out.fill(0);
    kernels::channel_moments<T>(g, x.view(), moments.view());
    kernels::norm_coefficients(g, moments.view(), C, weight.view(), bias.view(), 1e-5, coefficients.view());
    into_dx.fill(T(0.5));
  }
  void report(benchmark::State& state, int passes) const { report_bandwidth(state, passes * bytes, copy); }
  Generator random{1, 0};
  index_t C;
  Tensor<T> x, dy, out, weight, bias, mean, var;
  kernels::NormGeometry g;
  Tensor<double> moments;
  Tensor<T> coefficients, into_dx;
  double bytes = static_cast<double>(x.numel()) * sizeof(T);
  double copy = copy_bandwidth(static_cast<std::size_t>(bytes));
};

template <class T>
void channel_moments(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::channel_moments<T>(o.g, o.x.view(), o.moments.view());
  o.report(state, 1);
}
template <class T, bool relu>
void normalize(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::normalize_channels(o.g, o.x.view(), o.coefficients.view(), relu, o.out.view());
  o.report(state, 2);
}
template <class T, bool relu>
void gradient_sums(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) kernels::channel_gradient_sums<T>(o.g, o.dy.view(), o.x.view(), o.coefficients.view(), relu, o.moments.view());
  o.report(state, 2);
}
template <class T, bool relu>
void normalize_backward(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state)
    kernels::normalize_channels_backward(o.g, o.dy.view(), o.x.view(), o.coefficients.view(), o.into_dx.view(), relu, o.out.view());
  o.report(state, 3);
}

/// f(x, weight, bias) forward, then backward; `passes` over memory in all.
template <class T, class F>
void train(benchmark::State& state, int passes, const F& f) {
  const Operands<T> o(state);
  for (const auto& leaf : {o.x, o.weight, o.bias}) leaf.requires_grad();
  for (auto _ : state) {
    f(o).backward(o.dy);
    for (const auto& leaf : {o.x, o.weight, o.bias}) leaf.zero_grad();
  }
  o.report(state, passes);
}
template <class T>
void batch_norm_train(benchmark::State& state) {
  train<T>(state, 8, [](const auto& o) { return batch_norm(o.x, o.weight, o.bias, o.mean, o.var, true); });
}
template <class T>
void batch_norm_relu_train(benchmark::State& state) {
  train<T>(state, 8, [](const auto& o) { return batch_norm_relu(o.x, o.weight, o.bias, o.mean, o.var, true); });
}
template <class T>
void group_norm_train(benchmark::State& state) {
  train<T>(state, 8, [](const auto& o) { return group_norm(o.x, o.C % 8 ? 1 : 8, o.weight, o.bias); });
}
template <class T>
void layer_norm_train(benchmark::State& state) {
  train<T>(state, 5, [](const auto& o) { return layer_norm(o.x, {o.C}, o.weight, o.bias); });
}
template <class T>
void local_response_norm_train(benchmark::State& state) {
  train<T>(state, 5, [](const auto& o) { return local_response_norm(o.x, 5); });
}
template <class T>
void batch_norm_inference(benchmark::State& state) {
  const Operands<T> o(state);
  for (auto _ : state) benchmark::DoNotOptimize(batch_norm(o.x, o.weight, o.bias, o.mean, o.var, false));
  o.report(state, 2);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"N", "side", "C"})->Args({2, 256, 64})->Args({2, 128, 128})->Args({2, 64, 256})->Args({2, 256, 32})->Args({2, 32, 1024});
  b->Unit(benchmark::kMillisecond)->UseRealTime();
}
void photographs(benchmark::internal::Benchmark* b) {
  sizes(b);
  b->Args({4, 360, 3});
}

}  // namespace

BENCHMARK(channel_moments<float>)->Apply(sizes);
BENCHMARK(normalize<float, false>)->Apply(sizes);
BENCHMARK(normalize<float, true>)->Apply(sizes);
BENCHMARK(gradient_sums<float, false>)->Apply(sizes);
BENCHMARK(gradient_sums<float, true>)->Apply(sizes);
BENCHMARK(normalize_backward<float, false>)->Apply(sizes);
BENCHMARK(normalize_backward<float, true>)->Apply(sizes);
BENCHMARK(batch_norm_train<float>)->Apply(sizes);
BENCHMARK(batch_norm_train<double>)->Apply(sizes);
BENCHMARK(batch_norm_relu_train<float>)->Apply(sizes);
BENCHMARK(batch_norm_inference<float>)->Apply(sizes);
BENCHMARK(group_norm_train<float>)->Apply(sizes);
BENCHMARK(layer_norm_train<float>)->Apply(sizes);
BENCHMARK(local_response_norm_train<float>)->Apply(photographs);
BENCHMARK_MAIN();
