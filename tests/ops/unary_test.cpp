#include "segnet/ops/unary.hpp"

#include "segnet/ops/arithmetic.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Function {
  const char* name;
  Tensor<double> (*of_double)(const Tensor<double>&);
  Tensor<float> (*of_float)(const Tensor<float>&);
  double (*exact)(double);
  double low, high;  ///< where its gradient is checked
};

#define FUNCTION(name, exact, low, high)                                                                                                \
  Function {                                                                                                                            \
    #name, [](const Tensor<double>& x) { return segnet::name(x); }, [](const Tensor<float>& x) { return segnet::name(x); }, exact, low, \
        high                                                                                                                            \
  }

const Function functions[] = {
    FUNCTION(exp, [](double x) { return std::exp(x); }, -3, 3),
    FUNCTION(expm1, [](double x) { return std::expm1(x); }, -3, 3),
    FUNCTION(log, [](double x) { return std::log(x); }, 0.2, 3),
    FUNCTION(log1p, [](double x) { return std::log1p(x); }, -0.8, 3),
    FUNCTION(sqrt, [](double x) { return std::sqrt(x); }, 0.2, 3),
    FUNCTION(rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.2, 3),
    FUNCTION(square, [](double x) { return x * x; }, -3, 3),
    FUNCTION(reciprocal, [](double x) { return 1 / x; }, 0.3, 3),
    FUNCTION(abs, [](double x) { return std::abs(x); }, 0.1, 3),
    FUNCTION(abs, [](double x) { return std::abs(x); }, -3, -0.1),
    FUNCTION(sin, [](double x) { return std::sin(x); }, -3, 3),
    FUNCTION(cos, [](double x) { return std::cos(x); }, -3, 3),
    FUNCTION(erf, [](double x) { return std::erf(x); }, -3, 3),
    FUNCTION(floor, [](double x) { return std::floor(x); }, 1.1, 1.9),
    FUNCTION(ceil, [](double x) { return std::ceil(x); }, -1.9, -1.1),
    FUNCTION(round, [](double x) { return std::nearbyint(x); }, 0.6, 1.4),
};

}  // namespace

TEST_CASE("unary: values in double and float, gradients by differences") {
  for (const Function& f : functions) {
    INFO(f.name);
    const auto x = random_uniform<double>({3, 7, 5}, testing::random(), f.low, f.high);
    const auto x_float = cast<float>(x);
    const auto y = f.of_double(x);
    const auto y_float = f.of_float(x_float);
    double worst = 0, worst_float = 0;
    for (index_t i = 0; i < x.numel(); ++i) {
      worst = std::max(worst, std::abs(y.data()[i] - f.exact(x.data()[i])));
      const double exact = f.exact(static_cast<double>(x_float.data()[i]));
      worst_float = std::max(worst_float, std::abs(static_cast<double>(y_float.data()[i]) - exact) / std::max(std::abs(exact), 1e-30));
    }
    CHECK(worst <= 1e-15 * 20);
    CHECK(worst_float <= 2.5e-7);
    check_gradients(f.name, [&](const auto& in) { return f.of_double(in[0]); }, {x});
    CHECK(f.of_double(zeros<double>({0, 3})).shape() == Shape{0, 3});
    CHECK(f.of_float(ones<float>({})).shape() == Shape{});
  }
}

TEST_CASE("unary: special values") {
  const auto at = [](const auto& f, double x) { return f(Tensor<double>({1}, {x})).item(); };
  CHECK(at([](const auto& x) { return segnet::log(x); }, 0) == -INFINITY);
  CHECK(std::isnan(at([](const auto& x) { return segnet::sqrt(x); }, -1)));
  const Tensor<double> halves({7}, {-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49});
  CHECK(equal(segnet::round(halves), Tensor<double>({7}, {-2, -2, 0, 0, 2, 2, 3})));

  const Tensor<double> x({4}, {-2, 0, 3, not_a_number});
  x.requires_grad();
  segnet::abs(x).backward(ones<double>({4}));
  CHECK(equal(x.grad(), Tensor<double>({4}, {-1, 0, 1, not_a_number})));
  constexpr std::int64_t large = (std::int64_t{1} << 60) + 1;  // no double holds it
  CHECK(equal(segnet::abs(Tensor<std::int64_t>({3}, {-large, 0, large})), Tensor<std::int64_t>({3}, {large, 0, large})));
}

TEST_CASE_TEMPLATE("clamp: values, NaN, gradients inside and at both bounds", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Tensor<T> x({6}, {-1, T(-0.5), 0, T(0.5), 1, std::numeric_limits<T>::quiet_NaN()});
  x.requires_grad();
  const auto y = clamp(x, T(-0.5), T(0.5));
  CHECK(equal(y, Tensor<T>({6}, {T(-0.5), T(-0.5), 0, T(0.5), T(0.5), x.data()[5]})));
  y.backward(ones<T>({6}));
  CHECK(equal(x.grad(), Tensor<T>({6}, {0, 1, 1, 1, 0, 1})));
  CHECK(equal(clamp_min(Tensor<T>({3}, {-1, 0, 1}), 0), Tensor<T>({3}, {0, 0, 1})));
  CHECK(equal(clamp_max(Tensor<T>({3}, {-1, 0, 1}), 0), Tensor<T>({3}, {-1, 0, 0})));
  CHECK(equal(clamp(Tensor<int>({3}, {-5, 0, 5}), -1, 2), Tensor<int>({3}, {-1, 0, 2})));
}

TEST_CASE("clamp: errors") {
  CHECK_THROWS_WITH_AS(clamp(ones<float>({2}), 1, 0), "segnet::clamp: argument 'low': expected at most high = 0, got 1", ValueError);
}

TEST_CASE("unary: one tensor is kept for the backward pass at most, and none where it is not read") {
  const std::size_t size = std::size_t{4} << 18;
  const auto held = [&](const auto& f) {
    const std::size_t before = memory_stats().in_use;
    const auto x = ones<float>({1 << 18}).requires_grad();
    auto y = f(f(f(f(x))));
    const std::size_t now = memory_stats().in_use - before;
    y.backward(ones<float>({1 << 18}));
    return (now + size / 2) / size;
  };
  CHECK(held([](const auto& x) { return -x; }) == 2);              // x and the result
  CHECK(held([](const auto& x) { return segnet::exp(x); }) == 5);  // and three in between
  CHECK(held([](const auto& x) { return segnet::sin(x); }) == 5);
}
