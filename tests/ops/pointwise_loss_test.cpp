#include "segnet/ops/pointwise_loss.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

const Reduction reductions[] = {Reduction::mean, Reduction::sum, Reduction::none};
/// Nothing, one element, less than a block, more than a chunk.
const Shape shapes[] = {{0, 3}, {}, {4, 5}, {2, 3, 3, 7}, {300, 60}};

template <class T>
Tensor<double> in_double(const Tensor<T>& x) {
  Tensor<double> y(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) y.data()[i] = static_cast<double>(x.data()[i]);
  return y;
}

/// y of `loss` is f(x, t) element by element, and its reductions are those of y.
template <class Loss, class F>
void check_values(const Loss& loss, const F& f) {
  for (const Shape& shape : shapes) {
    INFO(shape);
    const auto x = normal<float>(shape, 0, 3), t = random_uniform<float>(shape, testing::random());
    Tensor<double> expected(shape);
    double sum = 0;
    for (index_t i = 0; i < x.numel(); ++i) {
      expected.data()[i] = f(static_cast<double>(x.data()[i]), static_cast<double>(t.data()[i]));
      sum += expected.data()[i];
    }
    const double size = static_cast<double>(x.numel());
    CHECK(max_difference(loss(x, t, Reduction::none), expected) < 1e-4);
    CHECK(max_difference(loss(in_double(x), in_double(t), Reduction::none), expected) < 1e-10);
    CHECK(max_difference(loss(in_double(x), in_double(t), Reduction::sum), full<double>({}, sum)) < 1e-9 * (1 + size));
    CHECK(max_difference(loss(in_double(x), in_double(t), Reduction::mean), full<double>({}, sum / size)) < 1e-11);
    CHECK(std::abs(static_cast<double>(loss(x, t, Reduction::sum).item()) - sum) <= 1e-6 * (1 + std::abs(sum)));
  }
}
template <class Loss>
void check_gradients_of(const std::string& what, const Loss& loss, bool to_target) {
  for (const Shape& shape : {Shape{1}, {4, 5}, {2, 200}})
    for (const Reduction reduction : reductions) {
      // abs(x - t) is at least 1/64: no element is so near the kink that the step crosses it.
      const auto x = distinct<double>(shape), t = random_uniform<double>(shape, testing::random());
      for (index_t i = 0; i < x.numel(); ++i) x.data()[i] = x.data()[i] / 2 + t.data()[i];
      const std::string text = concat(what, " ", shape, " reduction ", static_cast<int>(reduction));
      if (to_target) check_gradients(text, [&](const auto& in) { return loss(in[0], in[1], reduction); }, {x, t});
      else check_gradients(text, [&](const auto& in) { return loss(in[0], t, reduction); }, {x});
    }
}

}  // namespace

TEST_CASE("regression losses: values") {
  check_values([](auto x, auto t, Reduction r) { return mse_loss(x, t, r); }, [](double x, double t) { return (x - t) * (x - t); });
  check_values([](auto x, auto t, Reduction r) { return l1_loss(x, t, r); }, [](double x, double t) { return std::abs(x - t); });
  for (const double beta : {0.0, 1.0 / 9, 2.0}) {
    check_values([=](auto x, auto t, Reduction r) { return smooth_l1_loss(x, t, {.beta = beta, .reduction = r}); },
                 [=](double x, double t) {
                   const double d = std::abs(x - t);
                   return d < beta ? d * d / (2 * beta) : d - beta / 2;
                 });
    if (beta == 0) continue;
    check_values([=](auto x, auto t, Reduction r) { return huber_loss(x, t, {.delta = beta, .reduction = r}); },
                 [=](double x, double t) {
                   const double d = std::abs(x - t);
                   return d <= beta ? d * d / 2 : beta * (d - beta / 2);
                 });
  }
}

TEST_CASE("regression losses: gradients to both sides") {
  check_gradients_of("mse_loss", [](auto& x, auto& t, Reduction r) { return mse_loss(x, t, r); }, true);
  check_gradients_of("l1_loss", [](auto& x, auto& t, Reduction r) { return l1_loss(x, t, r); }, true);
  for (const double beta : {0.0, 0.5, 2.0})
    check_gradients_of("smooth_l1_loss", [=](auto& x, auto& t, Reduction r) { return smooth_l1_loss(x, t, {beta, r}); }, true);
  check_gradients_of("huber_loss", [](auto& x, auto& t, Reduction r) { return huber_loss(x, t, {0.7, r}); }, true);
}

