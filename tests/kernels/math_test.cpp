#include "segnet/kernels/math.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
namespace math = segnet::kernels::math;

namespace {

struct Worst {
  double ulp = 0;      ///< distance to the exact value, in units of the last place of a float near it
  float x = 0, y = 0;  ///< where that is, and what came
};

double ulps_between(float y, double exact) {
  const float rounded = static_cast<float>(exact);
  if (y == rounded || (std::isnan(y) && std::isnan(exact))) return 0;
  if (std::isnan(y) || std::isnan(exact)) return INFINITY;
  if (std::isinf(y) || std::isinf(rounded)) return std::abs(exact) > 3.4028234e38 && std::abs(exact) < 3.4028237e38 ? 1 : INFINITY;
  int exponent;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(y) - exact) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

/// Over every 331st float of all 2^32, from a random one on: subnormals, infinities and NaNs among them.
template <class F, class Exact>
Worst worst_error(const F& f, const Exact& exact) {
  constexpr int block = 1024;
  float x[block], y[block];
  Worst worst;
  for (std::uint64_t i = static_cast<std::uint64_t>(testing::random().below(331)); i >> 32 == 0;) {
    int n = 0;
    for (; n < block && i >> 32 == 0; i += 331) x[n++] = __builtin_bit_cast(float, static_cast<std::uint32_t>(i));
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      SEGNET_SIMD
      for (int k = 0; k < n; ++k) y[k] = f(x[k]);
    });
    for (int k = 0; k < n; ++k) {
      const double ulp = ulps_between(y[k], exact(static_cast<double>(x[k])));
      if (!(ulp <= worst.ulp)) worst = {ulp, x[k], y[k]};
    }
  }
  return worst;
}

double exact_sigmoid(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double exact_softplus(double x) { return (x < 0 ? 0 : x) + std::log1p(std::exp(-std::abs(x))); }

}  // namespace

#define CHECK_WITHIN(limit, f, exact)                                                                                                 \
  do {                                                                                                                                \
    const Worst worst =                                                                                                               \
        worst_error([](float x) SEGNET_INLINE_LAMBDA { return math::f(x); }, [](double x) { return static_cast<double>(exact(x)); }); \
    INFO(#f ": ", worst.ulp, " ulp at x = ", worst.x, ", y = ", worst.y, ", ", to_string(current_isa()));                             \
    CHECK(worst.ulp <= limit);                                                                                                        \
  } while (false)

TEST_CASE("math: every function within its error over all floats, special values as in <cmath>") {
  CHECK_WITHIN(1.1, exp, std::exp);
  CHECK_WITHIN(1.8, expm1, std::expm1);
  CHECK_WITHIN(0.9, log, std::log);
  CHECK_WITHIN(1.5, log1p, std::log1p);
  CHECK_WITHIN(0.8, sqrt, std::sqrt);
  CHECK_WITHIN(1.35, tanh, std::tanh);
  CHECK_WITHIN(2, sigmoid, exact_sigmoid);
  CHECK_WITHIN(1.75, softplus, exact_softplus);
  CHECK_WITHIN(1.5, erf, std::erf);
}

TEST_CASE("math: signed zero and infinities") {
  const float zero = -0.0f, infinity = std::numeric_limits<float>::infinity();
  CHECK(std::signbit(math::expm1(zero)));
  CHECK(std::signbit(math::log1p(zero)));
  CHECK(std::signbit(math::tanh(zero)));
  CHECK(std::signbit(math::erf(zero)));
  CHECK(std::signbit(math::sqrt(zero)));
  CHECK(math::exp(-infinity) == 0);
  CHECK(math::exp(infinity) == infinity);
  CHECK(math::log(0.0f) == -infinity);
  CHECK(math::log(infinity) == infinity);
  CHECK(std::isnan(math::log(-1.0f)));
  CHECK(math::log1p(-1.0f) == -infinity);
  CHECK(math::sigmoid(-infinity) == 0);
  CHECK(math::sigmoid(infinity) == 1);
  CHECK(math::softplus(infinity) == infinity);
  CHECK(math::tanh(-infinity) == -1);
  CHECK(math::erf(-infinity) == -1);
}

TEST_CASE("math: double is <cmath>") {
  for (int i = 0; i < 1000; ++i) {
    const double x = testing::random().uniform(-20, 20);
    CHECK(math::exp(x) == std::exp(x));
    CHECK(math::log(std::abs(x)) == std::log(std::abs(x)));
    CHECK(math::tanh(x) == std::tanh(x));
    CHECK(math::erf(x) == std::erf(x));
    CHECK(math::sqrt(std::abs(x)) == std::sqrt(std::abs(x)));
    CHECK(math::sigmoid(x) == doctest::Approx(exact_sigmoid(x)).epsilon(1e-14));
    CHECK(math::softplus(x) == doctest::Approx(exact_softplus(x)).epsilon(1e-14));
  }
}
