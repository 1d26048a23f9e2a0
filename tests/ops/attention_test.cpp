#include "segnet/ops/attention.hpp"

#include "segnet/nn/attention.hpp"
#include "segnet/nn/summary.hpp"
#include "segnet/ops/slice.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct Sizes {
  index_t N, L, S, heads, D, V;  // D and V of a head
};
/// Blocks of queries and keys that are one, whole, cut off, several; a head's channels fewer than a vector and more than a packed block.
std::vector<Sizes> sizes() {
  return {{2, 5, 7, 3, 4, 6},      {1, 1, 1, 1, 1, 1},     {3, 64, 64, 2, 32, 32}, {1, 97, 257, 2, 64, 32}, {2, 96, 256, 1, 33, 17},
          {1, 200, 700, 1, 5, 64}, {1, 300, 20, 2, 64, 4}, {2, 3, 40, 1, 1100, 8}, {0, 4, 5, 2, 3, 3},      {2, 0, 5, 2, 3, 3}};
}
std::string describe(const Sizes& s) { return concat("N ", s.N, ", L ", s.L, ", S ", s.S, ", ", s.heads, " heads, D ", s.D, ", V ", s.V); }
template <class T>
std::vector<Tensor<T>> operands(const Sizes& s) {
  return {normal<T>({s.N, s.L, s.heads * s.D}), normal<T>({s.N, s.S, s.heads * s.D}), normal<T>({s.N, s.S, s.heads * s.V})};
}

/// The definition, in double.
template <class T>
Tensor<double> defined(const std::vector<Tensor<T>>& x, index_t heads, double scale, const Tensor<double>& mask = {}) {
  const auto &q = x[0], &k = x[1], &v = x[2];
  const index_t L = q.dim(1), S = k.dim(1), D = q.dim(2) / heads, V = v.dim(2) / heads;
  const auto y = zeros<double>({q.dim(0), L, v.dim(2)});
  for (index_t n = 0; n < q.dim(0); ++n)
    for (index_t h = 0; h < heads; ++h)
      for (index_t i = 0; i < L; ++i) {
        std::vector<double> p(static_cast<std::size_t>(S));
        double sum = 0;
        for (index_t j = 0; j < S; ++j) {
          double score = 0;
          for (index_t c = 0; c < D; ++c) score += static_cast<double>(q.at(n, i, h * D + c)) * static_cast<double>(k.at(n, j, h * D + c));
          sum += p[static_cast<std::size_t>(j)] = std::exp(scale * score + (mask ? mask.at(n, h, i, j) : 0));
        }
        for (index_t j = 0; j < S; ++j)
          for (index_t c = 0; c < V; ++c)
            y.at(n, i, h * V + c) += p[static_cast<std::size_t>(j)] / sum * static_cast<double>(v.at(n, j, h * V + c));
      }
  return y;
}

/// y and the gradients of q, k, v by a function of them, from one dy.
template <class T, class F>
std::vector<Tensor<T>> with_gradients(const F& f, const std::vector<Tensor<T>>& inputs, const Tensor<T>& dy) {
  std::vector<Tensor<T>> x;
  for (const auto& input : inputs) x.push_back(input.clone().requires_grad());
  const Tensor<T> y = f(x);
  y.backward(dy);
  std::vector<Tensor<T>> results{y.detach()};
  for (const auto& leaf : x) results.push_back(leaf.grad());
  return results;
}

}  // namespace

TEST_CASE_TEMPLATE("attention in blocks: the definition, and the gradients of products and softmax", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const double tolerance = 100 * std::numeric_limits<T>::epsilon();
  for (const Sizes& s : sizes()) {
    INFO(describe(s));
    const auto x = operands<T>(s);
    const auto dy = normal<T>({s.N, s.L, s.heads * s.V});
    const auto whole = with_gradients<T>([&](const auto& in) { return attend(attention_weights(in[0], in[1], {s.heads}), in[2]); }, x, dy);
    const auto blocks =
        with_gradients<T>([&](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {.heads = s.heads}); }, x, dy);
    if (s.L * s.S < 1000) CHECK(max_difference(blocks[0], defined(x, s.heads, 1 / std::sqrt(static_cast<double>(s.D)))) < tolerance);
    for (std::size_t i = 0; i < 4; ++i) {
      INFO("result ", i);
      CHECK(max_difference(blocks[i], whole[i]) < tolerance * (i == 3 ? 5 : 2));  // dv sums over queries
    }
  }
}

