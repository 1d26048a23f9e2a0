// Constants, ranges and sums of gradients: what tensors and the graph themselves need.
#pragma once

#include "elementwise.cuh"
#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/arithmetic.hpp"

namespace segnet {

namespace cuda {

/// A function of nothing.
template <class T>
struct Constant {
  T value;
  SEGNET_HOST_DEVICE T operator()() const { return value; }
};
template <class T>
struct FillRange {
  T* to;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = static_cast<T>(i); }
};

}  // namespace cuda

namespace detail {
template <class T>
void fill(View<T, Cuda> t, std::type_identity_t<T> value) {
  kernels::map(t, cuda::Constant<T>{value});
}
template <class T>
void fill_range(View<T, Cuda> t) {
  cuda::for_each(t.size(), cuda::FillRange<T>{t.data});
}
}  // namespace detail

namespace autograd {
template <class T>
void add(View<T, Cuda> sum, ConstView<T, Cuda> a, ConstView<T, Cuda> b) {
  kernels::map(sum, kernels::Add{}, a, b);
}
}  // namespace autograd

}  // namespace segnet
