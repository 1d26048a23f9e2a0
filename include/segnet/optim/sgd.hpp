// Stochastic gradient descent, with momentum.
#pragma once

#include "segnet/optim/optimizer.hpp"

namespace segnet::optim {

struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;     ///< the share of each gradient (but the first) that the momentum leaves out
  double weight_decay = 0;  ///< times the parameter, added to the gradient
  bool nesterov = false;    ///< look one step ahead; needs momentum and no dampening
};

struct SgdRule {
  using Options = SgdOptions;
  static constexpr const char* name = "Sgd";

  static void check(const Options& o) {
    detail::check_option(name, "lr", o.lr, 0, detail::unbounded);
    detail::check_option(name, "momentum", o.momentum, 0, detail::unbounded);
    detail::check_option(name, "weight_decay", o.weight_decay, 0, detail::unbounded);
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0))
      throw ValueError(name, "nesterov", "momentum above 0 and no dampening", concat("momentum ", o.momentum, ", dampening ", o.dampening));
  }
  static std::vector<const char*> slots(const Options& o) {
    if (o.momentum == 0) return {};
    return {"momentum"};
  }
  template <class T, class D>
  static void step(const Options& o, double lr, std::int64_t t, const kernels::Updates<T, D>& updates) {
    const kernels::SgdStep<T> s{static_cast<T>(lr), static_cast<T>(o.weight_decay), static_cast<T>(o.momentum),
                                static_cast<T>(t == 1 ? 1 : 1 - o.dampening), o.nesterov};
    kernels::sgd_step(s, updates);
  }
};

/// With gradient g, g' = g + weight_decay p and the momentum buffer b (the plain g' in the first step):
///
///   b = momentum b + (1 - dampening) g';   p -= lr (nesterov ? g' + momentum b : b)
///
/// as in PyTorch: the learning rate stands outside the buffer. @throws ValueError: negative options, nesterov without momentum
template <class T = float, class D = Cpu>
class Sgd : public RuleOptimizer<SgdRule, T, D> {
  using RuleOptimizer<SgdRule, T, D>::RuleOptimizer;
};

}  // namespace segnet::optim
