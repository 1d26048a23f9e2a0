// Softmax and log-softmax over one dimension, and their transposed Jacobians. The elements of a row side by side: rows.cuh; else a thread
// per column.
#pragma once

#include "rows.cuh"
#include "segnet/kernels/softmax.hpp"

namespace segnet {

namespace cuda {

template <class T, bool logarithm>
struct SoftmaxRow {
  static constexpr int inputs = 1;
  static constexpr bool writes = true, sums = false;
  const T* in[1];
  T* out;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t, bool, Index C, const In* x, const Out& y, LossSum&) const {
    using A = Master<T>;
    const auto [top, sum] = exp_sum<A>(team, C, x[0]);
    if constexpr (logarithm) {
      const A log_sum = std::log(sum);
      for (Index c = team.rank; c < C; c += Team::size) y.set(c, (x[0](c) - top) - log_sum);
    } else {
      const A scale = A(1) / sum;
      for (Index c = team.rank; c < C; c += Team::size) y.set(c, std::exp(x[0](c) - top) * scale);
    }
  }
};

/// in = {y, dy}: dx = y (dy - sum(y dy)), or dy - exp(y) sum(dy) of the logarithm.
template <class T, bool logarithm>
struct SoftmaxGradRow {
  static constexpr int inputs = 2;
  static constexpr bool writes = true, sums = false;
  const T* in[2];
  T* out;
  template <class Team, class Index, class In, class Out>
  __device__ void operator()(const Team& team, index_t, bool, Index C, const In* x, const Out& dx, LossSum&) const {
    using A = Master<T>;
    A sum = 0;
    for (Index c = team.rank; c < C; c += Team::size) {
      if constexpr (logarithm) sum += x[1](c);
      else sum += x[0](c) * x[1](c);
    }
    sum = team.reduce(sum, A(0), Plus{});
    for (Index c = team.rank; c < C; c += Team::size) {
      if constexpr (logarithm) dx.set(c, x[1](c) - std::exp(x[0](c)) * sum);
      else dx.set(c, x[0](c) * (x[1](c) - sum));
    }
  }
};

template <class T, class Op>
void run_softmax(const Shape& shape, int dim, const Op& op) {
  index_t outer = 1, inner = 1;
  for (int d = 0; d < shape.rank(); ++d) (d < dim ? outer : inner) *= d == dim ? 1 : shape[d];
  if (inner == 1) for_each_row<T>(outer, shape[dim], op);
  else for_each_column<T>(outer, shape[dim], inner, op);
}

}  // namespace cuda

namespace kernels {

template <class T>
void softmax(ConstView<T, Cuda> x, int dim, View<T, Cuda> y) {
  cuda::run_softmax<T>(y.shape, dim, cuda::SoftmaxRow<T, false>{{x.data}, y.data});
}
template <class T>
void log_softmax(ConstView<T, Cuda> x, int dim, View<T, Cuda> y) {
  cuda::run_softmax<T>(y.shape, dim, cuda::SoftmaxRow<T, true>{{x.data}, y.data});
}
template <class T>
void softmax_grad(ConstView<T, Cuda> y, ConstView<T, Cuda> dy, int dim, View<T, Cuda> dx) {
  cuda::run_softmax<T>(dx.shape, dim, cuda::SoftmaxGradRow<T, false>{{y.data, dy.data}, dx.data});
}
template <class T>
void log_softmax_grad(ConstView<T, Cuda> y, ConstView<T, Cuda> dy, int dim, View<T, Cuda> dx) {
  cuda::run_softmax<T>(dx.shape, dim, cuda::SoftmaxGradRow<T, true>{{y.data, dy.data}, dx.data});
}

}  // namespace kernels

}  // namespace segnet
