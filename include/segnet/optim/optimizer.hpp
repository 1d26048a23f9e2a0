// What all optimisers share: groups of parameters, the learning rate, and a state that a checkpoint stores.
//
//   optim::Sgd<float> optimizer(nn::named_parameters(net), {.lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4});
//   optimizer.add_group(nn::named_parameters(head, "head"), {.lr = 0.01, .momentum = 0.9}).lr_scale = 10;
//   for (index_t t = 0; t < total; ++t) {
//     optimizer.zero_grad();
//     cross_entropy(net(batch.images), batch.labels).backward();
//     optimizer.set_lr(schedule.lr(t));
//     optimizer.step();
//   }
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/optimizer_step.hpp"

namespace segnet::optim {

/// A parameter with the name under which its state is stored.
template <class T, class D = Cpu>
struct NamedParameter {
  std::string name;
  Tensor<T, D> tensor;
};

/// Parameters as optimisers take them: a list of tensors, or of anything with a `name` and a `tensor` (nn::named_parameters).
/// Tensors without names are called by their position.
template <class T, class D = Cpu>
class ParameterList {
 public:
  ParameterList() = default;
  ParameterList(const std::vector<Tensor<T, D>>& tensors) {  // NOLINT: converts
    for (const auto& tensor : tensors) items_.push_back({{}, tensor});
  }
  template <class Named>
    requires requires(const Named& n) { std::string(n.name), Tensor<T, D>(n.tensor); }
  ParameterList(const std::vector<Named>& tensors) {  // NOLINT: converts
    for (const auto& named : tensors) items_.push_back({named.name, named.tensor});
  }
  [[nodiscard]] auto begin() const { return items_.begin(); }
  [[nodiscard]] auto end() const { return items_.end(); }

 private:
  std::vector<NamedParameter<T, D>> items_;
};

/// What an optimiser remembers, in the order of its parameters: "<parameter>.<what>" for the tensors, "<parameter>" for the number of
/// steps. The tensors are handles of the optimiser's own.
template <class T, class D = Cpu>
struct OptimizerState {
  std::vector<std::pair<std::string, Tensor<T, D>>> tensors;
  std::vector<std::pair<std::string, std::int64_t>> steps;
};

/// The part that does not depend on the rule: programs that choose an optimiser at run time hold a std::unique_ptr of this.
template <class T, class D = Cpu>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// Changes every parameter that has a gradient. Parameters without one are left as they are, their state too.
  virtual void step() = 0;
  /// Forgets all gradients.
  virtual void zero_grad() const = 0;
  /// The learning rate of every group from now on (times the group's lr_scale).
  virtual void set_lr(double lr) = 0;
  /// The learning rate of the first group, without its lr_scale.
  [[nodiscard]] virtual double lr() const = 0;
  /// Everything that the next step depends on besides parameters, gradients and options.
  [[nodiscard]] virtual OptimizerState<T, D> state() const = 0;
  /// Restores it to the bit; what the state does not name starts anew. The tensors are copied.
  /// @throws ValueError: a name that belongs to no parameter, or a state of another optimiser; ShapeError
  virtual void load_state(const OptimizerState<T, D>& state) = 0;
  /// All parameters, in order.
  [[nodiscard]] virtual std::vector<Tensor<T, D>> parameters() const = 0;
};

/// An optimiser made of a Rule, which has
///   Options                      with `lr`, and defaults for everything
///   check(options)               throws ValueError
///   slots(options)               names of the tensors (three at most) kept per parameter, all of its shape and 0 at first
///   step(options, lr, t, updates)    update t = 1, 2, ... of a list of {parameter, gradient, slots}
template <class Rule, class T, class D>
class RuleOptimizer : public Optimizer<T, D> {
 public:
  using Options = typename Rule::Options;

  struct Item {
    std::string name;
    Tensor<T, D> parameter;
    std::vector<Tensor<T, D>> slots;  ///< empty before the first step
    std::int64_t steps = 0;
  };
  struct Group {
    Options options;
    double lr_scale = 1;  ///< times options.lr: new layers often learn ten times as fast
    std::vector<Item> items;
  };

  RuleOptimizer() = default;
  explicit RuleOptimizer(const ParameterList<T, D>& parameters, const Options& options = {}) { add_group(parameters, options); }

