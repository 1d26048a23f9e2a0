// What every network must be able to do.
#pragma once

#include <set>
#include <string>

#include "segnet/autograd/backward.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "support/testing.hpp"

namespace segnet::testing {

/// The names of all its tensors.
template <class M>
std::set<std::string> state_dict_names(const M& net) {
  std::set<std::string> all;
  for (const auto& entry : nn::state_dict(net)) all.insert(entry.name);
  return all;
}

/// A short step down the gradient of all parameters g lowers the loss by what it says, rate * |g|^2. Longer ones may lower the loss of a
/// network just drawn or not: its gradients are steep, and turn soon. `loss()` is that of a batch by `net`, whose dropout is turned off.
template <class M, class Loss>
void learns(M& net, const Loss& loss) {
  nn::train(net);
  nn::for_each_module(net, [](const std::string&, auto& m) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(m)>, nn::Dropout>) m.p = 0;
  });
  const auto before = loss();
  before.backward();
  double squares = 0;
  for (const auto& p : nn::parameters(net)) squares += dot(p.grad(), p.grad());
  constexpr double fall = 2e-3;
  for (const auto& p : nn::parameters(net))
    for (index_t i = 0; i < p.numel(); ++i) p.data()[i] -= static_cast<float>(fall / squares) * p.grad().data()[i];
  CHECK(before.item() - loss().item() == doctest::Approx(fall).epsilon(0.5));
}

/// The same for vertical stripes, one for each class, on an image of noise.
void learns(auto& net, const Shape& image, index_t classes, index_t label_size_h, index_t label_size_w) {
  const auto x = normal<float>(image);
  Tensor<std::int32_t> labels({image[0], label_size_h, label_size_w});
  for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % label_size_w * classes / label_size_w);
  learns(net, [&] { return cross_entropy(net(x), labels); });
}

}  // namespace segnet::testing
