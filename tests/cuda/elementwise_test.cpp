#include <sstream>

#include "cuda/same_on_gpu.hpp"
#include "segnet/core/print.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/unary.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// One function of tensors on both devices, its code behind pointers so that the checks are compiled once. bfloat16 is float on the CPU.
template <class T>
struct Both {
  using OnCpu = Tensor<Master<T>>;
  template <class F>
  Both(const char* text, F f, double l = -3, double h = 3) : name(text), cpu(f), gpu(f), low(l), high(h) {}
  OnCpu operator()(const std::vector<OnCpu>& x) const { return cpu(x); }
  Tensor<T, Cuda> operator()(const std::vector<Tensor<T, Cuda>>& x) const { return gpu(x); }
  const char* name;
  OnCpu (*cpu)(const std::vector<OnCpu>&);
  Tensor<T, Cuda> (*gpu)(const std::vector<Tensor<T, Cuda>>&);
  double low, high;
};
#define F(expression, ...) {#expression, [](const auto& x) { return expression; } __VA_OPT__(, ) __VA_ARGS__}

template <class T>
std::vector<Both<T>> functions_of_one() {
  return {F(-x[0]),
          F(exp(x[0])),
          F(expm1(x[0])),
          F(log(x[0]), 0.1, 3),
          F(log1p(x[0]), -0.9, 3),
          F(sqrt(x[0]), 0.1, 3),
          F(rsqrt(x[0]), 0.1, 3),
          F(square(x[0])),
          F(reciprocal(x[0]), 0.2, 3),
          F(abs(x[0])),
          F(sin(x[0])),
          F(cos(x[0])),
          F(erf(x[0])),
          F(floor(x[0])),
          F(ceil(x[0])),
          F(round(x[0])),
          F(clamp(x[0], -1, 2)),
          F(clamp_min(x[0], 1)),
          F(clamp_max(x[0], 1)),
          F(relu(x[0])),
          F(relu6(x[0]), -3, 9),
          F(leaky_relu(x[0], 0.1)),
          F(leaky_relu(x[0], -0.1)),
          F(elu(x[0], 0.7)),
          F(sigmoid(x[0])),
          F(logsigmoid(x[0])),
          F(tanh(x[0])),
          F(silu(x[0])),
          F(mish(x[0])),
          F(gelu(x[0])),
          F(gelu(x[0], GeluApproximation::tanh)),
          F(hardsigmoid(x[0]), -5, 5),
          F(hardswish(x[0]), -5, 5),
          F(softplus(x[0], 2, 3)),
          F(x[0] + 2),
          F(3 - x[0]),
          F(x[0] * 2),
          F(1 / x[0], 0.2, 3),
          F(x[0] / 3),
          F(maximum(x[0], 1)),
          F(minimum(x[0], 1)),
          F(pow(x[0], 3)),
          F(pow(2, x[0])),
          F(atan2(x[0], 2))};
}
template <class T>
std::vector<Both<T>> functions_of_two() {
  return {F(x[0] / x[1]),
          F(pow(x[0], x[1])),
          F(maximum(x[0], x[1])),
          F(minimum(x[0], x[1])),
          F(atan2(x[0], x[1])),
          F(where(less(x[0], x[1]), x[0], x[1])),
          F(masked_fill(x[0] + x[1], greater_equal(x[0], x[1]), 5))};
}
template <class T>
std::vector<Both<T>> linear_functions_of_two() {
  return {F(x[0] + x[1]), F(x[0] - x[1]), F(x[0] * x[1])};
}
#undef F

const std::vector<std::pair<Shape, Shape>> broadcasts = {{{2, 5, 7, 8}, {8}},
                                                         {{2, 5, 7, 6}, {6}},
                                                         {{8}, {2, 3, 8}},
                                                         {{2, 3, 4, 5}, {2, 1, 1, 5}},
                                                         {{2, 3, 4, 8}, {2, 1, 1, 8}},
                                                         {{4, 1, 3}, {1, 5, 1}},
                                                         {{}, {3, 4}},
                                                         {{3, 4}, {1}},
                                                         {{0, 3}, {3}},
                                                         {{3, 1}, {1, 4}},
                                                         {{2, 5, 8}, {2, 5, 1}},
                                                         {{999, 33}, {33}},
                                                         {{300, 64}, {64}},
                                                         {{7}, {7}},
                                                         {{3, 1, 2, 1, 3}, {2, 1, 4, 1}},
                                                         {{2, 40, 40, 16}, {16}},
                                                         {{1, 1, 1, 1}, {2, 1, 3, 1}}};

template <class T>
constexpr double tolerance_of = std::is_same_v<T, float> ? 4e-6 : 1e-13;

