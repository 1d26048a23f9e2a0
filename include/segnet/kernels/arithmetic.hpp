// Functions of two numbers and their derivatives, as functors for `map`: f(a, b), f.gradient_a(dy, a, b), f.gradient_b(dy, a, b).
//
// `additive`: both derivatives are constants. `linear_in_a`: gradient_a does not read a; `linear_in_b` alike. What a derivative
// does not read need not be kept for the backward pass.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/kernels/elementwise.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

struct Add {
  static constexpr bool additive = true, linear_in_a = true, linear_in_b = true;
  SEGNET_SCALAR operator()(T a, T b) const { return static_cast<T>(a + b); }
  SEGNET_SCALAR gradient_a(T dy, T, T) const { return dy; }
  SEGNET_SCALAR gradient_b(T dy, T, T) const { return dy; }
};
struct Subtract {
  static constexpr bool additive = true, linear_in_a = true, linear_in_b = true;
  SEGNET_SCALAR operator()(T a, T b) const { return static_cast<T>(a - b); }
  SEGNET_SCALAR gradient_a(T dy, T, T) const { return dy; }
  SEGNET_SCALAR gradient_b(T dy, T, T) const { return -dy; }
};
struct Multiply {
  static constexpr bool additive = false, linear_in_a = true, linear_in_b = true;
  SEGNET_SCALAR operator()(T a, T b) const { return static_cast<T>(a * b); }
  SEGNET_SCALAR gradient_a(T dy, T, T b) const { return dy * b; }
  SEGNET_SCALAR gradient_b(T dy, T a, T) const { return dy * a; }
};
struct Divide {
  static constexpr bool additive = false, linear_in_a = true, linear_in_b = false;
  SEGNET_SCALAR operator()(T a, T b) const { return static_cast<T>(a / b); }
  SEGNET_SCALAR gradient_a(T dy, T, T b) const { return dy / b; }
  SEGNET_SCALAR gradient_b(T dy, T a, T b) const { return -dy * (a / b / b); }
};
/// a^b. d/db at a = 0 is 0 where b >= 0, since a^b does not change there.
struct Power {
  static constexpr bool additive = false, linear_in_a = false, linear_in_b = false;
  SEGNET_SCALAR operator()(T a, T b) const { return std::pow(a, b); }
  SEGNET_SCALAR gradient_a(T dy, T a, T b) const { return b == T(0) ? T(0) : dy * b * std::pow(a, b - T(1)); }
  SEGNET_SCALAR gradient_b(T dy, T a, T b) const { return a == T(0) && b >= T(0) ? T(0) : dy * std::pow(a, b) * std::log(a); }
};
/// The larger one, NaN if either is. Equal operands get half the gradient each.
struct Maximum {
  static constexpr bool additive = false, linear_in_a = false, linear_in_b = false;
  SEGNET_SCALAR operator()(T a, T b) const { return math::select((a > b) | (a != a), a, b); }
  SEGNET_SCALAR gradient_a(T dy, T a, T b) const { return math::select(a == b, dy / T(2), math::select(a < b, T(0), dy)); }
  SEGNET_SCALAR gradient_b(T dy, T a, T b) const { return gradient_a(dy, b, a); }
};
/// The smaller one, NaN if either is. Equal operands get half the gradient each.
struct Minimum {
  static constexpr bool additive = false, linear_in_a = false, linear_in_b = false;
  SEGNET_SCALAR operator()(T a, T b) const { return math::select((a < b) | (a != a), a, b); }
  SEGNET_SCALAR gradient_a(T dy, T a, T b) const { return math::select(a == b, dy / T(2), math::select(a > b, T(0), dy)); }
  SEGNET_SCALAR gradient_b(T dy, T a, T b) const { return gradient_a(dy, b, a); }
};
/// The angle of the point (x = b, y = a), in (-pi, pi].
struct Atan2 {
  static constexpr bool additive = false, linear_in_a = false, linear_in_b = false;
  SEGNET_SCALAR operator()(T a, T b) const { return std::atan2(a, b); }
  SEGNET_SCALAR gradient_a(T dy, T a, T b) const {
    const T square = a * a + b * b;
    return square == T(0) ? T(0) : dy * (b / square);
  }
  SEGNET_SCALAR gradient_b(T dy, T a, T b) const {
    const T square = a * a + b * b;
    return square == T(0) ? T(0) : dy * (-a / square);
  }
};
/// a where a > 0, b a elsewhere: PReLU with weight b.
struct Prelu {
  static constexpr bool additive = false, linear_in_a = false, linear_in_b = true;
  SEGNET_SCALAR operator()(T a, T b) const { return math::select(a > T(0), a, a * b); }
  SEGNET_SCALAR gradient_a(T dy, T a, T b) const { return math::select(a > T(0), dy, dy * b); }
  SEGNET_SCALAR gradient_b(T dy, T a, T) const { return math::select(a > T(0), T(0), dy * a); }
};

// The derivatives as functors of their own.
template <class F>
struct GradientA {
  F f;
  SEGNET_SCALAR operator()(T dy, T a, T b) const { return f.gradient_a(dy, a, b); }
};
template <class F>
struct GradientB {
  F f;
  SEGNET_SCALAR operator()(T dy, T a, T b) const { return f.gradient_b(dy, a, b); }
};

// Comparisons.
struct Equal {
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE bool operator()(T a, T b) const {
    return a == b;
  }
};
struct Less {
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE bool operator()(T a, T b) const {
    return a <= b;
  }
};

/// condition ? a : b, of three tensors.
struct Where {
  SEGNET_SCALAR operator()(bool condition, T a, T b) const { return math::select(condition, a, b); }
};
/// Where a condition holds (or, with `inverse`, does not): x; elsewhere `otherwise`.
template <class V>
struct KeepWhere {
  V otherwise;
  bool inverse;
  SEGNET_SCALAR operator()(bool condition, T x) const { return math::select(condition != inverse, x, static_cast<T>(otherwise)); }
};

/// As another element type.
template <class U>
struct Cast {
  template <class T>
  SEGNET_INLINE SEGNET_HOST_DEVICE U operator()(T x) const {
    return static_cast<U>(x);
  }
};

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_ARITHMETIC(TEMPLATE, T) \
  SEGNET_MAP_BINARY(TEMPLATE, T, Add)          \
  SEGNET_MAP_BINARY(TEMPLATE, T, Subtract)     \
  SEGNET_MAP_BINARY(TEMPLATE, T, Multiply)     \
  SEGNET_MAP_BINARY(TEMPLATE, T, Divide)       \
  SEGNET_MAP_BINARY(TEMPLATE, T, Power)        \
  SEGNET_MAP_BINARY(TEMPLATE, T, Maximum)      \
  SEGNET_MAP_BINARY(TEMPLATE, T, Minimum)      \
  SEGNET_MAP_BINARY(TEMPLATE, T, Atan2)
SEGNET_EXTERN(SEGNET_KERNELS_ARITHMETIC)

}  // namespace segnet::kernels
