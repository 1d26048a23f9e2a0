#include "segnet/ops/normalization.hpp"

#include <limits>

#include "segnet/autograd/checkpoint.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Which elements share mean and variance: f(flat index) -> number of their set, [0, sets).
struct Sets {
  index_t count;
  std::function<index_t(index_t)> of;
};

/// (x - mean) / sqrt(var + eps) * weight[c] + bias[c] in double, by definition. `per` elements in a row share a weight index
/// i % per.
template <class T>
Tensor<double> by_definition(const Tensor<T>& x, const Sets& sets, const Tensor<T>& weight, const Tensor<T>& bias, double eps) {
  std::vector<double> n(static_cast<std::size_t>(sets.count)), mean(n), var(n);
  const auto at = [&](std::vector<double>& v, index_t i) -> double& { return v[static_cast<std::size_t>(sets.of(i))]; };
  for (index_t i = 0; i < x.numel(); ++i) at(n, i) += 1;
  for (index_t i = 0; i < x.numel(); ++i) at(mean, i) += static_cast<double>(x.data()[i]) / at(n, i);
  for (index_t i = 0; i < x.numel(); ++i) {
    const double d = static_cast<double>(x.data()[i]) - at(mean, i);
    at(var, i) += d * d / at(n, i);
  }
  Tensor<double> y(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) {
    const double xhat = (static_cast<double>(x.data()[i]) - at(mean, i)) / std::sqrt(at(var, i) + eps);
    const double w = weight ? static_cast<double>(weight.data()[i % weight.numel()]) : 1;
    y.data()[i] = xhat * w + (bias ? static_cast<double>(bias.data()[i % bias.numel()]) : 0);
  }
  return y;
}
Sets batch_sets(const Shape& x) {
  return {x.back(), [C = x.back()](index_t i) { return i % C; }};
}
Sets group_sets(const Shape& x, index_t groups) {
  const index_t C = x.back(), image = x.numel() / std::max<index_t>(x[0], 1);
  return {x[0] * groups, [=](index_t i) { return i / image * groups + i % C / (C / groups); }};
}

template <class T>
constexpr double tolerance() {
  return std::is_same_v<T, float> ? 1e-5 : 1e-12;
}
/// Large inputs: few elements, and a step that is seen in the sum over all of them.
GradcheckOptions some(const Shape& shape) {
  return shape.numel() > 10000 ? GradcheckOptions{.step = 1e-4, .max_elements = 3} : GradcheckOptions{.max_elements = 24};
}

/// Any rank; channels below, at and between multiples of a vector; more than one chunk of rows.
std::vector<Shape> norm_shapes() {
  return {{3, 5, 6, 4},   {2, 3, 4, 16},   {6, 4},           {2, 7, 21},     {4, 1, 1, 3},
          {2, 40, 50, 1}, {2, 20, 30, 40}, {1, 13, 11, 600}, {2, 2, 3, 2, 6}};
}

template <class T>
struct Affine {
  Tensor<T> weight, bias;
};
template <class T>
Affine<T> affine(index_t C, bool with_weight, bool with_bias) {
  return {with_weight ? normal<T>({C}, 1, 0.5) : Tensor<T>(), with_bias ? normal<T>({C}) : Tensor<T>()};
}

}  // namespace

