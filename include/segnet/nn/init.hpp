// Initialisers: they overwrite a parameter in place and draw from a Generator, so that a seed names the network.
#pragma once

#include <cmath>

#include "segnet/core/random.hpp"
#include "segnet/nn/shapes_only.hpp"

namespace segnet::nn {

/// Whether a layer has a bias: `Conv2d(3, 64, 3, {.padding = 1}, Bias::no)`.
enum class Bias : bool { no, yes };

namespace init {

/// U(low, high).
template <class T, class D>
void uniform(const Tensor<T, D>& weight, Generator& random, double low, double high) {
  if (!shapes_only()) fill_uniform(weight, random, low, high);
}
/// N(mean, std^2).
template <class T, class D>
void normal(const Tensor<T, D>& weight, Generator& random, double mean, double std) {
  if (!shapes_only()) fill_normal(weight, random, mean, std);
}

/// Incoming and outgoing connections of one unit. Weights are [out, ..., in]: linear [O, I], convolution [O, kh, kw, I/groups].
struct Fan {
  index_t in, out;
};
[[nodiscard]] inline Fan fan(const Shape& weight) {
  if (weight.rank() < 2) throw ShapeError("init", "weight", "at least 2 dimensions", weight);
  const index_t taps = weight.numel() / std::max<index_t>(1, weight[0] * weight[-1]);
  return {taps * weight[-1], taps * weight[0]};
}

/// U(-a, a) with a = gain * sqrt(3 / fan_in). He et al., arXiv:1502.01852, eq. 10; gain sqrt(2) for ReLU.
template <class T, class D>
void kaiming_uniform(const Tensor<T, D>& weight, Generator& random, double gain = std::sqrt(2.0)) {
  const double bound = gain * std::sqrt(3.0 / static_cast<double>(fan(weight.shape()).in));
  uniform(weight, random, -bound, bound);
}
/// N(0, gain^2 / fan_in).
template <class T, class D>
void kaiming_normal(const Tensor<T, D>& weight, Generator& random, double gain = std::sqrt(2.0)) {
  normal(weight, random, 0, gain / std::sqrt(static_cast<double>(fan(weight.shape()).in)));
}
/// N(0, gain^2 / fan_out): the gradients' variance stays (eq. 14).
template <class T, class D>
void kaiming_normal_fan_out(const Tensor<T, D>& weight, Generator& random, double gain = std::sqrt(2.0)) {
  normal(weight, random, 0, gain / std::sqrt(static_cast<double>(fan(weight.shape()).out)));
}
/// U(-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)). Glorot & Bengio 2010, eq. 16.
template <class T, class D>
void xavier_uniform(const Tensor<T, D>& weight, Generator& random, double gain = 1) {
  const Fan f = fan(weight.shape());
  const double bound = gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out));
  uniform(weight, random, -bound, bound);
}
/// N(0, gain^2 * 2 / (fan_in + fan_out)).
template <class T, class D>
void xavier_normal(const Tensor<T, D>& weight, Generator& random, double gain = 1) {
  const Fan f = fan(weight.shape());
  normal(weight, random, 0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)));
}

/// PyTorch's default: weight U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is kaiming_uniform with a = sqrt(5); bias, if any, alike.
template <class T, class D>
void weight_and_bias(const Tensor<T, D>& weight, const Tensor<T, D>& bias, index_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(std::max<index_t>(fan_in, 1)));
  uniform(weight, default_generator(), -bound, bound);
  if (bias) uniform(bias, default_generator(), -bound, bound);
}

/// Bilinear interpolation as a transposed convolution: weight [C, kh, kw, C] (or [C, kh, kw, 1] with C groups) of channel c
/// to channel c, zero elsewhere. Kernel 2s - s mod 2 and stride s upsample by s. Long et al., arXiv:1411.4038, section 3.3.
template <class T, class D>
void bilinear(const Tensor<T, D>& weight) {
  const Shape s = weight.shape();
  if (s.rank() != 4 || (s[3] != 1 && s[3] != s[0])) throw ShapeError("init::bilinear", "weight", "[C, kh, kw, C] or [C, kh, kw, 1]", s);
  if (shapes_only()) return;
  const auto triangle = [](index_t i, index_t k) {
    const double factor = static_cast<double>((k + 1) / 2), centre = k % 2 == 1 ? factor - 1 : factor - 0.5;
    return 1 - std::abs(static_cast<double>(i) - centre) / factor;
  };
  const Tensor<T> host(s);
  for (index_t o = 0; o < s[0]; ++o)
    for (index_t i = 0; i < s[1]; ++i)
      for (index_t j = 0; j < s[2]; ++j)
        for (index_t c = 0; c < s[3]; ++c)
          host.at(o, i, j, c) = (s[3] == 1 || c == o) ? static_cast<T>(triangle(i, s[1]) * triangle(j, s[2])) : T(0);
  Tensor<T, D>(weight).copy_from(host);  // another handle to the same elements
}

}  // namespace init
}  // namespace segnet::nn
