// What a closure keeps of a tensor until the backward pass: its elements, or the way to compute them again.
//
// A network keeps most of its memory in results of normalisation, activation and concatenation that a convolution reads once more for the
// gradient of its weight. What those were computed from is kept in any case, and a pass over memory is little beside a convolution.
#pragma once

#include "segnet/autograd/graph.hpp"

namespace segnet {

namespace autograd {
template <class T, class D>
struct Recipe {
  Closure<Tensor<T, D>()> compute;
};
}  // namespace autograd

/// Of an operation that takes a pass over memory and has recorded y: `compute()` returns the elements of y again, the same bits, from what
/// the operation's closure keeps. Whoever saves y (see `Saved`) keeps that instead. On the GPU, where convolutions are faster by more
/// than memory is, elements are kept.
template <class T, class D, class F>
void recomputable(const Tensor<T, D>& y, F&& compute) {
  if constexpr (std::is_same_v<D, Cpu>)
    if (y.tracked()) y.set_recipe(std::make_shared<autograd::Recipe<T, D>>(autograd::Recipe<T, D>{std::forward<F>(compute)}));
}

/// A tensor that a closure reads, for operations that take much longer than a pass over it. Kept as it is if it is not `recomputable`.
template <class T, class D>
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor<T, D>& x) : recipe_(x.recipe()) {
    if (!recipe_) kept_ = x.detach();
  }
  /// The same elements, outside the graph; perhaps computed by this call.
  [[nodiscard]] Tensor<T, D> elements() const { return recipe_ ? recipe_->compute() : kept_; }

 private:
  std::shared_ptr<const autograd::Recipe<T, D>> recipe_;
  Tensor<T, D> kept_;
};

}  // namespace segnet
