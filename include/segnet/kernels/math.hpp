// Scalar functions that vectorise: exp, expm1, log, log1p, tanh, sigmoid, erf, softplus without branches or library calls.
//
// Inside vectorized() and behind SEGNET_SIMD a loop over them runs in the machine's vectors, with or without fused multiply-add:
//
//   vectorized([&]() SEGNET_INLINE_LAMBDA {
//     SEGNET_SIMD
//     for (index_t i = begin; i < end; ++i) y[i] = math::exp(x[i]);
//   });
//
// float: polynomials fitted here to the exact functions (weighted minimax, in double). Infinities, NaN, overflow, underflow and
// subnormal results as in <cmath>. Largest errors over all 2^32 floats, in units of the last place (with / without fused
// multiply-add): exp 1.06 / 1.03, expm1 1.61 / 1.74, log 0.88, log1p 1.44, sqrt 0.50 / 0.8, tanh 1.30, sigmoid 1.98, softplus 1.70,
// erf 1.23 / 1.4. The last bit may differ between instruction sets.
// double: the functions of <cmath>. On a GPU: CUDA's functions for both, float within 2 ulp as well.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "segnet/core/isa.hpp"

/// Begins a scalar function of numbers of one type T that runs on both devices and is inlined into vector loops.
#define SEGNET_SCALAR \
  template <class T>  \
  SEGNET_INLINE SEGNET_HOST_DEVICE T

