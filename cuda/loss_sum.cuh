// How losses add up on the GPU: every block leaves one partial sum in double, and one block joins them in order. No atomics, so that two
// runs give the same bits; nothing goes to the host.
#pragma once

#include "launch.cuh"
#include "segnet/kernels/loss_sum.hpp"

namespace segnet {

namespace cuda {

using kernels::LossSum;

struct Smaller {
  template <class T>
  SEGNET_HOST_DEVICE T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

/// The threads' sums of a block of 256, joined. -1 (no bad label) is the largest unsigned number.
__device__ inline void store_block_sum(const LossSum& sum, LossSum* to) {
  const double loss = block_reduce(sum.loss, 0.0, Plus{}), weight = block_reduce(sum.weight, 0.0, Plus{});
  const auto bad = block_reduce(static_cast<unsigned long long>(sum.bad_label), ~0ull, Smaller{});
  if (threadIdx.x == 0) *to = {loss, weight, static_cast<index_t>(bad)};
}
__device__ inline void note_bad_label(LossSum& sum, index_t i) {
  if (sum.bad_label < 0 || i < sum.bad_label) sum.bad_label = i;
}

template <class Sum>
__global__ void __launch_bounds__(256) join_loss_sums_kernel(const Sum* partial, index_t n, Sum* total) {
  Sum sum;
  for (index_t i = threadIdx.x; i < n; i += 256) {
    const Sum p = partial[i];
    sum.loss += p.loss;
    sum.weight += p.weight;
    if (p.bad_label >= 0) note_bad_label(sum, p.bad_label);
  }
  store_block_sum(sum, total);
}
/// total = the sum of n partial sums.
inline void join_loss_sums(const LossSum* partial, index_t n, LossSum* total) {
  launch(join_loss_sums_kernel<LossSum>, 1, 256, 0, partial, n, total);
}

constexpr index_t loss_chunk = 256 * 8;  ///< pieces of work per partial sum

template <class F>
__global__ void __launch_bounds__(256) sum_losses_kernel(F f, index_t n, LossSum* partial) {
  const index_t begin = blockIdx.x * loss_chunk, end = begin + loss_chunk < n ? begin + loss_chunk : n;
  LossSum sum;
#pragma unroll 4
  for (index_t i = begin + threadIdx.x; i < end; i += 256) f(i, sum);
  store_block_sum(sum, partial + blockIdx.x);
}
/// total = what f(i, sum) adds to its `sum` for 0 <= i < n.
template <class F>
void sum_losses(index_t n, const F& f, LossSum* total) {
  const index_t blocks = (n + loss_chunk - 1) / loss_chunk;
  const Scratch<LossSum> partial(blocks);
  launch(sum_losses_kernel<F>, static_cast<unsigned>(blocks), 256, 0, f, n, partial.data());
  join_loss_sums(partial.data(), blocks, total);
}

template <class T>
struct ReduceLoss {
  const LossSum* sum;
  Reduction reduction;
  bool zero_if_empty;
  T *value, *slope;
  SEGNET_HOST_DEVICE void operator()(index_t) const {
    const kernels::ReducedLoss reduced = kernels::reduced_loss(*sum, reduction, zero_if_empty);
    *value = static_cast<T>(reduced.value);
    *slope = static_cast<T>(reduced.slope);
  }
};

template <class Label>
struct FindBadLabel {
  const Label* labels;
  index_t C, ignore_index;
  __device__ void operator()(index_t i, LossSum& sum) const {
    const index_t label = static_cast<index_t>(labels[i]);
    if ((label < 0 || label >= C) && label != ignore_index) note_bad_label(sum, i);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void reduce_loss(View<const LossSum, Cuda> sum, Reduction reduction, bool zero_if_empty, View<T, Cuda> value, View<T, Cuda> slope) {
  cuda::for_each(1, cuda::ReduceLoss<T>{sum.data, reduction, zero_if_empty, value.data, slope.data});
}
template <class Label>
void find_bad_label(View<const Label, Cuda> labels, index_t C, index_t ignore_index, View<LossSum, Cuda> found) {
  cuda::sum_losses(labels.size(), cuda::FindBadLabel<Label>{labels.data, C, ignore_index}, found.data);
}

}  // namespace kernels

}  // namespace segnet