TEST_CASE_TEMPLATE("batch_norm: training by definition, running statistics unbiased", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : norm_shapes())
    for (const bool with_weight : {true, false})
      for (const bool with_bias : {true, false}) {
        INFO("batch_norm of ", to_string(shape), " weight ", with_weight, " bias ", with_bias);
        const index_t C = shape.back(), n = shape.numel() / C;
        const auto x = normal<T>(shape, 2, 3);
        const auto [weight, bias] = affine<T>(C, with_weight, with_bias);
        const auto mean = normal<T>({C}), var = full<T>({C}, 2), mean_before = mean.clone();
        const auto y = batch_norm(x, weight, bias, mean, var, true, 0.3, 1e-3);
        CHECK(max_difference(y, by_definition(x, batch_sets(shape), weight, bias, 1e-3)) <= tolerance<T>());
        for (index_t c = 0; c < C; ++c) {
          double m = 0, v = 0;
          for (index_t i = c; i < x.numel(); i += C) m += static_cast<double>(x.data()[i]) / static_cast<double>(n);
          for (index_t i = c; i < x.numel(); i += C) v += std::pow(static_cast<double>(x.data()[i]) - m, 2) / static_cast<double>(n - 1);
          CHECK(static_cast<double>(mean.at(c)) == doctest::Approx(0.7 * static_cast<double>(mean_before.at(c)) + 0.3 * m).epsilon(1e-5));
          CHECK(static_cast<double>(var.at(c)) == doctest::Approx(0.7 * 2 + 0.3 * v).epsilon(1e-5));
        }
        CHECK(equal(batch_norm(x, weight, bias, Tensor<T>(), Tensor<T>(), true, 0.3, 1e-3), y));  // nothing tracked
      }
}

TEST_CASE_TEMPLATE("batch_norm: inference uses the running statistics and leaves them", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto x = normal<T>({2, 3, 5, 7});
  const auto [weight, bias] = affine<T>(7, true, true);
  const auto mean = normal<T>({7}), var = random_uniform<T>({7}, segnet::testing::random(), 0.5, 2), mean_before = mean.clone(),
             var_before = var.clone();
  const auto y = batch_norm(x, weight, bias, mean, var, false, 0.1, 1e-3);
  for (index_t i = 0; i < x.numel(); ++i) {
    const auto at = [&](const Tensor<T>& t) { return static_cast<double>(t.data()[i % 7]); };
    const double expected = (static_cast<double>(x.data()[i]) - at(mean)) / std::sqrt(at(var) + 1e-3) * at(weight) + at(bias);
    CHECK(static_cast<double>(y.data()[i]) == doctest::Approx(expected).epsilon(1e-5));
  }
  CHECK(equal(mean, mean_before));
  CHECK(equal(var, var_before));
}

TEST_CASE("batch_norm: derivatives, in training and inference, with and without ReLU") {
  for (const Shape& shape : norm_shapes()) {
    const index_t C = shape.back();
    const auto mean = normal<double>({C}), var = random_uniform<double>({C}, segnet::testing::random(), 0.5, 2);
    for (const bool training : {true, false}) {
      const std::string what = concat("batch_norm of ", shape, " training ", training);
      const auto f = [&](const auto& x, const auto& w, const auto& b) {
        return batch_norm(x, w, b, training ? Tensor<double>() : mean, training ? Tensor<double>() : var, training);
      };
      const auto x = normal<double>(shape, 1, 2);
      const auto [w, b] = affine<double>(C, true, true);
      check_gradients(what, [&](const auto& in) { return f(in[0], in[1], in[2]); }, {x, w, b}, some(shape));
      check_gradients(what + " no weight", [&](const auto& in) { return f(in[0], Tensor<double>(), in[1]); }, {x, b}, some(shape));
      check_gradients(what + " x alone", [&](const auto& in) { return f(in[0], w.detach(), Tensor<double>()); }, {x}, some(shape));
      check_gradients(what + " weight alone", [&](const auto& in) { return f(x.detach(), in[0], b.detach()); }, {w}, some(shape));
    }
  }
}