namespace segnet::kernels::math {

namespace detail {
/// Whether T has functions fitted here.
template <class T>
SEGNET_INLINE SEGNET_HOST_DEVICE constexpr bool fitted() {
#if defined(__CUDA_ARCH__)
  return false;
#else
  return std::is_same_v<T, float>;
#endif
}

SEGNET_INLINE SEGNET_HOST_DEVICE std::uint32_t bits(float x) { return __builtin_bit_cast(std::uint32_t, x); }
SEGNET_INLINE SEGNET_HOST_DEVICE float from_bits(std::uint32_t b) { return __builtin_bit_cast(float, b); }

/// 2^n as a float, n in [-126, 127].
SEGNET_INLINE SEGNET_HOST_DEVICE float power_of_two(std::uint32_t n) { return from_bits((n + 127u) << 23); }

/// y >= 0 with the sign of x.
SEGNET_INLINE SEGNET_HOST_DEVICE float with_sign_of(float x, float y) { return from_bits(bits(y) | (bits(x) & 0x80000000u)); }

/// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule.
SEGNET_INLINE SEGNET_HOST_DEVICE float polynomial(float, float c) { return c; }
template <class... More>
SEGNET_INLINE SEGNET_HOST_DEVICE float polynomial(float x, float c, More... more) {
  return polynomial(x, more...) * x + c;
}
}  // namespace detail

/// condition ? a : b, with both computed: a compiler that moved the arithmetic of a or b behind the condition could no longer
/// vectorise the loop around it. (A GPU has an instruction for it.)
SEGNET_INLINE SEGNET_HOST_DEVICE float select(bool condition, float a, float b) {
#if defined(__CUDA_ARCH__)
  return condition ? a : b;
#else
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return detail::from_bits((detail::bits(a) & mask) | (detail::bits(b) & ~mask));
#endif
}
SEGNET_INLINE SEGNET_HOST_DEVICE double select(bool condition, double a, double b) {
#if defined(__CUDA_ARCH__)
  return condition ? a : b;
#else
  const std::uint64_t mask = std::uint64_t{0} - static_cast<std::uint64_t>(condition);
  return __builtin_bit_cast(double, (__builtin_bit_cast(std::uint64_t, a) & mask) | (__builtin_bit_cast(std::uint64_t, b) & ~mask));
#endif
}

SEGNET_SCALAR select(bool condition, T a, T b) { return condition ? a : b; }

/// |x|; of the smallest integer, which has no positive, itself
SEGNET_SCALAR abs(T x) {
  if constexpr (!std::is_integral_v<T>) return std::fabs(x);
  else if constexpr (std::is_signed_v<T>)
    return static_cast<T>(x < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(x) : static_cast<std::uint64_t>(x));
  else return x;
}

namespace detail {
/// x = n ln 2 + r with |r| <= ln 2 / 2, for |x| < 150; and e^r - 1.
struct ReducedExp {
  std::uint32_t n;  // two's complement
  float expm1_r;
};
SEGNET_INLINE SEGNET_HOST_DEVICE ReducedExp reduce_exp(float x) {
  constexpr float shift = 0x1.8p23f;  // adding it rounds to an integer, which the low bits of the sum hold
  const float shifted = x * 1.44269504f + shift;
  const float n = shifted - shift;
  // ln 2 in two parts; the first has so few bits that n times it is exact.
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  const float q = polynomial(r, 0.5f, 1.666654199e-01f, 4.166627675e-02f, 8.366755210e-03f, 1.394674764e-03f);
  return {bits(shifted) - bits(shift), r + r * r * q};
}
/// x limited to [low, high]; NaN stays.
SEGNET_INLINE SEGNET_HOST_DEVICE float limit(float x, float low, float high) {
  x = select(x < low, low, x);
  return select(x > high, high, x);
}
}  // namespace detail

/// e^x
SEGNET_SCALAR exp(T x) {
  if constexpr (!detail::fitted<T>()) return std::exp(x);
  else {
    const auto [n, p] = detail::reduce_exp(detail::limit(x, -104.0f, 89.0f));
    // 2^n in two factors, because n reaches from -150 to 128; only the last product rounds to a subnormal number or overflows.
    const std::uint32_t half = (n + 256u) / 2u - 128u;
    return (p + 1.0f) * detail::power_of_two(half) * detail::power_of_two(n - half);
  }
}

/// e^x - 1, exact near 0.
SEGNET_SCALAR expm1(T x) {
  if constexpr (!detail::fitted<T>()) return std::expm1(x);
  else {
    const auto [n, p] = detail::reduce_exp(detail::limit(x, -20.0f, 89.0f));
    const float half = detail::power_of_two(n - 1u);  // 2^n / 2 is finite where 2^n is not
    const float y = 2.0f * (half * p + (half - 0.5f));
    return select(n == 0u, select(detail::bits(x) << 1 == 0u, x, p), y);  // -0 stays
  }
}

namespace detail {
/// log(u + rest) for u in [0, inf], |rest| at most half an ulp of u.
SEGNET_INLINE SEGNET_HOST_DEVICE float log_sum(float u, float rest) {
  constexpr float normal = 0x1p-126f;
  const bool tiny = u < normal;
  const float scaled = u * select(tiny, 0x1p23f, 1.0f);  // makes subnormal numbers normal
  // u = 2^k m with m in [1/sqrt 2, sqrt 2): subtracting the bits of 1/sqrt 2 lets the exponent field step there.
  const std::uint32_t offset = bits(scaled) - 0x3f3504f3u;
  const std::uint32_t k = (offset >> 23) - ((offset >> 31) << 9);  // arithmetic shift, in unsigned numbers
  const float m = from_bits(bits(scaled) - (k << 23));
  const float f = (m - 1.0f) + select(u < 0x1p100f, rest * power_of_two(0u - k), 0.0f);
  const float exponent = static_cast<float>(static_cast<std::int32_t>(k)) - select(tiny, 23.0f, 0.0f);
  const float p = polynomial(f, 3.333331645e-01f, -2.500081062e-01f, 2.000229508e-01f, -1.662449837e-01f, 1.418095678e-01f,
                             -1.312910020e-01f, 1.288349628e-01f, -7.860942930e-02f);
  const float square = f * f;
  const float low = square * f * p + exponent * -2.12194440e-4f;
  return (f - (0.5f * square - low)) + exponent * 0.693359375f;
}
}  // namespace detail

/// Natural logarithm: -inf at 0, NaN below.
SEGNET_SCALAR log(T x) {
  if constexpr (!detail::fitted<T>()) return std::log(x);
  else {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const float y = select(x == 0.0f, -infinity, detail::log_sum(x, 0.0f));
    return select((x > 0.0f) & (x < infinity), y,
                  select(x == 0.0f, -infinity, select(x == infinity, x, std::numeric_limits<float>::quiet_NaN())));
  }
}

/// log(1 + x), exact near 0: -inf at -1, NaN below.
SEGNET_SCALAR log1p(T x) {
  if constexpr (!detail::fitted<T>()) return std::log1p(x);
  else {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const float u = 1.0f + x, from_x = u - 1.0f;
    const float rest = (1.0f - (u - from_x)) + (x - from_x);  // what rounding u lost
    const float y = select(detail::bits(x) << 1 == 0u, x, detail::log_sum(u, rest));
    return select((x > -1.0f) & (x < infinity), y,
                  select(x == -1.0f, -infinity, select(x == infinity, x, std::numeric_limits<float>::quiet_NaN())));
  }
}

namespace detail {
/// 1 / sqrt(x) for normal x > 0, to about 1e-7: a guess from the exponent, three steps of Newton's method.
SEGNET_INLINE SEGNET_HOST_DEVICE float reciprocal_root(float x) {
  const float half = 0.5f * x;
  float y = from_bits(0x5f375a86u - (bits(x) >> 1));
  y = y * (1.5f - half * y * y);
  y = y * (1.5f - half * y * y);
  return y * (1.5f - half * y * y);
}
}  // namespace detail

/// Square root, NaN below 0. (The one of <cmath> may set errno, which keeps a loop from being vectorised.)
SEGNET_SCALAR sqrt(T x) {
  if constexpr (!detail::fitted<T>()) return std::sqrt(x);
  else {
    const bool tiny = x < 0x1p-96f;
    const float scaled = x * select(tiny, 0x1p48f, 1.0f);
    const float y = detail::reciprocal_root(scaled), root = scaled * y;
    const float better = (root + 0.5f * y * (scaled - root * root)) * select(tiny, 0x1p-24f, 1.0f);
    return select((x > 0.0f) & (x < std::numeric_limits<float>::infinity()), better,
                  select(x < 0.0f, std::numeric_limits<float>::quiet_NaN(), x));
  }
}

/// Hyperbolic tangent.
SEGNET_SCALAR tanh(T x) {
  if constexpr (!detail::fitted<T>()) return std::tanh(x);
  else {
    const float a = detail::limit(abs(x), 0.0f, 10.0f), square = a * a;
    const float small =
        x + x * square *
                detail::polynomial(square, -3.333326280e-01f, 1.333089918e-01f, -5.369296670e-02f, 2.048331685e-02f, -5.528633483e-03f);
    return detail::with_sign_of(x, select(a < 0.65f, small, 1.0f - 2.0f / (exp(2.0f * a) + 1.0f)));
  }
}

/// 1 / (1 + e^-x)
SEGNET_SCALAR sigmoid(T x) {
  const T e = exp(-abs(x));                         // at most 1: small results keep all their digits
  const T sum = T(1) + e, lost = e - (sum - T(1));  // rounding of the sum, made good below
  const T y = select(x < T(0), e, T(1)) / sum;
  return y - y * lost;
}

/// log(1 + e^x)
SEGNET_SCALAR softplus(T x) { return select(x < T(0), T(0), x) + log1p(exp(-abs(x))); }

/// Error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.
SEGNET_SCALAR erf(T x) {
  if constexpr (!detail::fitted<T>()) return std::erf(x);
  else {
    const float a = abs(x), square = detail::limit(a, 0.0f, 1.0f) * detail::limit(a, 0.0f, 1.0f);
    const float small = x + x * detail::polynomial(square, 1.283791512e-01f, -3.761250675e-01f, 1.128195524e-01f, -2.677128464e-02f,
                                                   4.999601748e-03f, -6.021808949e-04f);
    // -log(1 - erf(a)); at 4 the result is 1.
    const float g = detail::polynomial(detail::limit(a, 0.0f, 4.0f), 1.664476149e-04f, 1.127797246e+00f, 6.369760633e-01f, 1.041136831e-01f,
                                       -2.231521346e-02f, 3.065490397e-03f, -1.982196700e-04f);
    return select(a < 0.92f, small, detail::with_sign_of(x, 1.0f - exp(-g)));
  }
}

}  // namespace segnet::kernels::math
