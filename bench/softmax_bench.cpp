// Softmax per pixel, and its gradient: memory-bound. Bytes counted: each input read once, each output written once.
#include "softmax_bench.hpp"

#include <cmath>

#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/softmax.hpp"

std::vector<SoftmaxContender>& softmax_contenders() {
  static std::vector<SoftmaxContender> all;
  return all;
}

namespace {

using namespace segnet;

const bool added =
    (softmax_contenders().push_back({"segnet",
                                     [](const float* x, float* y, long rows, long channels) {
                                       const Shape shape{rows, channels};
                                       return [=] { kernels::softmax(View<const float>{x, shape}, 1, View<float>{y, shape}); };
                                     }}),
     true);

struct Case {
  const char* name;
  index_t rows, channels;
};
const Case cases[] = {{"binary", 1 << 22, 2},
                      {"camvid_360x480_batch4", 691200, 11},
                      {"voc_512x512_batch2", 524288, 21},
                      {"cityscapes_512x1024", 524288, 19},
                      {"ade20k_512x512", 262144, 150},
                      {"attention_1024", 16384, 1024}};

/// y sums to one in each row, and is right in the first.
bool is_softmax(const Tensor<float>& x, const Tensor<float>& y) {
  double sum = 0;
  for (index_t c = 0; c < x.dim(1); ++c) sum += std::exp(static_cast<double>(x.at(0, c)));
  for (index_t c = 0; c < x.dim(1); ++c)
    if (std::abs(std::exp(static_cast<double>(x.at(0, c))) / sum - static_cast<double>(y.at(0, c))) > 1e-5) return false;
  for (index_t r = 0; r < x.dim(0); ++r) {
    double total = 0;
    for (index_t c = 0; c < x.dim(1); ++c) total += static_cast<double>(y.at(r, c));
    if (std::abs(total - 1) > 1e-4) return false;
  }
  return true;
}

void forward(benchmark::State& state, const Case& c, const SoftmaxContender& contender) {
  const auto x = random_normal<float>({c.rows, c.channels}, default_generator(), 0, 3), y = zeros<float>(x.shape());
  const auto run = contender.make(x.data(), y.data(), c.rows, c.channels);
  run();
  if (!is_softmax(x, y)) return state.SkipWithError("not a softmax");
  const double bytes = 4.0 * static_cast<double>(x.numel());
  const double copy = copy_bandwidth(static_cast<std::size_t>(bytes));
  for (auto _ : state) run();
  report_bandwidth(state, 2 * bytes, copy);
}

template <class Kernel>
void gradient(benchmark::State& state, const Case& c, const Kernel& kernel) {
  const auto y = random_uniform<float>({c.rows, c.channels}, default_generator()),
             dy = random_normal<float>(y.shape(), default_generator());
  const auto dx = zeros<float>(y.shape());
  const double bytes = 4.0 * static_cast<double>(y.numel());
  const double copy = copy_bandwidth(static_cast<std::size_t>(bytes));
  for (auto _ : state) kernel(y.view(), dy.view(), dx.view());
  report_bandwidth(state, 3 * bytes, copy);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : cases) {
    for (const SoftmaxContender& contender : softmax_contenders())
      benchmark::RegisterBenchmark(concat("softmax/", c.name, "/", c.channels, "/", contender.name).c_str(), [=](benchmark::State& state) {
        forward(state, c, contender);
      })->UseRealTime();
    benchmark::RegisterBenchmark(concat("softmax_grad/", c.name, "/", c.channels, "/segnet").c_str(), [=](benchmark::State& state) {
      gradient(state, c, [](auto y, auto dy, auto dx) { kernels::softmax_grad(y, dy, 1, dx); });
    })->UseRealTime();
    benchmark::RegisterBenchmark(concat("log_softmax_grad/", c.name, "/", c.channels, "/segnet").c_str(), [=](benchmark::State& state) {
      gradient(state, c, [](auto y, auto dy, auto dx) { kernels::log_softmax_grad(y, dy, 1, dx); });
    })->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
