// Rows picked by a list of indices, and the transpose: rows added up where the list says.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"

namespace segnet::kernels {

/// Where each of n values stands in a list: positions[first[v]] ... positions[first[v + 1] - 1], in rising order.
/// Turns a scatter into a gather that adds in a fixed order.
struct Occurrences {
  std::vector<index_t> first, positions;

  Occurrences(const index_t* list, index_t length, index_t n)
      : first(static_cast<std::size_t>(n) + 1), positions(static_cast<std::size_t>(length)) {
    for (index_t k = 0; k < length; ++k) ++first[static_cast<std::size_t>(list[k]) + 1];
    for (std::size_t v = 1; v < first.size(); ++v) first[v] += first[v - 1];
    std::vector<index_t> next(first.begin(), first.end() - 1);
    for (index_t k = 0; k < length; ++k) positions[static_cast<std::size_t>(next[static_cast<std::size_t>(list[k])]++)] = k;
  }
};

/// y[o, k, :] = x[o, index[k], :] for x [outer, n, inner], y [outer, count, inner]; every index lies in [0, n).
template <class T>
void index_select(ConstView<T, Cpu> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner, View<T, Cpu> y) {
  parallel_for(outer * count, std::max<index_t>(1, 32768 / std::max<index_t>(inner, 1)), [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const T* from = x.data + (row / count * n + index[row % count]) * inner;
      T* to = y.data + row * inner;
      if (inner < 16)
        for (index_t j = 0; j < inner; ++j) to[j] = from[j];
      else std::copy(from, from + inner, to);
    }
  });
}

/// y[o, v, :] = base[o, v, :] + alpha * sum of x[o, k, :] over the k with index[k] = v, in rising order of k; a null base is zero.
/// x [outer, count, inner], y [outer, n, inner].
template <class T>
void index_add(ConstView<T, Cpu> base, ConstView<T, Cpu> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner,
               T alpha, View<T, Cpu> y) {
  const Occurrences where(index, count, n);
  parallel_for(outer * n, std::max<index_t>(1, 32768 / std::max<index_t>(inner, 1)), [&](index_t begin, index_t end) {
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row) {
        const std::size_t v = static_cast<std::size_t>(row % n);
        T* to = y.data + row * inner;
        if (base) std::copy(base.data + row * inner, base.data + (row + 1) * inner, to);
        else std::fill(to, to + inner, T(0));
        for (index_t p = where.first[v]; p < where.first[v + 1]; ++p) {
          const T* from = x.data + (row / n * count + where.positions[static_cast<std::size_t>(p)]) * inner;
          SEGNET_SIMD
          for (index_t j = 0; j < inner; ++j) to[j] += alpha * from[j];
        }
      }
    });
  });
}

}  // namespace segnet::kernels