TEST_CASE_TEMPLATE("batch_norm_relu: the bits of batch_norm, then ReLU", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : norm_shapes())
    for (const bool training : {true, false}) {
      INFO("batch_norm_relu of ", to_string(shape), " training ", training);
      const index_t C = shape.back();
      const auto x = normal<T>(shape);
      x.requires_grad();
      const auto [w, b] = affine<T>(C, true, true);
      w.requires_grad();
      b.requires_grad();
      const auto mean = normal<T>({C}), var = random_uniform<T>({C}, segnet::testing::random(), 0.5, 2), mean_too = mean.clone(),
                 var_too = var.clone();
      const auto plain = batch_norm(x, w, b, mean, var, training);
      const auto fused = batch_norm_relu(x, w, b, mean_too, var_too, training);
      CHECK(equal(mean, mean_too));
      CHECK(equal(var, var_too));
      const auto dy = normal<T>(shape), masked = dy.clone(), clipped = plain.clone();
      for (index_t i = 0; i < x.numel(); ++i) {
        if (plain.data()[i] > 0) continue;
        clipped.data()[i] = 0;
        masked.data()[i] = 0;
      }
      CHECK(equal(fused, clipped));
      plain.backward(masked);
      const auto dx = x.grad(), dw = w.grad(), db = b.grad();
      for (const auto& leaf : {x, w, b}) leaf.zero_grad();
      fused.backward(dy);
      CHECK(max_difference(x.grad(), dx) <= tolerance<T>());
      // The same sum, but a compiler may fuse its multiply-adds in one kernel and not in the other.
      CHECK(max_difference(w.grad(), dw) <= tolerance<T>() * (1 + std::sqrt(static_cast<double>(x.numel() / std::max<index_t>(C, 1)))));
      CHECK(equal(b.grad(), db));
    }
}

TEST_CASE("batch_norm_relu: NaN stays, zero has no gradient") {
  const Tensor<float> x({4, 1}, {-1, 1, std::numeric_limits<float>::quiet_NaN(), 0}), mean = zeros<float>({1}), var = ones<float>({1});
  x.requires_grad();
  const auto y = batch_norm_relu(x, {}, {}, mean, var, false, 0.1, 0);
  CHECK(equal(y, Tensor<float>({4, 1}, {0, 1, std::numeric_limits<float>::quiet_NaN(), 0})));
  y.backward(ones<float>({4, 1}));
  CHECK(equal(x.grad(), Tensor<float>({4, 1}, {0, 1, 0, 0})));
}

TEST_CASE("batch_norm: float keeps its digits when the mean is a thousand deviations away") {
  const auto wide = normal<double>({2, 64, 64, 3});
  Tensor<float> x(wide.shape());
  for (index_t i = 0; i < x.numel(); ++i) x.data()[i] = static_cast<float>(1000.0 * static_cast<double>(i % 3 + 1) + wide.data()[i]);
  x.requires_grad();
  Tensor<double> same(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) same.data()[i] = static_cast<double>(x.data()[i]);
  same.requires_grad();
  const auto var = zeros<float>({3}), mean = zeros<float>({3});
  const auto y = batch_norm(x, {}, {}, mean, var, true, 1.0);
  const auto expected = batch_norm(same, {}, {}, {}, {}, true);
  CHECK(max_difference(y, expected) < 5e-6);
  for (index_t c = 0; c < 3; ++c) CHECK(var.at(c) == doctest::Approx(1).epsilon(0.1));
  const auto dy = normal<double>(x.shape());
  Tensor<float> dy_float(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) dy.data()[i] = static_cast<double>(dy_float.data()[i] = static_cast<float>(dy.data()[i]));
  y.backward(dy_float);
  expected.backward(dy);
  CHECK(max_difference(x.grad(), same.grad()) < 5e-6);
}