TEST_CASE("attention: gradients, of any scale and with a mask") {
  const Sizes s{2, 3, 4, 2, 3, 2};
  const auto x = operands<double>(s);
  check_gradients("in blocks", [](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {2, 0.7}); }, x);
  for (const Shape& mask : {Shape{2, 2, 3, 4}, Shape{3, 4}, Shape{2, 1, 1, 4}}) {
    auto in = x;
    in.push_back(normal<double>(mask));
    check_gradients(
        "masked " + to_string(mask), [](const auto& t) { return scaled_dot_product_attention(t[0], t[1], t[2], {2, 0.7}, t[3]); }, in);
    const auto whole = in[3] + zeros<double>({2, 2, 3, 4});
    CHECK(max_difference(scaled_dot_product_attention(x[0], x[1], x[2], {2, 0.7}, in[3]), defined(x, 2, 0.7, whole)) < 1e-12);
  }
}

TEST_CASE("attention: keys that a mask keeps out might as well not be there") {
  const auto x = operands<float>({2, 5, 6, 2, 4, 3});
  Tensor<bool> allowed({1, 6});
  for (index_t j = 0; j < 6; ++j) allowed.data()[j] = j < 4;
  const auto masked = scaled_dot_product_attention(x[0], x[1], x[2], {.heads = 2}, additive_mask<float>(allowed));
  const auto fewer = scaled_dot_product_attention(x[0], narrow(x[1], 1, 0, 4), narrow(x[2], 1, 0, 4), {.heads = 2});
  CHECK(max_difference(masked, fewer) < 1e-6);
  const auto p = attention_weights(x[0], x[1], {.heads = 2}, additive_mask<float>(allowed));
  REQUIRE(p.shape() == Shape{2, 2, 5, 6});
  for (index_t r = 0; r < 20; ++r) {
    float sum = 0;
    for (index_t j = 0; j < 6; ++j) sum += p.data()[r * 6 + j];
    CHECK(sum == doctest::Approx(1));
    CHECK(p.data()[r * 6 + 5] == 0);
  }
}

TEST_CASE("attention: large scores neither overflow nor lose a key in a block before") {
  const auto q = full<float>({1, 2, 1}, 1000), k = zeros<float>({1, 600, 1}), v = zeros<float>({1, 600, 2});
  k.at(0, 3, 0) = 5, k.at(0, 599, 0) = 5, k.at(0, 300, 0) = -5;  // scores 5000 in the first block and in the last
  v.at(0, 3, 0) = 2, v.at(0, 599, 1) = 4, v.at(0, 300, 0) = 1e6f;
  const auto y = scaled_dot_product_attention(q, k, v);
  CHECK(y.to_vector() == std::vector<float>{1, 2, 1, 2});
  k.at(0, 0, 0) = NAN;
  for (const float value : scaled_dot_product_attention(q, k, v).to_vector()) CHECK(std::isnan(value));
}

TEST_CASE("attention: same bits for any number of threads, and only blocks in memory") {
  const int before = num_threads();
  const auto x = operands<float>({1, 3000, 600, 2, 16, 16});
  const auto dy = normal<float>({1, 3000, 32});
  const auto run = [&](int threads) {
    set_num_threads(threads);
    return with_gradients<float>([](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {.heads = 2}); }, x, dy);
  };
  const auto one = run(1);
  reset_peak_memory();
  const std::size_t in_use = memory_stats().in_use;
  const auto three = run(3);
  CHECK(memory_stats().peak - in_use < 3000 * 600 * sizeof(float));  // less than the scores of one head
  for (std::size_t i = 0; i < 4; ++i) CHECK(equal(three[i], one[i]));
  set_num_threads(before);
}

