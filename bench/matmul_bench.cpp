// Matrix products of networks: linear layers and what becomes of them backwards, attention, and large squares. Per cent of the nearer
// ceiling: multiply-adds, or memory for reading a and b once and writing y.
#include "matmul_bench.hpp"

#include <cmath>

#include "bandwidth.hpp"
#include "context.hpp"
#include "fma_peak.hpp"
#include "segnet/core/random.hpp"
#include "segnet/kernels/matmul.hpp"

std::vector<MatmulContender>& matmul_contenders() {
  static std::vector<MatmulContender> all;
  return all;
}

namespace {

using namespace segnet;

Shape a_shape(const MatmulCase& c) { return c.transpose_a ? Shape{c.count, c.k, c.m} : Shape{c.count, c.m, c.k}; }
Shape b_shape(const MatmulCase& c) { return c.transpose_b ? Shape{c.count, c.n, c.k} : Shape{c.count, c.k, c.n}; }

const bool added =
    (matmul_contenders().push_back(
         {"segnet",
          [](const MatmulCase& c, const float* a, const float* b, float* y) -> std::function<void()> {
            const auto g = kernels::matmul_geometry("matmul", a_shape(c), b_shape(c), {c.transpose_a, c.transpose_b});
            return
                [=] { kernels::matmul(g, View<const float>{a, a_shape(c)}, View<const float>{b, b_shape(c)}, View<float>{y, g.y_shape}); };
          }}),
     true);

const MatmulCase cases[] = {{"square_512", 1, 512, 512, 512},
                            {"square_2048", 1, 2048, 2048, 2048},
                            {"linear_256to1024", 1, 4096, 1024, 256, false, true},
                            {"linear_256to1024_grad_weight", 1, 1024, 256, 4096, true, false},
                            {"classifier_512to21", 1, 4096, 21, 512, false, true},
                            {"vector_4096", 1, 1, 4096, 4096, false, true},
                            {"attention_scores_8x1024", 8, 1024, 1024, 64, false, true},
                            {"attention_values_8x1024", 8, 1024, 64, 1024}};

/// y is right in a few hundred places, to rounding.
bool is_product(const MatmulCase& c, const Tensor<float>& a, const Tensor<float>& b, const Tensor<float>& y) {
  for (index_t at = 0; at < y.numel(); at += std::max<index_t>(1, y.numel() / 331)) {
    const index_t i = at / (c.m * c.n), row = at / c.n % c.m, column = at % c.n;
    double sum = 0;
    for (index_t k = 0; k < c.k; ++k)
      sum += static_cast<double>(c.transpose_a ? a.at(i, k, row) : a.at(i, row, k)) *
             static_cast<double>(c.transpose_b ? b.at(i, column, k) : b.at(i, k, column));
    if (!(std::abs(sum - static_cast<double>(y.data()[at])) < 1e-5 * std::sqrt(static_cast<double>(c.k)))) return false;
  }
  return true;
}

void product(benchmark::State& state, const MatmulCase& c, const MatmulContender& contender) {
  const auto a = random_normal<float>(a_shape(c), default_generator()), b = random_normal<float>(b_shape(c), default_generator()),
             y = zeros<float>({c.count, c.m, c.n});
  const auto run = contender.make(c, a.data(), b.data(), y.data());
  run();
  if (!is_product(c, a, b, y)) return state.SkipWithError("not the product");
  const double flop = 2.0 * static_cast<double>(c.k) * static_cast<double>(y.numel());
  const double bytes = sizeof(float) * static_cast<double>(a.numel() + b.numel() + y.numel());
  const double limit = std::max(flop / fma_peak(), bytes / copy_bandwidth(static_cast<std::size_t>(bytes) / 2));
  for (auto _ : state) run();
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = benchmark::Counter(flop, rate);
  state.counters["B/s"] = benchmark::Counter(bytes, rate);
  state.counters["%roof"] = benchmark::Counter(100 * limit, rate);
}

}  // namespace

int main(int argc, char** argv) {
  for (const MatmulCase& c : cases)
    for (const MatmulContender& contender : matmul_contenders())
      benchmark::RegisterBenchmark(concat("matmul/", c.name, "/", contender.name).c_str(), [=](benchmark::State& state) {
        product(state, c, contender);
      })->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