TEST_CASE("normalisation: the same bits for any number of threads") {
  const auto x = normal<float>({3, 61, 67, 24}, 1), dy = normal<float>(x.shape());
  const auto [w, b] = affine<float>(24, true, true);
  const auto run = [&](const auto& f) {
    std::vector<Tensor<float>> results;
    const auto leaf = x.detach(), weight = w.clone(), bias = b.clone();
    leaf.requires_grad();
    weight.requires_grad();
    bias.requires_grad();
    results.push_back(f(leaf, weight, bias));
    results.back().backward(dy);
    for (const auto& t : {leaf, weight, bias})
      if (t.grad()) results.push_back(t.grad());
    return results;
  };
  const auto check = [&](const char* name, const auto& f) {
    INFO(name);
    const int threads = num_threads();
    set_num_threads(1);
    const auto expected = run(f);
    for (const int t : {2, 5}) {
      set_num_threads(t);
      const auto got = run(f);
      REQUIRE(got.size() == expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) CHECK(equal(got[i], expected[i]));
    }
    set_num_threads(threads);
  };
  check("batch_norm_relu", [](const auto& x_, const auto& w_, const auto& b_) { return batch_norm_relu(x_, w_, b_, {}, {}, true); });
  check("group_norm", [](const auto& x_, const auto& w_, const auto& b_) { return group_norm(x_, 4, w_, b_); });
  check("layer_norm", [](const auto& x_, const auto& w_, const auto& b_) { return layer_norm(x_, {24}, w_, b_); });
  check("local_response_norm", [](const auto& x_, const auto&, const auto&) { return local_response_norm(x_, 5); });
}

TEST_CASE("batch_norm: a checkpoint updates the running statistics once") {
  const auto x = normal<double>({4, 3, 3, 2});
  x.requires_grad();
  const auto mean = zeros<double>({2}), var = ones<double>({2}), mean_once = mean.clone(), var_once = var.clone();
  (void)batch_norm(x, {}, {}, mean_once, var_once, true);
  const auto y = checkpoint([&](const Tensor<double>& in) { return batch_norm(in, {}, {}, mean, var, true); }, x);
  y.backward(normal<double>(y.shape()));
  CHECK(x.grad());
  CHECK(equal(mean, mean_once));
  CHECK(equal(var, var_once));
}

TEST_CASE("normalisation: an empty batch gives an empty result, zero gradients, and no new statistics") {
  const auto x = zeros<float>({0, 4, 4, 6}), w = ones<float>({6}), mean = zeros<float>({6}), var = ones<float>({6});
  const auto check = [&](const Tensor<float>& y) {
    CHECK(y.shape() == x.shape());
    w.zero_grad();
    y.backward(zeros<float>(y.shape()));
    CHECK(x.grad().shape() == x.shape());
    CHECK(equal(w.grad(), zeros<float>({6})));
  };
  x.requires_grad();
  w.requires_grad();
  check(batch_norm(x, w, {}, mean, var, true));
  check(batch_norm_relu(x, w, {}, mean, var, false));
  check(group_norm(x, 3, w));
  check(instance_norm(x, w));
  check(layer_norm(x, {6}, w));
  CHECK(local_response_norm(x, 5).shape() == x.shape());
  CHECK(equal(mean, zeros<float>({6})));
  CHECK(equal(var, ones<float>({6})));
}

TEST_CASE_TEMPLATE("group_norm, instance_norm: by definition; one group for each channel is instance norm", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : norm_shapes()) {
    const index_t C = shape.back(), pixels = shape.numel() / shape[0] / C;
    const auto x = normal<T>(shape, 3, 2);
    const auto [weight, bias] = affine<T>(C, true, true);
    for (const index_t groups : {index_t{1}, C % 2 ? C : C / 2, C}) {
      if (C % groups || pixels * (C / groups) == 1) continue;
      INFO("group_norm of ", to_string(shape), " groups ", groups);
      const auto y = group_norm(x, groups, weight, bias, 1e-3);
      CHECK(max_difference(y, by_definition(x, group_sets(shape, groups), weight, bias, 1e-3)) <= tolerance<T>());
      if (groups == C) CHECK(equal(y, instance_norm(x, weight, bias, {}, {}, true, 0.1, 1e-3)));
    }
  }
}