TEST_CASE("attention: errors name the argument, what was expected and what came") {
  const auto q = zeros<float>({2, 3, 8}), k = zeros<float>({2, 5, 8});
  CHECK_THROWS_WITH_AS((void)scaled_dot_product_attention(q, k, k, {.heads = 3}),
                       "segnet::scaled_dot_product_attention: argument 'q': expected [N, L, C], C a multiple of 3 heads, got [2, 3, 8]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      (void)scaled_dot_product_attention(q, zeros<float>({2, 5, 4}), k),
      "segnet::scaled_dot_product_attention: argument 'k': expected [2, S, 8], S at least 1, for q [2, 3, 8], got [2, 5, 4]", ShapeError);
  CHECK_THROWS_AS((void)scaled_dot_product_attention(q, zeros<float>({2, 0, 8}), zeros<float>({2, 0, 8})), ShapeError);
  CHECK_THROWS_WITH_AS((void)scaled_dot_product_attention(q, k, zeros<float>({2, 4, 8})), doctest::Contains("argument 'v'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)scaled_dot_product_attention(q, k, k, {.heads = 0}), doctest::Contains("argument 'heads'"), ValueError);
  CHECK_THROWS_WITH_AS((void)scaled_dot_product_attention(q, k, k, {.scale = -1}), doctest::Contains("argument 'scale'"), ValueError);
  CHECK_THROWS_WITH_AS((void)scaled_dot_product_attention(q, k, k, {.heads = 2}, zeros<float>({4, 5})),
                       "segnet::attention_weights: argument 'mask': expected a shape that broadcasts to [2, 2, 3, 5], got [4, 5]",
                       ShapeError);
}

TEST_CASE("MultiheadAttention: heads by hand, masks of both kinds, multiply-adds") {
  default_generator() = testing::random().split(1);
  const nn::MultiheadAttention<> layer(6, {.heads = 2});
  std::vector<std::string> names;
  for (const auto& entry : nn::state_dict(layer)) names.push_back(entry.name);
  CHECK(names == std::vector<std::string>{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"});

  const auto x = normal<float>({2, 5, 6}), other = normal<float>({2, 4, 6});
  const auto project = [&](const Tensor<float>& t, index_t i) {
    return linear(t, narrow(layer.in_proj_weight, 0, 6 * i, 6), narrow(layer.in_proj_bias, 0, 6 * i, 6));
  };
  const auto q = project(x, 0), k = project(other, 1), v = project(other, 2);
  const auto expected = layer.out_proj(Tensor<float>(attend(attention_weights(q, k, {.heads = 2}), v)));
  CHECK(max_difference(layer(x, other, other).detach(), expected.detach()) < 1e-6);
  CHECK(max_difference(layer.weights(x, other).detach(), attention_weights(q, k, {.heads = 2}).detach()) < 1e-6);

  Tensor<bool> padding({2, 4}), allowed({2, 1, 1, 4});
  for (index_t i = 0; i < 8; ++i) padding.data()[i] = i % 3 == 1, allowed.data()[i] = i % 3 != 1;
  const auto bias = normal<float>({5, 4});
  const auto both = attention_weights(q, k, {.heads = 2}, bias + additive_mask<float>(allowed));
  CHECK(max_difference(layer.weights(x, other, bias, padding).detach(), both.detach()) < 1e-6);
  CHECK(max_difference(layer(x, other, other, bias, padding).detach(), layer.out_proj(attend(both, v)).detach()) < 1e-6);

  nn::MultiheadAttention<> self(6, {.heads = 3, .bias = nn::Bias::no});
  CHECK(nn::num_parameters(self) == 4 * 36);
  CHECK(nn::summarize(self, {2, 5, 6}).multiply_adds == 2 * (4 * 5 * 36 + 2 * 5 * 5 * 6));
  CHECK_THROWS_WITH_AS(nn::MultiheadAttention<>(6, {.heads = 4}),
                       "segnet::nn::MultiheadAttention: argument 'heads': expected a divisor of the 6 channels, got 4", ValueError);

  // Dropout takes probabilities away, and adds to the others what they weigh on average.
  nn::MultiheadAttention<double> dropping(4, {.dropout = 0.5});
  const auto y = normal<double>({1, 3, 4});
  nn::eval(dropping);
  const auto whole = dropping(y).detach();
  nn::train(dropping);
  auto mean = zeros<double>(whole.shape());
  const NoGrad guard;
  for (int i = 0; i < 800; ++i) mean = mean + dropping(y) * (1. / 800);
  CHECK(max_difference(mean, whole) < 0.2);
  CHECK(max_difference(mean, whole) > 0);
}