template <class T, class D>
Tensor<T, D> without_first(const Tensor<T, D>& x) {
  return x.alias({x.numel() - 1}, 1);
}

}  // namespace

TEST_CASE_TEMPLATE("cuda: functions of one number", T, float, double) {
  if (!gpu()) return;
  for (const auto& f : functions_of_one<T>())
    for (const Shape& shape : {Shape{3, 7, 5}, Shape{1}, Shape{0, 4}, Shape{on_gpu(70001, 7001)}})
      check_same_on_gpu<T>(f.name, f, {random_uniform<T>(shape, testing::random(), f.low, f.high)}, tolerance_of<T>);
}

TEST_CASE_TEMPLATE("cuda: functions of two numbers, broadcast", T, float, double) {
  if (!gpu()) return;
  for (const auto& [a, b] : broadcasts) {
    INFO(a << " " << b);
    for (const auto& f : functions_of_two<T>())
      check_same_on_gpu<T>(f.name, f, {random_uniform<T>(a, testing::random(), 0.3, 2), random_uniform<T>(b, testing::random(), 0.3, 2)},
                           tolerance_of<T>);
    for (const auto& f : linear_functions_of_two<T>()) check_same_on_gpu<T>(f.name, f, {integers<T>(a, -3, 3), integers<T>(b, -3, 3)});
  }
  check_same_on_gpu<T>("prelu", [](const auto& x) { return prelu(x[0], x[1]); }, {integers<T>({5, 9, 6}, -3, 3), integers<T>({6}, -3, 3)});
}

TEST_CASE("cuda: float functions within 2 ulp, and what is special") {
  if (!gpu()) return;
  const auto ulps = [](const char* name, const auto& f, double low, double high) {
    INFO(name);
    const auto x = random_uniform<float>({1 << 16}, testing::random(), low, high);
    const auto y = f(x.to<Cuda>()).template to<Cpu>();
    const auto exact = f(cast<double>(x));
    double worst = 0;
    for (index_t i = 0; i < x.numel(); ++i) {
      const auto nearest = static_cast<float>(exact.data()[i]);
      const double ulp = std::max(static_cast<double>(std::nextafter(std::abs(nearest), INFINITY) - std::abs(nearest)), 1e-45);
      worst = std::max(worst, std::abs(static_cast<double>(y.data()[i]) - exact.data()[i]) / ulp);
    }
    CHECK(worst <= 2.5);
  };
#define ULPS(name, low, high) ulps(#name, [](const auto& x) { return name(x); }, low, high)
  ULPS(exp, -80, 80);
  ULPS(expm1, -20, 80);
  ULPS(log, 1e-6, 1e6);
  ULPS(log1p, -0.99, 100);
  ULPS(sqrt, 0, 1e6);
  ULPS(rsqrt, 1e-3, 1e3);
  ULPS(tanh, -9, 9);
  ULPS(sigmoid, -80, 80);
  ULPS(erf, -4, 4);
  ULPS(sin, -30, 30);
#undef ULPS
  const float inf = INFINITY, nan = NAN;
  const Tensor<float> x({8}, {0, -0.0f, inf, -inf, nan, -1, 1e-42f, 100});
  const auto same = [&](const auto& f) { CHECK(equal(f(x.to<Cuda>()).template to<Cpu>(), f(x))); };
  same([](const auto& t) { return relu(t); });
  same([](const auto& t) { return sqrt(maximum(t, 0)); });
  same([](const auto& t) { return clamp(t, -2, 2); });
  same([](const auto& t) { return cast<std::int32_t>(equal_to(t, t)); });
  for (const float v : {inf, -inf, nan, 0.0f, -1.0f}) {
    const Tensor<float> t({1}, {v});
    if (v != -1) CHECK(equal(exp(t.to<Cuda>()).to<Cpu>(), exp(t)));
    CHECK(equal(log(t.to<Cuda>()).to<Cpu>(), log(t)));
    CHECK(equal(log1p(t.to<Cuda>()).to<Cpu>(), log1p(t)));
  }
}

