// How losses add up: fixed chunks, partial sums in double, combined in order. Same bits for any number of threads.
#pragma once

#include <vector>

#include "segnet/core/parallel.hpp"

namespace segnet {

/// What becomes of the losses of single elements.
enum class Reduction {
  mean,  ///< their (weighted) average, a scalar
  sum,   ///< their sum, a scalar
  none   ///< each by itself
};

namespace kernels {

struct LossSum {
  double loss = 0;
  double weight = 0;       ///< what `mean` divides by
  index_t bad_label = -1;  ///< position of the first label that is no class
};

/// Calls f(begin, end, sum) over chunks of [0, n) and adds up what they leave in their `sum`.
template <class F>
[[nodiscard]] LossSum sum_losses(index_t n, index_t chunk, const F& f) {
  std::vector<LossSum> partial(static_cast<std::size_t>((n + chunk - 1) / chunk));
  parallel_for(n, chunk, [&](index_t begin, index_t end) { f(begin, end, partial[static_cast<std::size_t>(begin / chunk)]); });
  LossSum total;
  for (const LossSum& p : partial) {
    total.loss += p.loss;
    total.weight += p.weight;
    if (total.bad_label < 0) total.bad_label = p.bad_label;
  }
  return total;
}

}  // namespace kernels
}  // namespace segnet
