// Activation functions, element by element. Each keeps x or y for its backward pass, never both.
#pragma once

#include "segnet/kernels/activation.hpp"
#include "segnet/ops/elementwise.hpp"

namespace segnet {

#define SEGNET_ACTIVATION(name, functor)                      \
  template <class T, class D>                                 \
  [[nodiscard]] Tensor<T, D> name(const Tensor<T, D>& x) {    \
    return detail::apply_unary(#name, kernels::functor{}, x); \
  }

/// max(x, 0); NaN stays. Derivative 0 at 0. Keeps y.
SEGNET_ACTIVATION(relu, Relu)
/// min(max(x, 0), 6). Derivative 0 at 0 and 6. Keeps y.
SEGNET_ACTIVATION(relu6, Relu6)
/// 1 / (1 + e^-x). Keeps y.
SEGNET_ACTIVATION(sigmoid, Sigmoid)
/// log(sigmoid(x)) = -log(1 + e^-x), which does not underflow.
SEGNET_ACTIVATION(logsigmoid, LogSigmoid)
/// Hyperbolic tangent. Keeps y.
SEGNET_ACTIVATION(tanh, Tanh)
/// x sigmoid(x), also called swish. Elfwing et al., arXiv:1702.03118; Ramachandran et al., arXiv:1710.05941.
SEGNET_ACTIVATION(silu, Silu)
/// x tanh(log(1 + e^x)). Misra, arXiv:1908.08681.
SEGNET_ACTIVATION(mish, Mish)
/// relu6(x + 3) / 6. Howard et al., arXiv:1905.02244. Keeps y.
SEGNET_ACTIVATION(hardsigmoid, HardSigmoid)
/// x relu6(x + 3) / 6. Howard et al., arXiv:1905.02244. Derivative -1/2 at -3 and 1 at 3.
SEGNET_ACTIVATION(hardswish, HardSwish)
#undef SEGNET_ACTIVATION

/// x where x > 0, slope x elsewhere. Keeps y (x when slope is negative).
template <class T, class D>
[[nodiscard]] Tensor<T, D> leaky_relu(const Tensor<T, D>& x, double slope = 0.01) {
  return detail::apply_unary("leaky_relu", kernels::LeakyRelu<Master<T>>{static_cast<Master<T>>(slope)}, x);
}

/// x where x > 0, alpha (e^x - 1) elsewhere. Clevert et al., arXiv:1511.07289.
template <class T, class D>
[[nodiscard]] Tensor<T, D> elu(const Tensor<T, D>& x, double alpha = 1) {
  return detail::apply_unary("elu", kernels::Elu<Master<T>>{static_cast<Master<T>>(alpha)}, x);
}

/// log(1 + e^(beta x)) / beta, and x itself where beta x > threshold.
template <class T, class D>
[[nodiscard]] Tensor<T, D> softplus(const Tensor<T, D>& x, double beta = 1, double threshold = 20) {
  return detail::apply_unary("softplus", kernels::Softplus<Master<T>>{static_cast<Master<T>>(beta), static_cast<Master<T>>(threshold)}, x);
}

/// Which formula `gelu` uses.
enum class GeluApproximation {
  none,  ///< x Phi(x) = x (1 + erf(x / sqrt 2)) / 2
  tanh   ///< x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
};

/// Gaussian error linear unit: x times the probability that a standard normal number is below x.
/// Hendrycks & Gimpel, arXiv:1606.08415.
template <class T, class D>
[[nodiscard]] Tensor<T, D> gelu(const Tensor<T, D>& x, GeluApproximation approximation = GeluApproximation::none) {
  if (approximation == GeluApproximation::tanh) return detail::apply_unary("gelu", kernels::GeluTanh{}, x);
  return detail::apply_unary("gelu", kernels::Gelu{}, x);
}

/// x where x > 0, weight x elsewhere. He et al., arXiv:1502.01852.
///
/// @param x       [..., C]
/// @param weight  [C], one slope per channel, or [1], one for all
/// @throws ShapeError: weight has another shape
/// Gradients to x and weight. Keeps both.
template <class T, class D>
[[nodiscard]] Tensor<T, D> prelu(const Tensor<T, D>& x, const Tensor<T, D>& weight) {
  const index_t channels = x.rank() ? x.dim(-1) : 1;
  if (weight.rank() != 1 || (weight.dim(0) != 1 && weight.dim(0) != channels))
    throw ShapeError("prelu", "weight", concat("[1] or [", channels, "] for x ", x.shape()), weight.shape());
  if (x.rank() == 0) throw ShapeError("prelu", "x", "[..., C]", x.shape());
  return detail::apply_binary("prelu", kernels::Prelu{}, x, weight);
}

}  // namespace segnet
