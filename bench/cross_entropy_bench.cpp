// Cross entropy of logits, forward and backward, fused and as log_softmax followed by nll_loss. Memory-bound.
// Bytes counted: forward reads the logits once; backward reads them again and writes their gradient.
#include <benchmark/benchmark.h>

#include <cmath>

#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/autograd/backward.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/softmax.hpp"

namespace {

using namespace segnet;

struct Case {
  const char* name;
  index_t rows, channels;
};
const Case cases[] = {{"camvid_360x480_batch4", 691200, 11},
                      {"cityscapes_512x1024", 524288, 19},
                      {"voc_512x512_batch2", 524288, 21},
                      {"ade20k_512x512", 262144, 150},
                      {"imagenet_batch1024", 1024, 1000}};

struct Data {
  Tensor<float> logits;
  Tensor<std::int32_t> labels;
};
Data data_of(const Case& c) {
  Data d{random_normal<float>({c.rows, c.channels}, default_generator(), 0, 3), Tensor<std::int32_t>({c.rows})};
  for (index_t i = 0; i < c.rows; ++i) d.labels.data()[i] = static_cast<std::int32_t>(default_generator().below(c.channels));
  return d;
}

Tensor<float> fused(const Data& d) { return cross_entropy(d.logits, d.labels); }
Tensor<float> composed(const Data& d) { return nll_loss(log_softmax(d.logits), d.labels); }

void forward(benchmark::State& state, const Case& c, Tensor<float> (*loss)(const Data&)) {
  const Data d = data_of(c);
  if (std::abs(fused(d).item() - composed(d).item()) > 1e-4f) return state.SkipWithError("fused and composed differ");
  const double bytes = 4.0 * static_cast<double>(d.logits.numel());
  const double copy = copy_bandwidth(static_cast<std::size_t>(bytes));
  for (auto _ : state) benchmark::DoNotOptimize(loss(d).data());
  report_bandwidth(state, bytes, copy);
}
void forward_backward(benchmark::State& state, const Case& c, Tensor<float> (*loss)(const Data&)) {
  const Data d = data_of(c);
  d.logits.requires_grad();
  const double bytes = 4.0 * static_cast<double>(d.logits.numel());
  const double copy = copy_bandwidth(static_cast<std::size_t>(bytes));
  for (auto _ : state) {
    d.logits.zero_grad();
    loss(d).backward();
  }
  report_bandwidth(state, 3 * bytes, copy);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : cases)
    for (const auto& [name, loss] : {std::pair{"fused", &fused}, {"composed", &composed}}) {
      const auto f = loss;
      benchmark::RegisterBenchmark(concat("forward/", c.name, "/", c.channels, "/", name).c_str(), [=](benchmark::State& state) {
        forward(state, c, f);
      })->UseRealTime();
      benchmark::RegisterBenchmark(concat("forward_backward/", c.name, "/", c.channels, "/", name).c_str(), [=](benchmark::State& state) {
        forward_backward(state, c, f);
      })->UseRealTime();
    }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
