// What the tests share: typed tests over devices and element types, integer-valued data, exact comparison.
#pragma once

#define DOCTEST_CONFIG_VOID_CAST_EXPRESSIONS  // CHECK_THROWS of functions that are [[nodiscard]]
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "segnet/autograd/gradcheck.hpp"
#include "segnet/core/tensor.hpp"

namespace segnet::testing {

/// One column of a typed test: an element type on a device.
template <class T, class D>
struct On {
  using value_type = T;
  using device = D;
};
#define EVERYWHERE segnet::testing::On<float, segnet::Cpu>, segnet::testing::On<double, segnet::Cpu>

/// The seed of this run: SEGNET_TEST_SEED, else drawn from the clock. main prints it.
std::uint64_t run_seed();
/// The stream that the tests draw their data from. It starts anew from the run's seed in every test case.
Generator& random();

/// Integers in [low, high]: sums and products of few of them are exact in float, in any order.
template <class T, class D = Cpu>
Tensor<T, D> integers(const Shape& shape, int low, int high) {
  Tensor<T, D> t(shape);
  T* const to = t.data();
  Generator& generator = random();
  for (index_t i = 0, n = t.numel(); i < n; ++i) to[i] = static_cast<T>(low + generator.below(high - low + 1));
  return t;
}
/// Normally distributed numbers.
template <class T, class D = Cpu>
Tensor<T, D> normal(const Shape& shape, double mean = 0, double std = 1) {
  return random_normal<T>(shape, random(), mean, std);
}
/// Different multiples of 1/16 in random order: no ties, and no element within 1/32 of a kink at a multiple of 1/16.
template <class T, class D = Cpu>
Tensor<T, D> distinct(const Shape& shape) {
  Tensor<T, D> t(shape);
  const index_t n = t.numel();
  T* const to = t.data();
  Generator& generator = random();
  for (index_t i = 0; i < n; ++i) to[i] = static_cast<T>((static_cast<double>(i - n / 2) + 0.5) / 16);
  for (index_t i = n; i-- > 1;) std::swap(to[i], to[generator.below(i + 1)]);
  return t;
}

/// <a, b>, in double.
template <class T, class D>
double dot(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  if (a.shape() != b.shape()) throw ShapeError("dot", "b", concat(a.shape()), b.shape());
  const T *const p = a.data(), *const q = b.data();
  double sum = 0;
  for (index_t i = 0, n = a.numel(); i < n; ++i) sum += static_cast<double>(p[i]) * static_cast<double>(q[i]);
  return sum;
}
/// Largest |a - b|; infinite when the shapes differ or exactly one is NaN.
template <class T, class U>
double max_difference(const Tensor<T, Cpu>& a, const Tensor<U, Cpu>& b) {
  if (a.shape() != b.shape()) return INFINITY;
  const T* const p = a.data();
  const U* const q = b.data();
  double worst = 0;
  for (index_t i = 0, n = a.numel(); i < n; ++i) {
    const double x = static_cast<double>(p[i]), y = static_cast<double>(q[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::abs(x - y);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
  }
  return worst;
}
/// The same shape and the same values, every one. NaN equals NaN.
template <class T>
bool equal(const Tensor<T, Cpu>& a, const Tensor<T, Cpu>& b) {
  return max_difference(a, b) == 0;
}

/// Checks the backward pass of f at `inputs` against central differences; `what` repeats the case.
template <class F>
void check_gradients(const std::string& what, const F& f, std::vector<Tensor<double>> inputs, GradcheckOptions options = {}) {
  for (const auto& input : inputs)
    if (!input.tracked()) input.requires_grad();
  options.seed = random().bits();
  const GradcheckResult result = gradcheck(f, inputs, options);
  INFO(what);
  INFO(result.message);
  CHECK(result.ok);
}

}  // namespace segnet::testing

namespace doctest {
template <>
struct StringMaker<segnet::Shape> {
  static String convert(const segnet::Shape& shape) { return segnet::to_string(shape).c_str(); }
};
}  // namespace doctest
