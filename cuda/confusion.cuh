// Counting pairs of labels. Integers: in whatever order they are added, the sums are the same.
#pragma once

#include "cross_entropy.cuh"
#include "fill.cuh"
#include "segnet/kernels/confusion.hpp"

namespace segnet {

namespace cuda {

/// Each block counts in shared memory first where the matrix fits: most pixels belong to few pairs, and would all wait for the same
/// counters. The sum of losses carries the first wrong pixel alone.
template <bool shared_counts>
__global__ void __launch_bounds__(256) count_pairs_kernel(AnyLabels prediction, AnyLabels target, index_t n, index_t C,
                                                          index_t ignore_index, unsigned long long* counts, LossSum* partial) {
  unsigned* const pair_counts = dynamic_shared<unsigned>();
  const int pairs = static_cast<int>(C * C);
  if constexpr (shared_counts) {
    for (int i = static_cast<int>(threadIdx.x); i < pairs; i += 256) pair_counts[i] = 0;
    __syncthreads();
  }
  LossSum sum;
  const index_t step = static_cast<index_t>(gridDim.x) * 256;
  for (index_t i = blockIdx.x * index_t{256} + threadIdx.x; i < n; i += step) {
    const index_t t = target(i);
    if (t == ignore_index) continue;
    const index_t p = prediction(i);
    if (t < 0 || t >= C || p < 0 || p >= C) note_bad_label(sum, i);
    else if constexpr (shared_counts) atomicAdd(pair_counts + (t * C + p), 1u);
    else atomicAdd(counts + (t * C + p), 1ull);
  }
  store_block_sum(sum, partial + blockIdx.x);  // waits for all threads of the block
  if constexpr (shared_counts) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < pairs; i += 256)
      if (pair_counts[i]) atomicAdd(counts + i, static_cast<unsigned long long>(pair_counts[i]));
  }
}

template <class T>
struct BestClassRow {
  using A = Master<T>;
  static constexpr int inputs = 1;
  static constexpr bool writes = false, sums = false;
  const T* in[1];
  std::int32_t* best;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t row, bool real, Index C, const In* x, const Out&, LossSum&) const {
    constexpr A lowest = -static_cast<A>(INFINITY);
    A top = lowest;
    for (Index c = team.rank; c < C; c += Team::size) {
      const A v = x[0](c);
      top = v > top ? v : top;  // NaN is larger than nothing
    }
    top = team.reduce(top, lowest, Larger{});
    int first = 0x7fffffff;
    for (Index c = team.rank; c < C; c += Team::size)
      if (x[0](c) == top) {
        first = static_cast<int>(c);
        break;
      }
    first = team.reduce(first, 0x7fffffff, Smaller{});
    // As a loop that begins with class 0 and looks for larger ones has it: a NaN there stays, and NaN elsewhere never wins.
    const A start = x[0](Index(0));
    if (team.rank == 0 && real) best[row] = start != start || first == 0x7fffffff ? 0 : first;
  }
};

}  // namespace cuda

namespace kernels {

template <class Prediction, class Target>
void count_pairs(View<const Prediction, Cuda> prediction, View<const Target, Cuda> target, index_t ignore_index,
                 View<std::int64_t, Cuda> counts, View<LossSum, Cuda> found) {
  const index_t n = target.size(), C = counts.dim(0);
  const bool in_shared = C * C * 4 <= 32 * 1024;
  const unsigned blocks = static_cast<unsigned>(std::min<index_t>((n + 2047) / 2048, 1024));
  const cuda::Scratch<LossSum> partial(blocks);
  segnet::detail::fill(counts, 0);
  cuda::launch(in_shared ? cuda::count_pairs_kernel<true> : cuda::count_pairs_kernel<false>, blocks, 256,
               in_shared ? static_cast<std::size_t>(C * C) * 4 : 0, cuda::AnyLabels(prediction.data), cuda::AnyLabels(target.data), n, C,
               ignore_index, reinterpret_cast<unsigned long long*>(counts.data), partial.data());
  cuda::join_loss_sums(partial.data(), blocks, found.data);
}

template <class T>
void best_class(View<const T, Cuda> scores, View<std::int32_t, Cuda> best) {
  if (best.size() == 0) return;
  cuda::for_each_row<T>(best.size(), scores.shape[-1], cuda::BestClassRow<T>{{scores.data}, best.data});
}

}  // namespace kernels

}  // namespace segnet
