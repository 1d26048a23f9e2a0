// Gradient clipping, between backward and step.
#pragma once

#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/optimizer_step.hpp"

namespace segnet::optim {

namespace detail {
/// {norm, clip_factor} of all gradients
template <class T, class D>
Tensor<double, D> gradient_norm(const std::vector<Tensor<T, D>>& parameters, double max_norm) {
  kernels::Batch<T, D, 1> gradients;
  for (const auto& parameter : parameters)
    if (const Tensor<T, D> g = parameter.grad()) gradients.push_back({{g.data()}, g.numel()});
  const Tensor<double, D> result({2});
  kernels::gradient_norm(gradients, max_norm, result.view());
  return result;
}

/// Calls f with the list of all gradients {to, from}; the same memory where nobody else sees a gradient.
template <class T, class D, class F>
void map_gradients(const std::vector<Tensor<T, D>>& parameters, const F& f) {
  kernels::Batch<T, D, 2> gradients;
  std::vector<Tensor<T, D>> results(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].grad()) continue;
    const Tensor<T, D>& held = parameters[i].node()->grad;
    if (!held.unique()) results[i] = Tensor<T, D>(held.shape());
    gradients.push_back({{results[i] ? results[i].data() : held.data(), held.data()}, held.numel()});
  }
  f(gradients);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (results[i]) parameters[i].set_grad(results[i]);
}
}  // namespace detail

/// The 2-norm of all gradients together, as if they were one vector. Parameters without a gradient count as 0. Sums in double, same bits
/// for any number of threads. Waits for the GPU.
template <class T, class D>
[[nodiscard]] double grad_norm(const std::vector<Tensor<T, D>>& parameters) {
  return detail::gradient_norm(parameters, 0).alias({}).item();
}

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), norm being `grad_norm`. Returns the norm before. (On the GPU only that
/// waits: the scaling is asked for already, and takes its factor from there.)
/// When it is NaN or infinite the gradients stay as they are: the caller sees it and may skip the step.
/// @throws ValueError: max_norm < 0
template <class T, class D>
double clip_grad_norm(const std::vector<Tensor<T, D>>& parameters, double max_norm) {
  if (!(max_norm >= 0)) throw ValueError("clip_grad_norm", "max_norm", "a number of at least 0", concat(max_norm));
  const Tensor<double, D> norm = detail::gradient_norm(parameters, max_norm);
  if (!std::is_same_v<D, Cpu> || norm.data()[1] < 1)
    detail::map_gradients(parameters, [&](const auto& gradients) { kernels::scale_gradients<T>(gradients, norm.view()); });
  return norm.alias({}).item();
}

/// Limits each element of each gradient to [-max_value, max_value]. NaN stays. @throws ValueError: max_value < 0
template <class T, class D>
void clip_grad_value(const std::vector<Tensor<T, D>>& parameters, double max_value) {
  if (!(max_value >= 0)) throw ValueError("clip_grad_value", "max_value", "a number of at least 0", concat(max_value));
  detail::map_gradients(parameters, [=](const auto& gradients) { kernels::limit_gradients<T>(gradients, static_cast<T>(max_value)); });
}

}  // namespace segnet::optim
