// A module whose type is chosen at run time, for programs that take a network's name on the command line. Everywhere else, use
// the module's own type.
#pragma once

#include "segnet/nn/summary.hpp"

namespace segnet::nn {

/// Holds any module that maps one tensor to one tensor. Copies share the module.
template <class T = float, class D = Cpu>
class AnyModule {
 public:
  AnyModule() = default;
  template <class M>
    requires(!std::is_same_v<M, AnyModule>)
  explicit AnyModule(M module) : held_(std::make_shared<Holder<M>>(std::move(module))) {}

  explicit operator bool() const { return held_ != nullptr; }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return held_->forward(x); }
  /// What training takes losses of: the result and, of a network that has an auxiliary head (`with_aux`), that head's; or what the
  /// network says (`outputs`), the result first.
  [[nodiscard]] std::vector<Tensor<T, D>> outputs(const Tensor<T, D>& x) const { return held_->outputs(x); }
  [[nodiscard]] std::vector<NamedTensor<Master<T>, D>> state_dict() const { return held_->state_dict(); }
  void train(bool training = true, std::string_view part = {}) { held_->train(training, part); }
  void eval() { held_->train(false, {}); }
  [[nodiscard]] Summary summarize(const Shape& input) { return held_->summarize(input); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T, D> forward(const Tensor<T, D>& x) const = 0;
    virtual std::vector<Tensor<T, D>> outputs(const Tensor<T, D>& x) const = 0;
    virtual std::vector<NamedTensor<Master<T>, D>> state_dict() const = 0;
    virtual void train(bool training, std::string_view part) = 0;
    virtual Summary summarize(const Shape& input) = 0;
  };
  template <class M>
  struct Holder final : Base {
    explicit Holder(M m) : module(std::move(m)) {}
    Tensor<T, D> forward(const Tensor<T, D>& x) const override { return module(x); }
    std::vector<Tensor<T, D>> outputs(const Tensor<T, D>& x) const override {
      if constexpr (requires { module.with_aux(x); }) {
        const auto [out, aux] = module.with_aux(x);
        return aux ? std::vector{out, aux} : std::vector{out};
      } else if constexpr (requires { module.outputs(x); }) {
        return module.outputs(x);
      } else {
        return {module(x)};
      }
    }
    std::vector<NamedTensor<Master<T>, D>> state_dict() const override { return nn::state_dict<Master<T>, D>(module); }
    void train(bool training, std::string_view part) override { nn::train(module, training, part); }
    Summary summarize(const Shape& input) override { return nn::summarize<T, D>(module, input); }
    M module;
  };
  std::shared_ptr<Base> held_;
};

}  // namespace segnet::nn
