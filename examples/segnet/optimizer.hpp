// How a configuration trains: its loss, its optimiser, with groups of parameters, and its learning rate.
#pragma once

#include <map>

#include "config.hpp"
#include "segnet/nn/module.hpp"
#include "segnet/optim/adam.hpp"
#include "segnet/optim/rmsprop.hpp"
#include "segnet/optim/schedule.hpp"
#include "segnet/optim/sgd.hpp"

namespace segnet::program {

/// The loss of all that a network gives in training (nn::AnyModule::outputs): its auxiliary head counts `aux`, each of several scales as
/// much as their maximum. `loss_of_result` is that of the first, which is what predictions are made of.
template <class Output, class Loss, class ResultLoss>
auto loss_of_all(const ModelConfig& c, const std::vector<Output>& outputs, const Loss& loss_of, const ResultLoss& loss_of_result) {
  auto sum = loss_of_result(outputs[0]);
  for (std::size_t i = 1; i < outputs.size(); ++i) sum = sum + loss_of(outputs[i]) * static_cast<float>(c.multi_scale ? 1 : c.aux);
  return sum;
}
template <class Output, class Loss>
auto loss_of_all(const ModelConfig& c, const std::vector<Output>& outputs, const Loss& loss_of) {
  return loss_of_all(c, outputs, loss_of, loss_of);
}

/// The parameters that are trained, in groups. Weight decay is for weights: biases and the parameters of norms (one-dimensional) go
/// without. `head`: names of those that learn `lr_head` times as fast.
template <class D>
std::unique_ptr<optim::Optimizer<float, D>> make_optimizer(const TrainConfig& c, const std::vector<nn::NamedTensor<float, D>>& state,
                                                           const std::vector<std::string>& head) {
  std::map<std::pair<bool, double>, std::vector<nn::NamedTensor<float, D>>> groups;  // by {one-dimensional, factor of the learning rate}
  for (const auto& entry : state) {
    if (!entry.trainable || !entry.tensor.tracked()) continue;
    const bool plain = entry.tensor.rank() <= 1;
    double scale = plain && entry.name.ends_with("bias") ? c.lr_bias : 1;
    if (std::find(head.begin(), head.end(), entry.name) != head.end()) scale *= c.lr_head;
    groups[{plain, scale}].push_back(entry);
  }
  if (groups.empty()) throw ValueError("train", "--freeze", "something left to train", "everything frozen");
  const auto build = [&](auto optimizer, auto options) -> std::unique_ptr<optim::Optimizer<float, D>> {
    options.lr = c.lr;
    for (const auto& [kind, parameters] : groups) {
      options.weight_decay = kind.first ? 0 : c.weight_decay;
      optimizer.add_group(parameters, options).lr_scale = kind.second;
    }
    return std::make_unique<decltype(optimizer)>(std::move(optimizer));
  };
  if (c.optimizer == "sgd") return build(optim::Sgd<float, D>(), optim::SgdOptions{.momentum = c.momentum});
  if (c.optimizer == "adam") return build(optim::Adam<float, D>(), optim::AdamOptions{});
  if (c.optimizer == "rmsprop")
    return build(optim::Rmsprop<float, D>(), optim::RmspropOptions{.alpha = c.alpha, .eps = c.eps, .momentum = c.momentum});
  return build(optim::AdamW<float, D>(), optim::AdamWOptions{});
}

/// The learning rate by step, as set on the command line or by a recipe.
inline optim::Schedule make_schedule(const TrainConfig& c, std::int64_t total_steps, std::int64_t steps_per_epoch) {
  if (c.warmup > 0 && c.schedule == "step") throw ValueError("train", "--warmup", "another --schedule than step", concat(c.warmup));
  const std::string name = c.warmup > 0 && c.schedule != "constant" ? "warmup_" + c.schedule : c.warmup > 0 ? "linear_warmup" : c.schedule;
  return optim::make_schedule(name, {.base = c.lr,
                                     .total = total_steps,
                                     .power = c.power,
                                     .step_size = c.step_size > 0 ? c.step_size : steps_per_epoch,
                                     .gamma = c.gamma,
                                     .warmup = c.warmup});
}

}  // namespace segnet::program