TEST_CASE("cuda: casts, comparisons, integers") {
  if (!gpu()) return;
  const auto x = integers<float>({1003}, 0, 100);
  const auto through = [&]<class U>(U) { CHECK(equal(cast<float>(cast<U>(x.to<Cuda>())).template to<Cpu>(), x)); };
  through(double{});
  through(bfloat16{});
  through(std::int32_t{});
  through(std::int64_t{});
  through(std::uint8_t{});
  CHECK(equal(cast<float>(cast<bool>(x.to<Cuda>())).to<Cpu>(), cast<float>(cast<bool>(x))));
  const auto reals = normal<float>({1003});
  CHECK(equal(cast<double>(cast<bfloat16>(reals.to<Cuda>())).to<Cpu>(), cast<double>(cast<bfloat16>(reals))));
  check_same_on_gpu<float>("cast", [](const auto& t) { return cast<float>(cast<double>(t[0])); }, {reals});

  const auto integer_case = [&]<class T>(T) {
    const auto a = integers<T>({37, 5}, 1, 5), b = integers<T>({5}, 1, 5);
    const auto f = [](const auto& s, const auto& t) { return maximum(s * t + 2, t) - minimum(s, 3) / t; };
    CHECK(equal(f(a.template to<Cuda>(), b.template to<Cuda>()).template to<Cpu>(), f(a, b)));
    const auto less_or = [](const auto& s, const auto& t) { return where(less_equal(s, t), square(s), clamp(t, 2, 4)); };
    CHECK(equal(less_or(a.template to<Cuda>(), b.template to<Cuda>()).template to<Cpu>(), less_or(a, b)));
  };
  integer_case(std::int32_t{});
  integer_case(std::int64_t{});
  integer_case(std::uint8_t{});
  const auto large = integers<index_t>({37, 5}, -1000, 1000) + ((index_t{1} << 60) + 1);  // no double holds these
  const auto exact = [](const auto& t) { return maximum(square(t - (index_t{1} << 60)), -t) + clamp_max(t, index_t{1} << 60); };
  CHECK(exact(large.to<Cuda>()).to_vector() == exact(large).to_vector());
  CHECK(cast<std::int32_t>(greater(large.to<Cuda>(), large.at(3, 3))).to_vector() ==
        cast<std::int32_t>(greater(large, large.at(3, 3))).to_vector());
}

TEST_CASE("cuda: elements that no pack can be aligned to") {
  if (!gpu()) return;
  const auto x = integers<float>({1001}, -3, 3), y = integers<float>({1001}, -3, 3);
  const auto f = [](const auto& a, const auto& b) { return relu(without_first(a)) * without_first(b) + without_first(a); };
  CHECK(equal(f(x.to<Cuda>(), y.to<Cuda>()).to<Cpu>(), f(x, y)));
  const auto by_channel = [](const auto& a, const auto& b) { return b.alias({50, 8}) + a.alias({8}, 1); };
  CHECK(equal(by_channel(x.to<Cuda>(), y.to<Cuda>()).to<Cpu>(), by_channel(x, y)));
}

TEST_CASE("cuda: functions of bfloat16 are those of float, rounded") {
  if (!gpu()) return;
  const auto sixteenths = [](const Shape& shape, double low, double high) {  // bfloat16's own numbers
    return integers<float>(shape, static_cast<int>(std::ceil(low * 16)), static_cast<int>(std::floor(high * 16))) / 16;
  };
  for (const auto& f : functions_of_one<bfloat16>())
    for (const Shape& shape : {Shape{5, 8}, Shape{3, 7, 5}, Shape{0, 4}})
      check_bfloat16_on_gpu(f.name, f, {sixteenths(shape, f.low, f.high)}, 1e-2);  // what is kept is rounded, too
  for (const auto& [a, b] : broadcasts) {
    if (a.numel() > 3000) continue;
    INFO(a << " " << b);
    if (a.numel() != 1 && b.numel() != 1)  // one sum of products may be nothing but their rounding
      for (const auto& f : functions_of_two<bfloat16>())
        check_bfloat16_on_gpu(f.name, f, {sixteenths(a, 0.5, 2), sixteenths(b, 0.5, 2)}, 2e-2);
    for (const auto& f : linear_functions_of_two<bfloat16>())
      check_bfloat16_on_gpu(f.name, f, {integers<float>(a, -3, 3), integers<float>(b, -3, 3)});
  }
  check_bfloat16_on_gpu("prelu", [](const auto& x) { return prelu(x[0], x[1]); },
                        {integers<float>({5, 9, 6}, -3, 3), integers<float>({6}, -3, 3)});
  check_bfloat16_on_gpu(
      "chained", [](const auto& x) { return exp(x[0]) / (1 + x[0]) - gelu(clamp(x[0], 0.5f, 1.5f)); }, {sixteenths({33, 24}, 0.5, 2)},
      2e-2);
}

TEST_CASE("cuda: tensors are printed") {
  if (!gpu()) return;
  std::ostringstream cpu, cuda;
  const auto x = integers<float>({2, 9}, 0, 9);
  cpu << x;
  cuda << x.to<Cuda>();
  CHECK(cuda.str() == cpu.str());
}