TEST_CASE_TEMPLATE("regression losses: slope at the kink", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto slope = [](const auto& loss) {
    const auto x = zeros<T>({1});
    x.requires_grad();
    loss(x, zeros<T>({1})).backward();
    return x.grad().item();
  };
  CHECK(slope([](auto& x, auto t) { return l1_loss(x, t); }) == T(0));
  CHECK(slope([](auto& x, auto t) { return smooth_l1_loss(x, t, {.beta = 0}); }) == T(0));
  CHECK(slope([](auto& x, auto t) { return smooth_l1_loss(x, t); }) == T(0));
}

TEST_CASE("binary_cross_entropy_with_logits, sigmoid_focal_loss: values") {
  const auto bce = [](double x, double t) { return t * std::log1p(std::exp(-x)) + (1 - t) * std::log1p(std::exp(x)); };
  check_values([](auto x, auto t, Reduction r) { return binary_cross_entropy_with_logits(x, t, {.reduction = r}); }, bce);
  for (const double alpha : {-1.0, 0.25, 0.6})
    for (const double gamma : {0.0, 1.0, 1.5, 2.0})
      check_values([=](auto x, auto t, Reduction r) { return sigmoid_focal_loss(x, t, {alpha, gamma, r}); },
                   [=](double x, double t) {
                     const double wrong = t / (1 + std::exp(x)) + (1 - t) / (1 + std::exp(-x));  // 1 - p_t
                     return (alpha < 0 ? 1 : alpha * t + (1 - alpha) * (1 - t)) * std::pow(wrong, gamma) * bce(x, t);
                   });
}

TEST_CASE("binary_cross_entropy_with_logits, sigmoid_focal_loss: gradients") {
  check_gradients_of("bce", [](auto& x, auto& t, Reduction r) { return binary_cross_entropy_with_logits(x, t, {.reduction = r}); }, true);
  for (const double alpha : {-1.0, 0.25})
    for (const double gamma : {0.0, 0.5, 1.5, 2.0})
      check_gradients_of(
          concat("focal alpha ", alpha, " gamma ", gamma),
          [=](auto& x, auto& t, Reduction r) { return sigmoid_focal_loss(x, t, {alpha, gamma, r}); }, false);
}

TEST_CASE("binary_cross_entropy_with_logits: weights broadcast from the right") {
  const Shape shape{2, 30, 5, 7};
  const auto x = normal<double>(shape), t = random_uniform<double>(shape, testing::random());
  const auto plain = binary_cross_entropy_with_logits(x, t, {.reduction = Reduction::none});
  const auto positive_part = binary_cross_entropy_with_logits(x, ones<double>(shape), {.reduction = Reduction::none});
  for (const Shape& w_shape : {Shape{}, {1}, {7}, {5, 7}, {1, 1, 5, 7}, {2, 30, 5, 1}, {30, 1, 7}, {2, 1, 1, 1}, {2, 30, 5, 7}}) {
    INFO(w_shape);
    const auto w = random_uniform<double>(w_shape, testing::random(), 0.5, 3);
    const auto at = [&](index_t i) {  // w's element for element i of x, by hand
      index_t offset = 0, step = 1;
      for (int d = shape.rank() - 1, k = w_shape.rank() - 1; k >= 0; --d, --k) {
        if (w_shape[k] != 1) offset += i % shape[d] * step;
        step *= w_shape[k];
        i /= shape[d];
      }
      return w.data()[offset];
    };
    Tensor<double> weighted(shape), positive(shape);
    for (index_t i = 0; i < x.numel(); ++i) {
      weighted.data()[i] = at(i) * plain.data()[i];
      positive.data()[i] = plain.data()[i] + (at(i) - 1) * t.data()[i] * positive_part.data()[i];
    }
    CHECK(max_difference(binary_cross_entropy_with_logits(x, t, {.weight = w, .reduction = Reduction::none}), weighted) < 1e-13);
    CHECK(max_difference(binary_cross_entropy_with_logits(x, t, {.pos_weight = w, .reduction = Reduction::none}), positive) < 1e-13);
    check_gradients(concat("bce weight ", w_shape),
                    [&](const auto& in) { return binary_cross_entropy_with_logits(in[0], in[1], {.weight = w, .pos_weight = w}); }, {x, t});
    x.requires_grad(false), t.requires_grad(false);
  }
}

