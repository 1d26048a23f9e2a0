// RMSprop: steps scaled by the root of the running mean of squared gradients.
#pragma once

#include "segnet/optim/optimizer.hpp"

namespace segnet::optim {

struct RmspropOptions {
  double lr = 1e-2;
  double alpha = 0.99;      ///< how much of the running mean stays at each step
  double eps = 1e-8;        ///< added to the root, outside of it
  double weight_decay = 0;  ///< times the parameter, added to the gradient
  double momentum = 0;
  bool centered = false;  ///< divide by the standard deviation instead of the root mean square
};

struct RmspropRule {
  using Options = RmspropOptions;
  static constexpr const char* name = "Rmsprop";

  static void check(const Options& o) {
    detail::check_option(name, "lr", o.lr, 0, detail::unbounded);
    detail::check_option(name, "alpha", o.alpha, 0, detail::unbounded);
    detail::check_option(name, "eps", o.eps, 0, detail::unbounded);
    detail::check_option(name, "weight_decay", o.weight_decay, 0, detail::unbounded);
    detail::check_option(name, "momentum", o.momentum, 0, detail::unbounded);
  }
  static std::vector<const char*> slots(const Options& o) {
    std::vector<const char*> names{"square"};
    if (o.centered) names.push_back("average");
    if (o.momentum != 0) names.push_back("momentum");
    return names;
  }
  template <class T, class D>
  static void step(const Options& o, double lr, std::int64_t, kernels::Updates<T, D> updates) {
    const kernels::RmspropStep<T> s{static_cast<T>(lr), static_cast<T>(o.weight_decay), static_cast<T>(o.alpha), static_cast<T>(o.eps),
                                    static_cast<T>(o.momentum)};
    if (!o.centered)
      for (auto& update : updates) std::swap(update.at[3], update.at[4]);  // the momentum is the second of two, and the kernel's third
    kernels::rmsprop_step(s, updates);
  }
};

/// Tieleman & Hinton, "Neural networks for machine learning", lecture 6e, 2012. With g' = g + weight_decay p:
///
///   v = alpha v + (1 - alpha) g'^2;  a = alpha a + (1 - alpha) g' (centered, Graves, arXiv:1308.0850; else a = 0);
///   b = momentum b + g' / (sqrt(v - a^2) + eps);  p -= lr b
///
/// @throws ValueError: negative options
template <class T = float, class D = Cpu>
class Rmsprop : public RuleOptimizer<RmspropRule, T, D> {
  using RuleOptimizer<RmspropRule, T, D>::RuleOptimizer;
};

}  // namespace segnet::optim
