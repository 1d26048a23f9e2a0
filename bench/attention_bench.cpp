// Attention of SegFormer, Lawin and a plain vision transformer: in blocks, and with all probabilities in memory (segnet_whole). Per cent of
// what multiply-adds alone would take: two products forward, five more backward, one of which is the scores again.
#include "attention_bench.hpp"

#include <cmath>

#include "context.hpp"
#include "fma_peak.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/attention.hpp"

std::vector<AttentionContender>& attention_contenders() {
  static std::vector<AttentionContender> all;
  return all;
}

namespace {

using namespace segnet;

Shape q_shape(const AttentionCase& c) { return {c.N, c.L, c.heads * c.D}; }
Shape k_shape(const AttentionCase& c) { return {c.N, c.S, c.heads * c.D}; }

template <class Attend>
AttentionContender contender(const char* name, const Attend& attend_to) {
  return {name,
          [=](const AttentionCase& c, const float* q, const float* k, const float* v, float* y, bool training) -> std::function<void()> {
            const auto leaf = [&](const float* data, const Shape& shape) {
              return Tensor<float>(shape, data, static_cast<std::size_t>(shape.numel())).requires_grad(training);
            };
            const auto result = Tensor<float>::from_external(y, q_shape(c), nullptr), dy = ones<float>(q_shape(c));
            return [=, a = leaf(q, q_shape(c)), b = leaf(k, k_shape(c)), d = leaf(v, k_shape(c))] {
              const auto values = attend_to(a, b, d, AttentionOptions{.heads = c.heads});
              if (training) values.backward(dy), a.zero_grad(), b.zero_grad(), d.zero_grad();
              Tensor<float>(result).copy_from(values);
            };
          }};
}
const bool added = [] {
  const auto blocks = [](const auto& q, const auto& k, const auto& v, const auto& o) { return scaled_dot_product_attention(q, k, v, o); };
  const auto whole = [](const auto& q, const auto& k, const auto& v, const auto& o) { return attend(attention_weights(q, k, o), v); };
  attention_contenders().push_back(contender("segnet", blocks));
  attention_contenders().push_back(contender("segnet_whole", whole));
  return true;
}();

const AttentionCase cases[] = {{"segformer_b0_stage1_512", 1, 16384, 256, 1, 32},
                               {"segformer_b2_stage1_1024", 1, 65536, 1024, 1, 64},
                               {"segformer_b2_stage3_512", 1, 1024, 256, 5, 64},
                               {"lawin_8_512", 64, 64, 64, 64, 4},
                               {"lawin_2_512", 64, 64, 64, 4, 64},
                               {"vit_base_1024", 1, 4096, 4096, 4, 64}};

/// y is right in a few places, to rounding.
bool is_attention(const AttentionCase& c, const Tensor<float>& q, const Tensor<float>& k, const Tensor<float>& v, const Tensor<float>& y) {
  for (index_t at = 0; at < y.numel(); at += std::max<index_t>(1, y.numel() / 31)) {
    const index_t column = at % (c.heads * c.D), h = column / c.D, row = at / (c.heads * c.D) % c.L, n = at / (c.heads * c.D * c.L);
    double sum = 0, value = 0;
    for (index_t j = 0; j < c.S; ++j) {
      double score = 0;
      for (index_t i = h * c.D; i < (h + 1) * c.D; ++i) score += static_cast<double>(q.at(n, row, i)) * static_cast<double>(k.at(n, j, i));
      const double p = std::exp(score / std::sqrt(static_cast<double>(c.D)));
      sum += p;
      value += p * static_cast<double>(v.at(n, j, column));
    }
    if (!(std::abs(value / sum - static_cast<double>(y.data()[at])) < 1e-5)) return false;
  }
  return true;
}

void attention(benchmark::State& state, const AttentionCase& c, const AttentionContender& who, bool training) {
  const auto q = random_normal<float>(q_shape(c), default_generator()), k = random_normal<float>(k_shape(c), default_generator()),
             v = random_normal<float>(k_shape(c), default_generator()), y = zeros<float>(q_shape(c));
  const auto run = who.make(c, q.data(), k.data(), v.data(), y.data(), training);
  run();
  if (!is_attention(c, q, k, v, y)) return state.SkipWithError("not attention");
  const double flop = 4.0 * static_cast<double>(c.N * c.L * c.S * c.heads * c.D) * (training ? 3.5 : 1);
  for (auto _ : state) run();
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = benchmark::Counter(flop, rate);
  state.counters["%peak"] = benchmark::Counter(100 * flop / fma_peak(), rate);
}

}  // namespace

int main(int argc, char** argv) {
  for (const bool training : {false, true})
    for (const AttentionCase& c : cases)
      for (const AttentionContender& who : attention_contenders())
        benchmark::RegisterBenchmark(concat(training ? "training/" : "attention/", c.name, "/", who.name).c_str(),
                                     [=](benchmark::State& state) { attention(state, c, who, training); })
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
