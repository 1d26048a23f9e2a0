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

template <class Label>
[[noreturn]] void throw_bad_label(const char* op, const Tensor<Label, Cpu>& target, index_t i, index_t C, index_t ignore_index) {
  throw ValueError(op, "target", concat("labels in [0, ", C, ") or ignore_index = ", ignore_index),
                   concat(static_cast<index_t>(target.data()[i]), " at ", position(i, target.shape())));
}

/// @throws ValueError naming the first label that is neither a class nor ignore_index
template <class Label>
void check_labels(const char* op, const Tensor<Label, Cpu>& target, index_t C, index_t ignore_index) {
  const Label* labels = target.data();
  const auto found = kernels::sum_losses(target.numel(), 65536, [=](index_t begin, index_t end, kernels::LossSum& sum) {
    for (index_t i = begin; i < end && sum.bad_label < 0; ++i) {
      const index_t label = static_cast<index_t>(labels[i]);
      if ((label < 0 || label >= C) && label != ignore_index) sum.bad_label = i;
    }
  });
  if (found.bad_label >= 0) throw_bad_label(op, target, found.bad_label, C, ignore_index);
}

template <class T>
struct ReducedLoss {
  T value;
  T slope;  ///< d value / d (loss of one element)
};

/// `mean` over nothing is 0/0 = NaN as in PyTorch, or 0 with `zero_if_empty`.
template <class T>
[[nodiscard]] ReducedLoss<T> reduced_loss(const kernels::LossSum& sum, Reduction reduction, bool zero_if_empty = false) {
  if (reduction != Reduction::mean) return {static_cast<T>(sum.loss), T(1)};
  if (zero_if_empty && sum.weight == 0) return {T(0), T(0)};
  return {static_cast<T>(sum.loss / sum.weight), static_cast<T>(1 / sum.weight)};
}

}  // namespace segnet::detail
