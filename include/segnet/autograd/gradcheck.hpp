// Is a backward pass the derivative of its forward pass? Central differences in double.
#pragma once

#include <cmath>
#include <string>

#include "segnet/autograd/backward.hpp"
#include "segnet/core/random.hpp"

namespace segnet {

struct GradcheckOptions {
  double step = 1e-6;         ///< half the distance of the two points; 1 is exact for a linear f on integers
  double rtol = 1e-6;         ///< allowed error, relative to the larger of |numeric| and |analytic| ...
  double atol = 1e-8;         ///< ... and absolute, both times the largest gradient of that input or 1
  index_t max_elements = 64;  ///< elements of each input that are tried; drawn at random when there are more
  std::uint64_t seed = 0;     ///< draws the upstream gradient and the elements
};

struct GradcheckResult {
  bool ok = true;
  double worst = 0;     ///< largest |numeric - analytic| seen
  std::string message;  ///< the first few mismatches: input, element, both values
  explicit operator bool() const { return ok; }
};

/// Compares the gradients of sum(f(inputs) * dy), dy random, with central differences at every element (or `max_elements`
/// random ones) of every input that requires gradients. f maps std::vector<Tensor<double>> to Tensor<double>; it is called
/// 2 * elements + 1 times and must be a function of its inputs alone. The inputs' elements are restored afterwards.
template <class F>
[[nodiscard]] GradcheckResult gradcheck(const F& f, const std::vector<Tensor<double>>& inputs, const GradcheckOptions& options = {}) {
  Generator random{options.seed, 0};
  for (const auto& input : inputs) input.zero_grad();
  const Tensor<double> y = f(inputs);
  const Tensor<double> dy = random_normal<double>(y.shape(), random);
  if (!y.tracked()) return {false, 0, "the result is not tracked: no input requires gradients, or the operation records nothing"};
  y.backward(dy);
  const auto loss = [&] {
    const Tensor<double> value = no_grad([&] { return f(inputs); });
    double sum = 0;
    for (index_t i = 0; i < value.numel(); ++i) sum += value.data()[i] * dy.data()[i];
    return sum;
  };

  GradcheckResult result;
  int reported = 0;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const Tensor<double>& x = inputs[k];
    if (!x.tracked()) continue;
    const Tensor<double> gradient = x.grad();
    double largest = 1;
    for (index_t i = 0; gradient && i < x.numel(); ++i) largest = std::max(largest, std::abs(gradient.data()[i]));
    const index_t tries = std::min(x.numel(), options.max_elements);
    for (index_t t = 0; t < tries; ++t) {
      const index_t i = tries == x.numel() ? t : random.below(x.numel());
      const double before = x.data()[i];
      x.data()[i] = before + options.step;
      const double above = loss();
      x.data()[i] = before - options.step;
      const double below = loss();
      x.data()[i] = before;
      const double numeric = (above - below) / (2 * options.step), analytic = gradient ? gradient.data()[i] : 0;
      const double error = std::abs(numeric - analytic);
      if (error > result.worst) result.worst = error;
      const double allowed = (options.atol + options.rtol) * std::max({largest, std::abs(numeric), std::abs(analytic)});
      if (!(error <= allowed)) {  // also when NaN
        result.ok = false;
        if (reported++ < 5)
          result.message +=
              concat("input ", k, " ", x.shape(), " element ", i, " at ", before, ": numeric ", numeric, ", backward ", analytic, "\n");
      }
    }
  }
  return result;
}

}  // namespace segnet
