#include "segnet/ops/activation.hpp"

#include "segnet/ops/arithmetic.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct ActivationCase {
  std::string name;
  std::function<Tensor<double>(const Tensor<double>&)> of_double;
  std::function<Tensor<float>(const Tensor<float>&)> of_float;
  std::function<double(double)> exact;
};

#define ACTIVATION(call, exact)                                                                                             \
  ActivationCase {                                                                                                          \
    #call, [](const Tensor<double>& x) { return segnet::call; }, [](const Tensor<float>& x) { return segnet::call; }, exact \
  }

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_tanh_of(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1)) * (x + 0.044715 * x * x * x))); }

const std::vector<ActivationCase> activations{
    ACTIVATION(relu(x), [](double x) { return std::max(x, 0.0); }),
    ACTIVATION(relu6(x), [](double x) { return std::min(std::max(x, 0.0), 6.0); }),
    ACTIVATION(leaky_relu(x), [](double x) { return x > 0 ? x : 0.01 * x; }),
    ACTIVATION(leaky_relu(x, -0.5), [](double x) { return x > 0 ? x : -0.5 * x; }),
    ACTIVATION(elu(x), [](double x) { return x > 0 ? x : std::expm1(x); }),
    ACTIVATION(elu(x, -0.7), [](double x) { return x > 0 ? x : -0.7 * std::expm1(x); }),
    ACTIVATION(sigmoid(x), sigmoid_of),
    ACTIVATION(logsigmoid(x), [](double x) { return std::log(sigmoid_of(x)); }),
    ACTIVATION(tanh(x), [](double x) { return std::tanh(x); }),
    ACTIVATION(silu(x), [](double x) { return x * sigmoid_of(x); }),
    ACTIVATION(mish(x), [](double x) { return x * std::tanh(std::log1p(std::exp(x))); }),
    ACTIVATION(hardsigmoid(x), [](double x) { return std::min(std::max(x + 3, 0.0), 6.0) / 6; }),
    ACTIVATION(hardswish(x), [](double x) { return x * std::min(std::max(x + 3, 0.0), 6.0) / 6; }),
    ACTIVATION(softplus(x), [](double x) { return std::log1p(std::exp(x)); }),
    ACTIVATION(softplus(x, 3, 2), [](double x) { return 3 * x > 2 ? x : std::log1p(std::exp(3 * x)) / 3; }),
    ACTIVATION(gelu(x), [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }),
    ACTIVATION(gelu(x, GeluApproximation::tanh), gelu_tanh_of),
};

}  // namespace

TEST_CASE("activations: values in double and float, gradients by differences") {
  for (const ActivationCase& f : activations) {
    INFO(f.name);
    const auto x = distinct<double>({2, 9, 13});  // from -7.3 to 7.3, no kink within 1/32
    const auto x_float = cast<float>(x);
    const auto y = f.of_double(x);
    const auto y_float = f.of_float(x_float);
    double worst = 0, worst_float = 0;
    for (index_t i = 0; i < x.numel(); ++i) {
      const double exact = f.exact(x.data()[i]);
      worst = std::max(worst, std::abs(y.data()[i] - exact));
      worst_float = std::max(worst_float, std::abs(static_cast<double>(y_float.data()[i]) - exact));
    }
    CHECK(worst <= 4e-15);
    CHECK(worst_float <= 8e-7);
    check_gradients(f.name, [&](const auto& in) { return f.of_double(in[0]); }, {x});

    // The float gradient is the double one.
    x.requires_grad(), x_float.requires_grad();
    x.zero_grad();
    const auto dy = normal<double>(x.shape());
    f.of_double(x).backward(dy);
    f.of_float(x_float).backward(cast<float>(dy));
    CHECK(max_difference(x_float.grad(), x.grad()) <= 4e-6);
    CHECK(f.of_double(zeros<double>({0, 2})).shape() == Shape{0, 2});
  }
}

