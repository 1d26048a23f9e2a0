// Gradient checkpointing: keep the inputs of a part of a network, and compute the rest again when it is needed.
// Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174.
#pragma once

#include <tuple>

#include "segnet/autograd/backward.hpp"
#include "segnet/core/random.hpp"

namespace segnet {

/// f(inputs...), keeping only the inputs and the output: what the operations inside would keep for the backward pass is dropped,
/// and f is called a second time when the backward pass comes to it. Memory for time: about one more forward pass.
///
/// f takes and returns tensors; it is copied, and what it refers to (a layer, say) must live until the backward pass. Parameters
/// inside f receive their gradients as usual. The second call draws the same random numbers as the first from
/// `default_generator()`, and batch norms do not update their running statistics again.
template <class F, class T, class D, class... More>
[[nodiscard]] Tensor<T, D> checkpoint(const F& f, const Tensor<T, D>& input, const More&... more) {
  if (!is_recording()) return f(input, more...);
  const Generator random_state = default_generator();
  const Tensor<T, D> y = no_grad([&] { return f(input, more...); }).detach();

  auto node = std::make_shared<autograd::GradNode<T, D>>("checkpoint", y.shape());
  node->inputs = {input.node(), more.node()...};  // recorded even when none is tracked: parameters inside f may be
  node->backward = [f, random_state, kept = std::make_tuple(input.detach(), more.detach()...)](const Tensor<T, D>& dy,
                                                                                               Gradients<T, D>& grad) {
    const Generator random_now = default_generator();
    default_generator() = random_state;
    const bool recording = autograd::recording_flag(), recomputing = autograd::recomputing_flag();
    autograd::recording_flag() = autograd::recomputing_flag() = true;
    const auto restore = [&] {
      autograd::recording_flag() = recording;
      autograd::recomputing_flag() = recomputing;
      default_generator() = random_now;
    };
    try {
      std::apply(
          [&](const auto&... saved) {
            const auto leaves = std::make_tuple(saved.detach()...);
            std::size_t i = 0;
            std::apply([&](const auto&... leaf) { ((grad.wanted(i++) ? void(leaf.requires_grad()) : void()), ...); }, leaves);
            const Tensor<T, D> again = std::apply(f, leaves);
            if (again.tracked()) again.backward(dy);
            i = 0;
            const auto pass_on = [&](const auto& leaf) {
              if (leaf.tracked() && leaf.grad()) grad.set_other(i, leaf.grad());
              ++i;
            };
            std::apply([&](const auto&... leaf) { (pass_on(leaf), ...); }, leaves);
          },
          kept);
    } catch (...) {
      restore();
      throw;
    }
    restore();
  };
  y.set_node(std::move(node));
  return y;
}

}  // namespace segnet