TEST_CASE("group_norm, instance_norm: derivatives") {
  for (const Shape& shape : norm_shapes()) {
    const index_t C = shape.back(), pixels = shape.numel() / shape[0] / C;
    const auto x = normal<double>(shape, 1, 2);
    const auto [w, b] = affine<double>(C, true, true);
    if (C % 2 == 0)
      check_gradients(
          concat("group_norm of ", shape), [&](const auto& in) { return group_norm(in[0], C / 2, in[1], in[2]); }, {x, w, b}, some(shape));
    check_gradients(concat("group_norm, one group, of ", shape), [&](const auto& in) { return group_norm(in[0], 1); }, {x}, some(shape));
    if (pixels > 2)
      check_gradients(
          concat("instance_norm of ", shape), [&](const auto& in) { return instance_norm(in[0], in[1], in[2]); }, {x, w, b}, some(shape));
    const auto mean = normal<double>({C}), var = ones<double>({C});
    check_gradients(
        concat("instance_norm with given statistics of ", shape),
        [&](const auto& in) { return instance_norm(in[0], in[1], in[2], mean, var, false); }, {x, w, b}, some(shape));
  }
}

TEST_CASE("instance_norm: running statistics follow the mean over the images") {
  const auto x = normal<double>({3, 4, 5, 2});
  const auto mean = zeros<double>({2}), var = zeros<double>({2});
  (void)instance_norm(x, {}, {}, mean, var, true, 0.5);
  for (index_t c = 0; c < 2; ++c) {
    double means = 0, variances = 0;
    for (index_t n = 0; n < 3; ++n) {
      double m = 0, v = 0;
      for (index_t p = 0; p < 20; ++p) m += x.data()[(n * 20 + p) * 2 + c] / 20;
      for (index_t p = 0; p < 20; ++p) v += std::pow(x.data()[(n * 20 + p) * 2 + c] - m, 2) / 19;
      means += m / 3;
      variances += v / 3;
    }
    CHECK(mean.at(c) == doctest::Approx(0.5 * means));
    CHECK(var.at(c) == doctest::Approx(0.5 * variances));
  }
}

TEST_CASE_TEMPLATE("layer_norm: by definition over trailing dimensions", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  struct Case {
    Shape x;
    int trailing;
  };
  for (const Case& c : std::vector<Case>{{{2, 7, 12}, 1},
                                         {{2, 4, 5, 6}, 1},
                                         {{3, 4, 5}, 2},
                                         {{2, 3, 4, 5}, 3},
                                         {{5, 64}, 1},
                                         {{3, 257}, 1},
                                         {{70, 33}, 1},
                                         {{9}, 1},
                                         {{4, 1}, 1}}) {
    const Shape inner(c.x.end() - c.trailing, c.x.end());
    INFO("layer_norm of ", to_string(c.x), " over ", to_string(inner));
    const index_t n = inner.numel();
    const auto x = normal<T>(c.x, 5, 3), w = normal<T>(inner), b = normal<T>(inner);
    const Sets rows{x.numel() / n, [n](index_t i) { return i / n; }};
    CHECK(max_difference(layer_norm(x, inner, w, b, 1e-3), by_definition(x, rows, w, b, 1e-3)) <= tolerance<T>());
    CHECK(max_difference(layer_norm(x, inner), by_definition(x, rows, {}, {}, 1e-5)) <= tolerance<T>());
    if constexpr (std::is_same_v<T, double>) {
      if (n == 1) continue;  // constant
      const std::string what = concat("layer_norm of ", c.x, " over ", inner);
      check_gradients(what, [&](const auto& in) { return layer_norm(in[0], inner, in[1], in[2]); }, {x, w, b}, {.max_elements = 24});
      check_gradients(what + " alone", [&](const auto& in) { return layer_norm(in[0], inner); }, {x}, {.max_elements = 24});
      check_gradients(what + " weight alone", [&](const auto& in) { return layer_norm(x.detach(), inner, in[0]); }, {w},
                      {.max_elements = 24});
    }
  }
}

