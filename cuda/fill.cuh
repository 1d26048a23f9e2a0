// Constants, ranges and sums of gradients: what tensors and the graph themselves need.
#pragma once

#include "launch.cuh"
#include "segnet/autograd/graph.hpp"

namespace segnet {

namespace cuda {

template <class T>
struct FillWith {
  T* to;
  T value;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = value; }
};
template <class T>
struct FillRange {
  T* to;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = static_cast<T>(i); }
};
template <class T>
struct AddElements {
  T* sum;
  const T *a, *b;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { sum[i] = static_cast<T>(a[i] + b[i]); }
};

}  // namespace cuda

namespace detail {
template <class T>
void fill(View<T, Cuda> t, std::type_identity_t<T> value) {
  cuda::for_each(t.size(), cuda::FillWith<T>{t.data, value});
}
template <class T>
void fill_range(View<T, Cuda> t) {
  cuda::for_each(t.size(), cuda::FillRange<T>{t.data});
}
}  // namespace detail

namespace autograd {
template <class T>
void add(View<T, Cuda> sum, ConstView<T, Cuda> a, ConstView<T, Cuda> b) {
  cuda::for_each(sum.size(), cuda::AddElements<T>{sum.data, a.data, b.data});
}
}  // namespace autograd

}  // namespace segnet