TEST_CASE("activations: derivatives at the kinks") {
  const auto slope = [](const auto& f, double at) {
    const Tensor<double> x({1}, {at});
    x.requires_grad();
    f(x).backward();
    return x.grad().item();
  };
  CHECK(slope([](const auto& x) { return relu(x); }, 0) == 0);
  CHECK(slope([](const auto& x) { return relu6(x); }, 0) == 0);
  CHECK(slope([](const auto& x) { return relu6(x); }, 6) == 0);
  CHECK(slope([](const auto& x) { return leaky_relu(x, 0.2); }, 0) == 0.2);
  CHECK(slope([](const auto& x) { return elu(x, 0.7); }, 0) == 0.7);
  CHECK(slope([](const auto& x) { return hardsigmoid(x); }, -3) == 0);
  CHECK(slope([](const auto& x) { return hardsigmoid(x); }, 3) == 0);
  CHECK(slope([](const auto& x) { return hardswish(x); }, -3) == -0.5);
  CHECK(slope([](const auto& x) { return hardswish(x); }, 3) == 1);
}

TEST_CASE_TEMPLATE("activations: far out, NaN and infinity", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const Tensor<T> x({5}, {-infinity, -1000, 1000, infinity, nan});
  CHECK(equal(relu(x), Tensor<T>({5}, {0, 0, 1000, infinity, nan})));
  CHECK(equal(relu6(x), Tensor<T>({5}, {0, 0, 6, 6, nan})));
  CHECK(equal(sigmoid(x), Tensor<T>({5}, {0, 0, 1, 1, nan})));
  CHECK(equal(segnet::tanh(x), Tensor<T>({5}, {-1, -1, 1, 1, nan})));
  CHECK(equal(softplus(x), Tensor<T>({5}, {0, 0, 1000, infinity, nan})));
  CHECK(equal(elu(x), Tensor<T>({5}, {-1, -1, 1000, infinity, nan})));
  CHECK(equal(logsigmoid(x), Tensor<T>({5}, {-infinity, -1000, 0, 0, nan})));
  const Tensor<T> finite({2}, {-1000, 1000});
  for (const auto& y : {silu(finite), mish(finite), gelu(finite), gelu(finite, GeluApproximation::tanh), hardswish(finite)})
    CHECK(equal(y, Tensor<T>({2}, {0, 1000})));
}

TEST_CASE("prelu: one slope, one per channel, gradients, errors") {
  const Tensor<double> x({2, 3}, {1, -2, 3, -4, 5, -6}), w({3}, {0.5, 0.25, -1});
  x.requires_grad(), w.requires_grad();
  const auto y = prelu(x, w);
  CHECK(equal(y, Tensor<double>({2, 3}, {1, -0.5, 3, -2, 5, 6})));
  y.backward(Tensor<double>({2, 3}, {1, 2, 4, 8, 16, 32}));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {1, 0.5, 4, 4, 16, -32})));
  CHECK(equal(w.grad(), Tensor<double>({3}, {-32, -4, -192})));
  check_gradients("prelu", [](const auto& in) { return prelu(in[0], in[1]); }, {distinct<double>({2, 3, 4, 5}), normal<double>({5})});
  check_gradients("prelu", [](const auto& in) { return prelu(in[0], in[1]); }, {distinct<double>({2, 3, 4, 5}), normal<double>({1})});
  CHECK_THROWS_WITH_AS(prelu(x, zeros<double>({2})), "segnet::prelu: argument 'weight': expected [1] or [3] for x [2, 3], got [2]",
                       ShapeError);
  CHECK_THROWS_AS(prelu(x, zeros<double>({1, 3})), ShapeError);
  CHECK_THROWS_AS(prelu(zeros<double>({}), zeros<double>({1})), ShapeError);
}

TEST_CASE("activations: relu keeps its result alone") {
  const std::size_t before = memory_stats().in_use, size = std::size_t{4} << 18;
  const auto x = ones<float>({1 << 18}).requires_grad();
  const auto y = relu(x * 2);  // x * 2 is not kept by anybody
  CHECK(memory_stats().in_use - before < 5 * size / 2);
  y.backward(ones<float>({1 << 18}));
  CHECK(x.grad().data()[5] == 2);
}