TEST_CASE_TEMPLATE("local_response_norm: by definition, and its derivative", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  struct Case {
    Shape x;
    index_t size;
    double alpha, beta, k;
  };
  for (const Case& c : std::vector<Case>{{{2, 5, 7, 3}, 5, 1e-4, 0.75, 1},
                                         {{1, 3, 4, 16}, 5, 0.5, 0.75, 2},
                                         {{37, 21}, 4, 0.5, 0.75, 1},
                                         {{64, 40}, 3, 1, 0.6, 1},
                                         {{3, 1}, 2, 1, 1, 0.5},
                                         {{5, 6}, 1, 1, 0.75, 1},
                                         {{7}, 20, 1, 0.5, 1}}) {
    INFO("local_response_norm of ", to_string(c.x), " size ", c.size, " alpha ", c.alpha, " beta ", c.beta, " k ", c.k);
    const index_t C = c.x.back();
    const auto x = normal<T>(c.x, 0, 3);
    Tensor<double> expected(c.x);
    for (index_t i = 0; i < x.numel(); ++i) {
      double sum = 0;
      for (index_t j = i % C - c.size / 2; j <= i % C + (c.size - 1) / 2; ++j)
        if (j >= 0 && j < C) sum += std::pow(static_cast<double>(x.data()[i - i % C + j]), 2);
      expected.data()[i] = static_cast<double>(x.data()[i]) / std::pow(c.k + c.alpha / static_cast<double>(c.size) * sum, c.beta);
    }
    CHECK(max_difference(local_response_norm(x, c.size, c.alpha, c.beta, c.k), expected) <= tolerance<T>());
    if constexpr (std::is_same_v<T, double>)
      check_gradients(concat("local_response_norm of ", c.x),
                      [&](const auto& in) { return local_response_norm(in[0], c.size, c.alpha, c.beta, c.k); }, {x});
  }
}

TEST_CASE("normalisation: wrong arguments are named") {
  const auto x = zeros<float>({2, 3, 4, 6}), six = ones<float>({6}), five = ones<float>({5});
  CHECK_THROWS_WITH_AS((void)batch_norm(x, five, {}, {}, {}, true),
                       "segnet::batch_norm: argument 'weight': expected [6], one number for each channel of x, got [5]", ShapeError);
  CHECK_THROWS_WITH_AS((void)batch_norm(x, six, five, {}, {}, true), doctest::Contains("'bias'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)batch_norm(x, {}, {}, five, six, true), doctest::Contains("'running_mean'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)batch_norm(x, {}, {}, six, {}, true), doctest::Contains("'running_var'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)batch_norm_relu(x, {}, {}, {}, {}, false), doctest::Contains("batch_norm_relu: argument 'running_mean'"),
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)batch_norm(zeros<float>({1, 1, 1, 6}), {}, {}, {}, {}, true),
                       doctest::Contains("more than one value for each channel, to take their variance, got [1, 1, 1, 6]"), ShapeError);
  CHECK_NOTHROW((void)batch_norm(zeros<float>({1, 1, 1, 6}), {}, {}, six, six, false));
  CHECK_THROWS_WITH_AS((void)batch_norm(six, {}, {}, {}, {}, true), doctest::Contains("expected [N, ..., C], got [6]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)instance_norm(zeros<float>({4, 1, 1, 6})), doctest::Contains("instance_norm: argument 'x'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)group_norm(x, 4), "segnet::group_norm: argument 'groups': expected a divisor of the 6 channels, got 4",
                       ValueError);
  CHECK_THROWS_AS((void)group_norm(x, 0), ValueError);
  CHECK_THROWS_WITH_AS((void)layer_norm(x, {4}), doctest::Contains("'x': expected a shape that ends in normalized_shape [4]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)layer_norm(x, {6}, five), doctest::Contains("'weight': expected [6], got [5]"), ShapeError);
  CHECK_THROWS_AS((void)layer_norm(x, {6}, six, five), ShapeError);
  CHECK_THROWS_AS((void)layer_norm(x, {}), ShapeError);
  CHECK_THROWS_WITH_AS((void)local_response_norm(x, 0), doctest::Contains("'size': expected at least 1, got 0"), ValueError);
}
