// Running sums along a dimension, and the derivative of a product.
#pragma once

#include "segnet/core/parallel.hpp"
#include "segnet/kernels/reduction.hpp"

namespace segnet::kernels {

/// y[o, r, j] = sum of x[o, s, j] over s <= r, or, `from_behind`, over s >= r. Sums in double for float.
template <class T>
void cumsum(const ReducedExtents& e, ConstView<T, Cuda> x, bool from_behind, View<T, Cuda> y);  // cuda/scan.cuh
template <class T>
void cumsum(const ReducedExtents& e, ConstView<T, Cpu> x, bool from_behind, View<T, Cpu> y) {
  const index_t reduced = e.reduced, inner = e.inner;
  parallel_for(e.outer * inner, std::max<index_t>(1, 32768 / std::max<index_t>(reduced, 1)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t at = i / inner * reduced * inner + i % inner;
      Accumulator<T> sum = 0;
      for (index_t s = 0; s < reduced; ++s) {
        const index_t k = at + (from_behind ? reduced - 1 - s : s) * inner;
        sum += x[k];
        y[k] = static_cast<T>(sum);
      }
    }
  });
}

/// dx[o, r, j] = dy[o, j] * product of x[o, s, j] over s != r: of what stands before r and behind it, so that zeros need no care.
template <class T>
void product_grad(const ReducedExtents& e, ConstView<T, Cuda> x, ConstView<T, Cuda> dy, View<T, Cuda> dx);  // cuda/reduction.cuh
template <class T>
void product_grad(const ReducedExtents& e, ConstView<T, Cpu> x, ConstView<T, Cpu> dy, View<T, Cpu> dx) {
  const index_t reduced = e.reduced, inner = e.inner;
  parallel_for(e.outer * inner, std::max<index_t>(1, 32768 / std::max<index_t>(reduced, 1)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t at = i / inner * reduced * inner + i % inner;
      T before = dy[i], behind = 1;
      for (index_t s = 0; s < reduced; ++s) {
        dx[at + s * inner] = before;
        before *= x[at + s * inner];
      }
      for (index_t s = reduced; s-- > 0;) {
        dx[at + s * inner] *= behind;
        behind *= x[at + s * inner];
      }
    }
  });
}

}  // namespace segnet::kernels
