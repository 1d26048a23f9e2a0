// What losses share: the checks of labels, and the step from a sum of losses to the value that is returned.
#pragma once

#include "segnet/core/tensor.hpp"
#include "segnet/kernels/loss_sum.hpp"

namespace segnet::detail {

/// x without its last dimension: the shape of the labels of scores x.
[[nodiscard]] inline Shape rows_of(const Shape& x) { return Shape(x.begin(), x.end() - 1); }

inline void check_label_shape(const char* op, const char* scores_name, const Shape& scores, const Shape& target) {
  const Shape expected = rows_of(scores);
  if (target != expected) throw ShapeError(op, "target", concat(expected, " for ", scores_name, " ", scores), target);
}

/// "[1, 5, 7]": the indices of element i.
[[nodiscard]] inline std::string position(index_t i, const Shape& shape) {
  Shape at = shape;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    at[d] = i % shape[d];
    i /= shape[d];
  }
  return to_string(at);
}

/// @throws ValueError naming the bad label of `sum`, if there is one. Where the labels are on the GPU, this waits for it.
template <class Label, class D>
void check_bad_label(const char* op, const Tensor<kernels::LossSum, D>& sum, const Tensor<Label, D>& target, index_t C,
                     index_t ignore_index) {
  const index_t i = sum.item().bad_label;
  if (i >= 0)
    throw ValueError(op, "target", concat("labels in [0, ", C, ") or ignore_index = ", ignore_index),
                     concat(static_cast<index_t>(target.alias({}, i).item()), " at ", position(i, target.shape())));
}

/// @throws ValueError naming the first label that is neither a class nor ignore_index
template <class Label, class D>
void check_labels(const char* op, const Tensor<Label, D>& target, index_t C, index_t ignore_index) {
  const Tensor<kernels::LossSum, D> found(Shape{});
  kernels::find_bad_label<Label>(target.view(), C, ignore_index, found.view());
  check_bad_label(op, found, target, C, ignore_index);
}

/// What a loss returns, of element type A, and how gradients get back to the losses of single elements.
template <class A, class D>
class LossValue {
 public:
  /// shape: of the single losses
  LossValue(const Shape& shape, Reduction reduction)
      : reduction_(reduction), y_(each() ? shape : Shape{}), slope_(each() ? Tensor<A, D>{} : Tensor<A, D>(Shape{})), total_(Shape{}) {}

  /// Where the single losses go; undefined when only their sum is wanted.
  [[nodiscard]] View<A, D> each_view() const { return each() ? y_.view() : View<A, D>{}; }
  /// Where their sum goes.
  [[nodiscard]] const Tensor<kernels::LossSum, D>& total() const { return total_; }
  /// The sum is there: makes the value of it.
  const Tensor<A, D>& reduce(bool zero_if_empty = false) const {
    if (!each()) kernels::reduce_loss<A>(total_.view(), reduction_, zero_if_empty, y_.view(), slope_.view());
    return y_;
  }
  /// For the backward pass: the slope, undefined for `none`.
  [[nodiscard]] const Tensor<A, D>& slope() const { return slope_; }

 private:
  [[nodiscard]] bool each() const { return reduction_ == Reduction::none; }
  Reduction reduction_;
  Tensor<A, D> y_, slope_;
  Tensor<kernels::LossSum, D> total_;
};

template <class A, class D>
[[nodiscard]] kernels::Upstream<A> upstream(const Tensor<A, D>& dy, const Tensor<A, D>& slope) {
  return {dy.data(), slope.data()};
}

}  // namespace segnet::detail
