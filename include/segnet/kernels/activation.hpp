// Activation functions and their derivatives, as functors for `map`; see unary.hpp for what keeps() means.
#pragma once

#include "segnet/kernels/unary.hpp"

namespace segnet::kernels {

struct Relu {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::select(x < T(0), T(0), x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return math::select(y <= T(0), T(0), dy); }
};
struct Relu6 {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::select(x > T(6), T(6), math::select(x < T(0), T(0), x)); }
  SEGNET_SCALAR gradient(T dy, T y) const { return math::select((y <= T(0)) | (y >= T(6)), T(0), dy); }
};
template <class V>
struct LeakyRelu {
  V slope;
  SEGNET_HOST_DEVICE Keeps keeps() const { return slope >= V(0) ? Keeps::output : Keeps::input; }  // of the same sign, or not
  SEGNET_SCALAR operator()(T x) const { return math::select(x > T(0), x, x * slope); }
  SEGNET_SCALAR gradient(T dy, T kept) const { return math::select(kept > T(0), dy, dy * slope); }
};
template <class V>
struct Elu {
  V alpha;
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::select(x > T(0), x, alpha * math::expm1(x)); }
  SEGNET_SCALAR gradient(T dy, T x) const { return math::select(x > T(0), dy, dy * (alpha * math::exp(x))); }
};
struct Sigmoid {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::sigmoid(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return dy * (y * (T(1) - y)); }
};
struct LogSigmoid {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return -math::softplus(-x); }
  SEGNET_SCALAR gradient(T dy, T x) const { return dy * math::sigmoid(-x); }
};
struct Tanh {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return math::tanh(x); }
  SEGNET_SCALAR gradient(T dy, T y) const { return dy * (T(1) - y * y); }
};
struct Silu {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return x * math::sigmoid(x); }
  SEGNET_SCALAR gradient(T dy, T x) const {
    const T s = math::sigmoid(x);
    return dy * (s * (T(1) + x * (T(1) - s)));
  }
};
/// x Phi(x), Phi being the cumulative normal distribution.
struct Gelu {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return T(0.5) * x * (T(1) + math::erf(x * T(0.70710678118654752))); }
  SEGNET_SCALAR gradient(T dy, T x) const {
    const T cumulative = T(0.5) * (T(1) + math::erf(x * T(0.70710678118654752)));
    const T density = T(0.39894228040143268) * math::exp(T(-0.5) * x * x);
    return dy * (cumulative + x * density);
  }
};
struct GeluTanh {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR inner(T x) const { return T(0.79788456080286536) * (x + T(0.044715) * x * x * x); }
  SEGNET_SCALAR operator()(T x) const { return T(0.5) * x * (T(1) + math::tanh(inner(x))); }
  SEGNET_SCALAR gradient(T dy, T x) const {
    const T t = math::tanh(inner(x)), slope = T(0.79788456080286536) * (T(1) + T(3 * 0.044715) * x * x);
    return dy * (T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * slope);
  }
};
template <class V>
struct Softplus {
  V beta, threshold;
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return math::select(x * beta > threshold, x, math::softplus(x * beta) / beta); }
  SEGNET_SCALAR gradient(T dy, T x) const { return math::select(x * beta > threshold, dy, dy * math::sigmoid(x * beta)); }
};
struct HardSigmoid {
  SEGNET_KEEPS(output)
  SEGNET_SCALAR operator()(T x) const { return Relu6{}(x + T(3)) / T(6); }
  SEGNET_SCALAR gradient(T dy, T y) const { return math::select((y <= T(0)) | (y >= T(1)), T(0), dy / T(6)); }
};
struct HardSwish {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return x * Relu6{}(x + T(3)) / T(6); }
  SEGNET_SCALAR gradient(T dy, T x) const { return math::select(x < T(-3), T(0), math::select(x >= T(3), dy, dy * (x / T(3) + T(0.5)))); }
};
struct Mish {
  SEGNET_KEEPS(input)
  SEGNET_SCALAR operator()(T x) const { return x * math::tanh(math::softplus(x)); }
  SEGNET_SCALAR gradient(T dy, T x) const {
    const T t = math::tanh(math::softplus(x));
    return dy * (t + x * (T(1) - t * t) * math::sigmoid(x));
  }
};

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_ACTIVATION(TEMPLATE, T) \
  SEGNET_MAP_UNARY(TEMPLATE, T, Relu)          \
  SEGNET_MAP_UNARY(TEMPLATE, T, Relu6)         \
  SEGNET_MAP_UNARY(TEMPLATE, T, LeakyRelu<T>)  \
  SEGNET_MAP_UNARY(TEMPLATE, T, Elu<T>)        \
  SEGNET_MAP_UNARY(TEMPLATE, T, Sigmoid)       \
  SEGNET_MAP_UNARY(TEMPLATE, T, LogSigmoid)    \
  SEGNET_MAP_UNARY(TEMPLATE, T, Tanh)          \
  SEGNET_MAP_UNARY(TEMPLATE, T, Silu)          \
  SEGNET_MAP_UNARY(TEMPLATE, T, Gelu)          \
  SEGNET_MAP_UNARY(TEMPLATE, T, GeluTanh)      \
  SEGNET_MAP_UNARY(TEMPLATE, T, Softplus<T>)   \
  SEGNET_MAP_UNARY(TEMPLATE, T, HardSigmoid)   \
  SEGNET_MAP_UNARY(TEMPLATE, T, HardSwish)     \
  SEGNET_MAP_UNARY(TEMPLATE, T, Mish)          \
  SEGNET_MAP_BINARY(TEMPLATE, T, Prelu)
SEGNET_EXTERN(SEGNET_KERNELS_ACTIVATION)

}  // namespace segnet::kernels
