// Adam and AdamW: steps scaled by running moments of the gradient.
#pragma once

#include "segnet/optim/optimizer.hpp"

namespace segnet::optim {

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< how much of the first and second moment stays at each step
  double eps = 1e-8;                  ///< added to the root of the second moment
  double weight_decay = 0;            ///< times the parameter, added to the gradient
  bool amsgrad = false;               ///< divide by the largest second moment so far
};
struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;  ///< times lr times the parameter, subtracted from the parameter
  bool amsgrad = false;
};

template <class OptionsType, bool decoupled>
struct AdamRule {
  using Options = OptionsType;
  static constexpr const char* name = decoupled ? "AdamW" : "Adam";

  static void check(const Options& o) {
    detail::check_option(name, "lr", o.lr, 0, detail::unbounded);
    detail::check_option(name, "beta1", o.beta1, 0, 1);
    detail::check_option(name, "beta2", o.beta2, 0, 1);
    detail::check_option(name, "eps", o.eps, 0, detail::unbounded);
    detail::check_option(name, "weight_decay", o.weight_decay, 0, detail::unbounded);
  }
  static std::vector<const char*> slots(const Options& o) {
    if (o.amsgrad) return {"first_moment", "second_moment", "largest_second_moment"};
    return {"first_moment", "second_moment"};
  }
  template <class T, class D>
  static void step(const Options& o, double lr, std::int64_t t, const kernels::Updates<T, D>& updates) {
    const double steps = static_cast<double>(t);
    const kernels::AdamStep<T> s{static_cast<T>(lr),
                                 static_cast<T>(o.weight_decay),
                                 static_cast<T>(o.beta1),
                                 static_cast<T>(o.beta2),
                                 static_cast<T>(o.eps),
                                 static_cast<T>(lr / (1 - std::pow(o.beta1, steps))),
                                 static_cast<T>(std::sqrt(1 - std::pow(o.beta2, steps))),
                                 decoupled};
    kernels::adam_step(s, updates);
  }
};

/// Kingma & Ba, arXiv:1412.6980. With g' = g + weight_decay p:
///
///   m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;
///   p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps),   t = 1, 2, ...
///
/// With amsgrad, v is replaced below by its largest value so far (arXiv:1904.09237), uncorrected as in PyTorch.
/// @throws ValueError: negative options, a beta of 1 or more
template <class T = float, class D = Cpu>
class Adam : public RuleOptimizer<AdamRule<AdamOptions, false>, T, D> {
  using RuleOptimizer<AdamRule<AdamOptions, false>, T, D>::RuleOptimizer;
};

/// Adam with g' = g, and p -= lr weight_decay p in each step: the decay does not pass through the moments
/// (Loshchilov & Hutter, arXiv:1711.05101).
template <class T = float, class D = Cpu>
class AdamW : public RuleOptimizer<AdamRule<AdamWOptions, true>, T, D> {
  using RuleOptimizer<AdamRule<AdamWOptions, true>, T, D>::RuleOptimizer;
};

}  // namespace segnet::optim