TEST_CASE_TEMPLATE("binary losses: logits of +-1e4", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Tensor<T> x({4}, {T(1e4), T(-1e4), T(1e4), T(-1e4)}), t({4}, {1, 0, 0, 1});
  x.requires_grad();
  const auto bce = binary_cross_entropy_with_logits(x, t, {.reduction = Reduction::none});
  CHECK(equal(bce, Tensor<T>({4}, {0, 0, T(1e4), T(1e4)})));
  bce.backward(ones<T>({4}));
  CHECK(equal(x.grad(), Tensor<T>({4}, {0, 0, 1, -1})));
  for (const double gamma : {0.0, 0.5, 2.0}) {
    x.zero_grad();
    const auto focal = sigmoid_focal_loss(x, t, {-1, gamma, Reduction::none});
    CHECK(equal(focal, Tensor<T>({4}, {0, 0, T(1e4), T(1e4)})));
    focal.backward(ones<T>({4}));
    CHECK(equal(x.grad(), Tensor<T>({4}, {0, 0, 1, -1})));
  }
}

TEST_CASE("sigmoid_focal_loss: targets are constants") {
  const auto x = normal<double>({3}), t = random_uniform<double>({3}, testing::random());
  x.requires_grad(), t.requires_grad();
  sigmoid_focal_loss(x, t).backward();
  CHECK(x.grad());
  CHECK_FALSE(t.grad());
}

TEST_CASE("pointwise losses: the mean over nothing is NaN, the sum 0") {
  const Tensor<float> none({0, 4});
  CHECK(std::isnan(mse_loss(none, none).item()));
  CHECK(mse_loss(none, none, Reduction::sum).item() == 0);
  CHECK(mse_loss(none, none, Reduction::none).shape() == Shape{0, 4});
}

TEST_CASE("pointwise losses: wrong arguments") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(void(mse_loss(x, zeros<float>({3, 2}))),
                       "segnet::mse_loss: argument 'target': expected [2, 3] like the input, got [3, 2]", ShapeError);
  for (const Shape& wrong : {Shape{2}, {3, 1}, {1, 2, 3}})
    CHECK_THROWS_WITH_AS(void(binary_cross_entropy_with_logits(x, x, {.weight = zeros<float>(wrong)})),
                         doctest::Contains("argument 'weight': expected a shape that broadcasts to [2, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(void(binary_cross_entropy_with_logits(x, x, {.pos_weight = zeros<float>({2})})),
                       doctest::Contains("argument 'pos_weight'"), ShapeError);
  CHECK_THROWS_AS(void(smooth_l1_loss(x, x, {.beta = -1})), ValueError);
  CHECK_THROWS_AS(void(huber_loss(x, x, {.delta = 0})), ValueError);
  CHECK_THROWS_AS(void(sigmoid_focal_loss(x, x, {.gamma = -1})), ValueError);
  CHECK_THROWS_AS(void(sigmoid_focal_loss(x, x, {.alpha = 2})), ValueError);
}

TEST_CASE_TEMPLATE("pointwise losses: the gradient of an element does not depend on where it stands", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const index_t n = 50000, part = 125;
  const auto x = normal<T>({n}), t = random_uniform<T>({n}, testing::random()), w = random_uniform<T>({n}, testing::random());
  x.requires_grad();
  binary_cross_entropy_with_logits(x, t, {.weight = w, .reduction = Reduction::sum}).backward();
  for (index_t i = 0; i < n; i += part) {
    const auto piece = x.alias({part}, i);
    piece.requires_grad();
    binary_cross_entropy_with_logits(piece, t.alias({part}, i), {.weight = w.alias({part}, i), .reduction = Reduction::sum}).backward();
    CHECK(max_difference(piece.grad(), x.grad().alias({part}, i)) < 1e-6);
  }
}

TEST_CASE("pointwise losses: same bits for any number of threads") {
  const auto x = normal<float>({100000}), t = normal<float>({100000});
  const int before = num_threads();
  set_num_threads(1);
  const auto one = mse_loss(x, t);
  set_num_threads(3);
  CHECK(equal(one, mse_loss(x, t)));
  set_num_threads(before);
}
