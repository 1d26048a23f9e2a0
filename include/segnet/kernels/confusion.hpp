// Counting pairs of labels on the GPU. (metrics/confusion.hpp counts those in host memory itself.)
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/loss_sum.hpp"

namespace segnet::kernels {

// cuda/confusion.cuh

/// counts [C, C] = pixels with target t that were predicted as p; those whose target is ignore_index are left out.
/// found.bad_label = the first of the others whose target or prediction is no class, or -1.
template <class Prediction, class Target>
void count_pairs(View<const Prediction, Cuda> prediction, View<const Target, Cuda> target, index_t ignore_index,
                 View<std::int64_t, Cuda> counts, View<LossSum, Cuda> found);

/// best [rows]: the class with the largest of scores [rows, C], the first of equals.
template <class T>
void best_class(View<const T, Cuda> scores, View<std::int32_t, Cuda> best);

}  // namespace segnet::kernels
