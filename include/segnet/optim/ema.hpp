// An exponential moving average of weights, which often tests better than the weights themselves.
#pragma once

#include "segnet/optim/optimizer.hpp"

namespace segnet::optim {

struct EmaOptions {
  double decay = 0.999;  ///< how much of the average stays at each update
  bool warm_up = true;   ///< at update t = 1, 2, ... no more than (1 + t) / (10 + t) of it, so that the start is forgotten
};

/// average = d average + (1 - d) weight at each update, beginning with the weights at construction. Give it parameters and buffers
/// (nn::state_dict), so that running statistics are averaged as well. Holds the tensors that it averages.
///
///   ema.update();                     // behind optimizer.step()
///   { auto scope = ema.swapped();     // the network computes with the averages ...
///     evaluate(net); }                // ... until here
template <class T = float, class D = Cpu>
class Ema {
 public:
  explicit Ema(const ParameterList<T, D>& weights, const EmaOptions& options = {}) : options_(options) {
    if (!(options.decay >= 0 && options.decay <= 1)) throw ValueError("Ema", "decay", "a number in [0, 1]", concat(options.decay));
    for (const auto& [name, tensor] : weights) items_.push_back({name.empty() ? concat(items_.size()) : name, tensor, tensor.clone()});
  }

  void update() {
    if (swapped_in_) throw Error("segnet::Ema: update() while the averages are swapped in");
    const double t = static_cast<double>(++updates_);
    const T keep = static_cast<T>(options_.warm_up ? std::min(options_.decay, (1 + t) / (10 + t)) : options_.decay);
    kernels::update_averages(pairs(), keep);
  }

  /// Exchanges weights and averages, element by element. A second call puts both back, to the bit.
  void swap() {
    kernels::swap_elements(pairs());
    swapped_in_ = !swapped_in_;
  }

  /// Swaps at once and again at its end.
  class Scope {
   public:
    explicit Scope(Ema& ema) : ema_(ema) { ema_.swap(); }
    ~Scope() { ema_.swap(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Ema& ema_;
  };
  [[nodiscard]] Scope swapped() { return Scope(*this); }

  /// The averages by name, and the number of updates (as the only entry of `steps`), for a checkpoint.
  [[nodiscard]] OptimizerState<T, D> state() const {
    OptimizerState<T, D> all;
    for (const Item& item : items_) all.tensors.push_back({item.name, item.average});
    all.steps.push_back({"updates", updates_});
    return all;
  }
  /// Restores them to the bit. @throws ValueError: names differ; ShapeError
  void load_state(const OptimizerState<T, D>& state) {
    if (state.tensors.size() != items_.size() || state.steps.size() != 1)
      throw ValueError("Ema", "state", concat(items_.size(), " averages and a count"),
                       concat(state.tensors.size(), " and ", state.steps.size()));
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto& [name, tensor] = state.tensors[i];
      if (name != items_[i].name) throw ValueError("Ema", "state", concat("'", items_[i].name, "'"), concat("'", name, "'"));
      if (tensor.shape() != items_[i].weight.shape()) throw ShapeError("Ema", name, concat(items_[i].weight.shape()), tensor.shape());
    }
    for (std::size_t i = 0; i < items_.size(); ++i) items_[i].average.copy_from(state.tensors[i].second);
    updates_ = state.steps[0].second;
  }

 private:
  struct Item {
    std::string name;
    Tensor<T, D> weight, average;
  };
  /// {average, weight} of all
  kernels::Batch<T, D, 2> pairs() const {
    kernels::Batch<T, D, 2> all;
    for (const Item& item : items_) all.push_back({{item.average.data(), item.weight.data()}, item.weight.numel()});
    return all;
  }
  EmaOptions options_;
  std::vector<Item> items_;
  std::int64_t updates_ = 0;
  bool swapped_in_ = false;
};

}  // namespace segnet::optim
