#include "segnet/autograd/backward.hpp"

#include "segnet/autograd/checkpoint.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// y = a * x^2 + b, element-wise, written as a user would write an operation of their own.
template <class T, class D>
Tensor<T, D> scaled_square(const Tensor<T, D>& x, double a = 1, double b = 0) {
  Tensor<T, D> y(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) y.data()[i] = static_cast<T>(a) * x.data()[i] * x.data()[i] + static_cast<T>(b);
  return record("scaled_square", y, {x}, [a, x = x.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    for (index_t i = 0; i < x.numel(); ++i) grad[0].data()[i] = static_cast<T>(2 * a) * x.data()[i] * dy.data()[i];
  });
}
template <class T, class D>
Tensor<T, D> sum_of(const Tensor<T, D>& x, const Tensor<T, D>& z) {
  Tensor<T, D> y(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) y.data()[i] = x.data()[i] + z.data()[i];
  return record("sum_of", y, {x, z}, [](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    grad.set(0, dy);
    grad.set(1, dy);
  });
}

/// 2 x, whose gradient takes the place of the one that comes in.
Tensor<float> twice(const Tensor<float>& x) {
  return record("twice", sum_of(x.detach(), x.detach()), {x}, [](const Tensor<float>& dy, Gradients<float>& grad) {
    const Tensor<float>& dx = grad.in_place_of(dy, 0);
    for (index_t i = 0; i < dy.numel(); ++i) dx.data()[i] = 2 * dy.data()[i];
  });
}

}  // namespace

TEST_CASE_TEMPLATE("backward: chain, several uses, accumulation over calls", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Tensor<T> x({3}, {1, 2, 3});
  x.requires_grad();
  const Tensor<T> y = scaled_square(x, 3), z = sum_of(y, sum_of(x, y));  // 6 x^2 + x
  z.backward(Tensor<T>({3}, {1, 10, 100}));
  CHECK(equal(x.grad(), Tensor<T>({3}, {13, 250, 3700})));
  sum_of(x, x).backward(ones<T>({3}));
  CHECK(equal(x.grad(), Tensor<T>({3}, {15, 252, 3702})));
  x.zero_grad();
  CHECK_FALSE(x.grad());
}

TEST_CASE("backward: a gradient that was handed in is never overwritten") {
  const Tensor<float> x = ones<float>({2}), dy = ones<float>({2});
  x.requires_grad();
  const auto y = sum_of(x, x);
  y.backward(dy, true);
  y.backward(dy);
  CHECK(equal(dy, ones<float>({2})));
  CHECK(equal(x.grad(), full<float>({2}, 4)));
}

TEST_CASE("backward: a gradient is overwritten in place only where nobody else sees it") {
  const Tensor<float> x = ones<float>({2}), dy = ones<float>({2});
  x.requires_grad();
  twice(twice(x)).backward(dy);
  CHECK(equal(dy, ones<float>({2})));
  CHECK(equal(x.grad(), full<float>({2}, 4)));
  x.zero_grad();
  const auto a = twice(x), b = twice(x);  // both get the gradient of their sum
  const auto y = twice(sum_of(a, b));
  y.backward(dy, true);
  y.backward(dy);
  CHECK(equal(x.grad(), full<float>({2}, 16)));
}

TEST_CASE("backward: errors say what happened and what to do") {
  const Tensor<float> x({2}, {1, 2});
  CHECK_THROWS_WITH_AS(scaled_square(x).backward(ones<float>({2})), doctest::Contains("not tracked"), Error);
  x.requires_grad();
  const auto y = scaled_square(x);
  CHECK_THROWS_WITH_AS(y.backward(), doctest::Contains("argument 'gradient': expected a gradient of shape [2]"), ShapeError);
  CHECK_THROWS_AS(y.backward(ones<float>({3})), ShapeError);
  CHECK_FALSE(x.grad());  // nothing was touched
  y.backward(ones<float>({2}));
  CHECK_THROWS_WITH_AS(y.backward(ones<float>({2})), doctest::Contains("'scaled_square' was walked before"), Error);
  CHECK_THROWS_WITH_AS(y.requires_grad(), doctest::Contains("result of 'scaled_square'"), Error);
}

TEST_CASE("backward: keep_graph allows a second walk") {
  const Tensor<double> x({1}, {3});
  x.requires_grad();
  const auto y = scaled_square(x);
  y.backward({}, true);
  y.backward();
  CHECK(x.grad().item() == 12);
}

TEST_CASE("no_grad and detach: nothing is recorded") {
  const Tensor<float> x({1}, {2});
  x.requires_grad();
  CHECK_FALSE(no_grad([&] { return scaled_square(x); }).tracked());
  CHECK_FALSE(scaled_square(x.detach()).tracked());
  CHECK(x.detach().shares_memory_with(x));
  CHECK(scaled_square(x).tracked());
}

TEST_CASE("a graph of a million operations neither overflows the stack nor leaks, walked or dropped") {
  const std::size_t before = memory_stats().in_use;
  {
    const Tensor<float> x = ones<float>({1});
    x.requires_grad();
    const Tensor<float> zero = zeros<float>({1});
    for (const bool walk : {true, false}) {
      Tensor<float> y = x;
      for (int i = 0; i < 1000000; ++i) y = sum_of(y, zero);
      if (walk) y.backward();
    }
    CHECK(x.grad().item() == 1);
  }
  CHECK(memory_stats().in_use == before);
}

TEST_CASE("checkpoint: same gradients, computed twice, less memory in between") {
  int calls = 0;
  const auto deep = [&calls](const Tensor<double>& x) {
    ++calls;
    Tensor<double> y = x;
    for (int i = 0; i < 10; ++i) y = scaled_square(y, 0.5, 0.5);
    return y;
  };
  const auto held_between = [&](const auto& f, Tensor<double>& gradient) {
    const Tensor<double> x = full<double>({1000}, 0.9);
    x.requires_grad();
    const std::size_t before = memory_stats().in_use;
    const auto y = f(x);
    const std::size_t held = memory_stats().in_use - before;
    y.backward(ones<double>({1000}));
    gradient = x.grad();
    return held;
  };
  Tensor<double> plain, recomputed;
  const std::size_t all = held_between(deep, plain);
  const std::size_t little = held_between([&](const Tensor<double>& x) { return checkpoint(deep, x); }, recomputed);
  CHECK(calls == 3);
  CHECK(equal(plain, recomputed));
  CHECK(little * 5 < all);
}

TEST_CASE("gradcheck: accepts the right derivative and names a wrong one") {
  const auto x = normal<double>({3, 4}).requires_grad();
  CHECK(gradcheck([](const auto& in) { return scaled_square(in[0], 2, 1); }, {x}));
  const auto wrong = [](const std::vector<Tensor<double>>& in) {
    const Tensor<double> y = in[0].clone();
    return record("wrong", y, {in[0]}, [](const Tensor<double>& dy, Gradients<double>& grad) {
      for (index_t i = 0; i < dy.numel(); ++i) grad[0].data()[i] = dy.data()[i] * (i == 5 ? 1.001 : 1);
    });
  };
  const GradcheckResult result = gradcheck(wrong, {x});
  CHECK_FALSE(result);
  CHECK(result.message.find("input 0 [3, 4] element 5") == 0);
}