  /// Adds parameters with options of their own. The reference is valid until the next call.
  /// @throws ValueError: wrong options, a parameter twice, two parameters of one name
  Group& add_group(const ParameterList<T, D>& parameters, const Options& options = {}) {
    Rule::check(options);
    Group group{options, 1, {}};
    std::size_t position = 0;
    for (const Group& before : groups_) position += before.items.size();
    for (const auto& [name, tensor] : parameters) {
      Item item{name.empty() ? concat(position) : name, tensor, {}, 0};
      const auto clash = [&](const Item& other) {
        if (other.name == item.name)
          throw ValueError(Rule::name, "parameters", "one parameter of a name", concat("two of '", item.name, "'"));
        if (other.parameter.shares_memory_with(tensor))
          throw ValueError(Rule::name, "parameters", "each parameter once", concat("'", other.name, "' again as '", item.name, "'"));
      };
      for (const Group& before : groups_)
        for (const Item& other : before.items) clash(other);
      for (const Item& other : group.items) clash(other);
      group.items.push_back(std::move(item));
      ++position;
    }
    groups_.push_back(std::move(group));
    return groups_.back();
  }
  [[nodiscard]] std::vector<Group>& groups() { return groups_; }
  [[nodiscard]] const std::vector<Group>& groups() const { return groups_; }

  void step() override {
    NoGrad guard;
    for (Group& group : groups_) {
      Rule::check(group.options);
      const std::vector<const char*> names = Rule::slots(group.options);
      kernels::Updates<T, D> updates;  // those of the same number of steps; nearly always all of the group
      std::int64_t steps = 0;
      const auto update = [&] {
        if (!updates.empty()) Rule::step(group.options, group.options.lr * group.lr_scale, steps, updates);
        updates.clear();
      };
      for (Item& item : group.items) {
        const Tensor<T, D> gradient = item.parameter.grad();
        if (!gradient) continue;
        while (item.slots.size() < names.size()) item.slots.push_back(zeros<T, D>(item.parameter.shape()));
        if (++item.steps != steps) update();
        steps = item.steps;
        updates.push_back({{item.parameter.data(), gradient.data(), nullptr, nullptr, nullptr}, item.parameter.numel()});
        for (std::size_t k = 0; k < names.size(); ++k) updates.back().at[2 + k] = item.slots[k].data();
      }
      update();
    }
  }
  void zero_grad() const override {
    for (const Group& group : groups_)
      for (const Item& item : group.items) item.parameter.zero_grad();
  }
  void set_lr(double lr) override {
    for (Group& group : groups_) group.options.lr = lr;
  }
  [[nodiscard]] double lr() const override { return groups_.empty() ? 0 : groups_.front().options.lr; }

  [[nodiscard]] OptimizerState<T, D> state() const override {
    OptimizerState<T, D> all;
    for (const Group& group : groups_) {
      const std::vector<const char*> names = Rule::slots(group.options);
      for (const Item& item : group.items) {
        if (item.steps == 0) continue;
        all.steps.push_back({item.name, item.steps});
        for (std::size_t k = 0; k < item.slots.size(); ++k) all.tensors.push_back({concat(item.name, ".", names[k]), item.slots[k]});
      }
    }
    return all;
  }
  void load_state(const OptimizerState<T, D>& state) override {
    std::vector<Group> groups = groups_;  // nothing changes when something is wrong
    std::size_t used_steps = 0, used_tensors = 0;
    for (Group& group : groups) {
      const std::vector<const char*> names = Rule::slots(group.options);
      for (Item& item : group.items) {
        item.slots.clear();
        item.steps = 0;
        for (const auto& [name, steps] : state.steps)
          if (name == item.name) item.steps = steps, ++used_steps;
        if (item.steps == 0) continue;
        for (const char* slot : names) {
          const std::string wanted = concat(item.name, ".", slot);
          for (const auto& [name, tensor] : state.tensors) {
            if (name != wanted) continue;
            if (tensor.shape() != item.parameter.shape())
              throw ShapeError(Rule::name, wanted, concat(item.parameter.shape()), tensor.shape());
            item.slots.push_back(tensor.clone());
            ++used_tensors;
            break;
          }
        }
        if (item.slots.size() != names.size())
          throw ValueError(Rule::name, "state", concat(names.size(), " tensors for '", item.name, "'"), concat(item.slots.size()));
      }
    }
    if (used_steps != state.steps.size() || used_tensors != state.tensors.size())
      throw ValueError(Rule::name, "state", "the parameters and tensors of this optimiser",
                       concat(state.steps.size() - used_steps + state.tensors.size() - used_tensors, " entries of others"));
    groups_ = std::move(groups);
  }
  [[nodiscard]] std::vector<Tensor<T, D>> parameters() const override {
    std::vector<Tensor<T, D>> all;
    for (const Group& group : groups_)
      for (const Item& item : group.items) all.push_back(item.parameter);
    return all;
  }

 private:
  std::vector<Group> groups_;
};

namespace detail {
/// Throws unless `value` is in [low, high).
inline void check_option(const char* optimizer, const char* option, double value, double low, double high) {
  if (!(value >= low && value < high))
    throw ValueError(optimizer, option, high < 1e300 ? concat("a number in [", low, ", ", high, ")") : concat("a number of at least ", low),
                     concat(value));
}
inline constexpr double unbounded = 1e308;
}  // namespace detail

}  // namespace segnet::optim
