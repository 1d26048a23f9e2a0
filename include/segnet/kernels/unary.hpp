// Functions of one number and their derivatives, as functors for `map`: f(x) and f.gradient(dy, kept), where `kept` is what
// f.keeps() names: x, y = f(x), or nothing, so that a backward pass holds on to one tensor at most.
#pragma once

#include "segnet/kernels/arithmetic.hpp"

namespace segnet::kernels {

enum class Keeps { nothing, input, output };

#define SEGNET_KEEPS(what) \
  SEGNET_HOST_DEVICE static constexpr Keeps keeps() { return Keeps::what; }

struct Negate {
  SEGNET_KEEPS(nothing)
  SEGNET_SCALAR operator()(T x) const { return static_cast<T>(-x); }
  SEGNET_SCALAR gradient(T dy, T) const { return -dy; }
};
struct Exp {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::exp(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return dy * y; }
};
struct Expm1 {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::expm1(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return dy * (y + T(1)); }
};
struct Log {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::log(x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy / x; }
};
struct Log1p {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::log1p(x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy / (x + T(1)); }
};
struct Sqrt {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::sqrt(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return dy / (T(2) * y); }
};
struct Rsqrt {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return T(1) / math::sqrt(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return T(-0.5) * dy * (y * y * y); }
};
struct Square {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return static_cast<T>(x * x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy * (T(2) * x); }
};
struct Reciprocal {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return T(1) / x; }
  SEGNET_SCALAR gradient(T dy, T y) const { return -dy * y * y; }
};
struct Abs {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::abs(x); }
  SEGNET_SCALAR gradient(T dy, T x) const {
    return math::select(x > T(0), dy, math::select(x < T(0), -dy, dy * x));  // 0 at 0, NaN at NaN
  }
};
struct Sin {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return std::sin(x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy * std::cos(x); }
};
struct Cos {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return std::cos(x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return -dy * std::sin(x); }
};
struct Erf {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::erf(x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy * (T(1.1283791670955126) * math::exp(-x * x)); }
};
struct Floor {
  SEGNET_KEEPS(nothing)
  SEGNET_SCALAR operator()(T x) const { return std::floor(x); }
  SEGNET_SCALAR gradient(T, T) const { return T(0); }
};
struct Ceil {
  SEGNET_KEEPS(nothing)
  SEGNET_SCALAR operator()(T x) const { return std::ceil(x); }
  SEGNET_SCALAR gradient(T, T) const { return T(0); }
};
/// To the nearest integer, halves to the even one.
struct Round {
  SEGNET_KEEPS(nothing)
  SEGNET_SCALAR operator()(T x) const { return std::nearbyint(x); }
  SEGNET_SCALAR gradient(T, T) const { return T(0); }
};
template <class V>
struct Clamp {
  V low, high;
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::select(x > high, high, math::select(x < low, low, x)); }
  SEGNET_SCALAR gradient(T dy, T x) const { return math::select((x < low) | (x > high), T(0), dy); }
};

/// A binary function whose second operand is a number.
template <class F, class V>
struct WithRight {
  F f;
  V b;
  SEGNET_HOST_DEVICE static constexpr Keeps keeps() { return F::linear_in_a ? Keeps::nothing : Keeps::input; }
  SEGNET_SCALAR operator()(T a) const { return f(a, b); }
  SEGNET_SCALAR gradient(T dy, T a) const { return f.gradient_a(dy, a, b); }
};
/// A binary function whose first operand is a number.
template <class F, class V>
struct WithLeft {
  F f;
  V a;
  SEGNET_HOST_DEVICE static constexpr Keeps keeps() { return F::linear_in_b ? Keeps::nothing : Keeps::input; }
  SEGNET_SCALAR operator()(T b) const { return f(a, b); }
  SEGNET_SCALAR gradient(T dy, T b) const { return f.gradient_b(dy, a, b); }
};

/// The derivative as a functor of its own.
template <class F>
struct Gradient {
  F f;
  SEGNET_SCALAR operator()(T dy, T kept) const { return f.gradient(dy, kept); }
};

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_UNARY(TEMPLATE, T)   \
  SEGNET_MAP_UNARY(TEMPLATE, T, Negate)     \
  SEGNET_MAP_UNARY(TEMPLATE, T, Exp)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Expm1)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Log)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Log1p)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Sqrt)       \
  SEGNET_MAP_UNARY(TEMPLATE, T, Rsqrt)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Square)     \
  SEGNET_MAP_UNARY(TEMPLATE, T, Reciprocal) \
  SEGNET_MAP_UNARY(TEMPLATE, T, Abs)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Sin)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Cos)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Erf)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Floor)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Ceil)       \
  SEGNET_MAP_UNARY(TEMPLATE, T, Round)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Clamp<T>)
SEGNET_EXTERN(SEGNET_KERNELS_UNARY)

}  // namespace segnet::kernels
