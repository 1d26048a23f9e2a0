// Gradient clipping, between backward and step.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/core/isa.hpp"
#include "segnet/kernels/loss_sum.hpp"

namespace segnet::optim {

namespace detail {
/// Replaces g by f(g) element-wise, in place where nobody else sees it.
template <class T, class D, class F>
void map_gradient(const Tensor<T, D>& parameter, const F& f) {
  const Tensor<T, D>& held = parameter.node()->grad;
  const Tensor<T, D> to = held.unique() ? held : Tensor<T, D>(held.shape());
  const T* g = held.data();
  T* y = to.data();
  parallel_for(to.numel(), 1 << 15, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) y[i] = f(g[i]);
  });
  if (y != g) parameter.set_grad(to);
}
}  // namespace detail

/// The 2-norm of all gradients together, as if they were one vector. Parameters without a gradient count as 0. Sums in double, same bits
/// for any number of threads.
template <class T, class D>
[[nodiscard]] double grad_norm(const std::vector<Tensor<T, D>>& parameters) {
  double squares = 0;
  for (const auto& parameter : parameters) {
    const Tensor<T, D> gradient = parameter.grad();
    const T* g = gradient.data();
    const auto sum = kernels::sum_losses(gradient.numel(), 1 << 14, [=](index_t begin, index_t end, kernels::LossSum& partial) {
      with_isa([&](auto) SEGNET_INLINE_LAMBDA {
        constexpr index_t lanes = 32;
        double lane[lanes] = {};
        for (index_t first = begin; first < end; first += lanes) {
          const index_t n = std::min(lanes, end - first);
          SEGNET_SIMD
          for (index_t j = 0; j < n; ++j) lane[j] += static_cast<double>(g[first + j]) * static_cast<double>(g[first + j]);
        }
        for (const double l : lane) partial.loss += l;
      });
    });
    squares += sum.loss;
  }
  return std::sqrt(squares);
}

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), norm being `grad_norm`. Returns the norm before.
/// When it is NaN or infinite the gradients stay as they are: the caller sees it and may skip the step.
/// @throws ValueError: max_norm < 0
template <class T, class D>
double clip_grad_norm(const std::vector<Tensor<T, D>>& parameters, double max_norm) {
  if (!(max_norm >= 0)) throw ValueError("clip_grad_norm", "max_norm", "a number of at least 0", concat(max_norm));
  const double norm = grad_norm(parameters), factor = max_norm / (norm + 1e-6);
  if (std::isfinite(norm) && factor < 1)
    for (const auto& parameter : parameters)
      if (parameter.grad()) detail::map_gradient(parameter, [scale = static_cast<T>(factor)](T g) { return g * scale; });
  return norm;
}

/// Limits each element of each gradient to [-max_value, max_value]. NaN stays. @throws ValueError: max_value < 0
template <class T, class D>
void clip_grad_value(const std::vector<Tensor<T, D>>& parameters, double max_value) {
  if (!(max_value >= 0)) throw ValueError("clip_grad_value", "max_value", "a number of at least 0", concat(max_value));
  for (const auto& parameter : parameters)
    if (parameter.grad())
      detail::map_gradient(parameter, [limit = static_cast<T>(max_value)](T g) { return g > limit ? limit : g < -limit ? -limit : g; });
}

}  // namespace segnet::optim
