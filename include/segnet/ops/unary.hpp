// Functions of one number, element by element. Each keeps x or y for its backward pass, never both.
#pragma once

#include <limits>

#include "segnet/kernels/unary.hpp"
#include "segnet/ops/elementwise.hpp"

namespace segnet {

#define SEGNET_UNARY(name, functor)                           \
  template <class T, class D>                                 \
  [[nodiscard]] Tensor<T, D> name(const Tensor<T, D>& x) {    \
    return detail::apply_unary(#name, kernels::functor{}, x); \
  }

/// e^x, and e^x - 1 without loss near 0. float: within 2 ulp.
SEGNET_UNARY(exp, Exp)
SEGNET_UNARY(expm1, Expm1)
/// Natural logarithm of x, and of 1 + x without loss near 0. float: within 2 ulp.
SEGNET_UNARY(log, Log)
SEGNET_UNARY(log1p, Log1p)
/// Square root, and 1 / square root; NaN below 0.
SEGNET_UNARY(sqrt, Sqrt)
SEGNET_UNARY(rsqrt, Rsqrt)
/// x^2, and 1 / x
SEGNET_UNARY(square, Square)
SEGNET_UNARY(reciprocal, Reciprocal)
/// |x|, with derivative 0 at 0
SEGNET_UNARY(abs, Abs)
SEGNET_UNARY(sin, Sin)
SEGNET_UNARY(cos, Cos)
/// Error function. float: within 2 ulp.
SEGNET_UNARY(erf, Erf)
/// To an integer: down, up, or to the nearest (halves to the even one). Their derivative is 0.
SEGNET_UNARY(floor, Floor)
SEGNET_UNARY(ceil, Ceil)
SEGNET_UNARY(round, Round)
#undef SEGNET_UNARY

/// x limited to [low, high]; NaN stays. The gradient passes inside and at both bounds. Leave a bound infinite to have only one.
/// @throws ValueError: low > high
template <class T, class D>
[[nodiscard]] Tensor<T, D> clamp(const Tensor<T, D>& x, Master<T> low, Master<T> high) {
  if (low > high) throw ValueError("clamp", "low", concat("at most high = ", high), concat(low));
  return detail::apply_unary("clamp", kernels::Clamp<Master<T>>{low, high}, x);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> clamp_min(const Tensor<T, D>& x, Master<T> low) {
  return clamp(
      x, low,
      std::numeric_limits<Master<T>>::has_infinity ? std::numeric_limits<Master<T>>::infinity() : std::numeric_limits<Master<T>>::max());
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> clamp_max(const Tensor<T, D>& x, Master<T> high) {
  return clamp(
      x,
      std::numeric_limits<Master<T>>::has_infinity ? -std::numeric_limits<Master<T>>::infinity() : std::numeric_limits<Master<T>>::lowest(),
      high);
}

}  // namespace segnet
