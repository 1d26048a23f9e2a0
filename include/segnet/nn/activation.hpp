// Activations as layers, for Sequential. Elsewhere call the operation: relu(x).
#pragma once

#include "segnet/nn/module.hpp"
#include "segnet/nn/shapes_only.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/cast.hpp"

namespace segnet::nn {

struct ReLU {
  template <class X>
  X operator()(const X& x) const {
    return relu(x);
  }
  SEGNET_FIELDS()
};

struct LeakyReLU {
  double slope = 0.01;
  template <class X>
  X operator()(const X& x) const {
    return leaky_relu(x, slope);
  }
  SEGNET_FIELDS()
};

struct GELU {
  GeluApproximation approximation = GeluApproximation::none;
  template <class X>
  X operator()(const X& x) const {
    return shapes_only() ? X(x.shape()) : gelu(x, approximation);  // beside products, what takes transformers longest
  }
  SEGNET_FIELDS()
};

struct SiLU {
  template <class X>
  X operator()(const X& x) const {
    return silu(x);
  }
  SEGNET_FIELDS()
};

struct Sigmoid {
  template <class X>
  X operator()(const X& x) const {
    return sigmoid(x);
  }
  SEGNET_FIELDS()
};

struct Tanh {
  template <class X>
  X operator()(const X& x) const {
    return tanh(x);
  }
  SEGNET_FIELDS()
};

/// max(x, 0) + weight * min(x, 0), with one learned weight or one per channel.
template <class T = float, class D = Cpu>
struct PReLU {
  Parameter<Master<T>, D> weight;
  explicit PReLU(index_t channels = 1, double initial = 0.25) : weight(full<Master<T>, D>({channels}, static_cast<Master<T>>(initial))) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return prelu<T, D>(x, cast<T>(weight)); }
  SEGNET_FIELDS(weight)
};

}  // namespace segnet::nn
