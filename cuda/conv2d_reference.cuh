// Convolution as its definition reads, one thread for each sum.
#pragma once

#include "launch.cuh"
#include "segnet/kernels/conv2d_reference.hpp"

namespace segnet {

namespace cuda {

template <class T>
struct ReferenceOutput {
  const T *x, *w, *b;
  T* y;
  kernels::ConvGeometry g;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t o = i % g.O, ow = i / g.O % g.OW, row = i / (g.O * g.OW);
    y[i] = static_cast<T>(kernels::reference::output(g, x, w, b, row / g.OH, row % g.OH, ow, o));
  }
};
template <class T>
struct ReferenceGradInput {
  const T *dy, *w, *b;
  T* dx;
  kernels::ConvGeometry g;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t c = i % g.C, v = i / g.C % g.W, row = i / (g.C * g.W);
    dx[i] = static_cast<T>(kernels::reference::grad_input(g, dy, w, b, row / g.H, row % g.H, v, c));
  }
};
template <class T>
struct ReferenceGradWeight {
  const T *dy, *x;
  T* dw;
  kernels::ConvGeometry g;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t c = i % g.group_inputs(), tap = i / g.group_inputs() % g.taps(), o = i / (g.group_inputs() * g.taps());
    dw[i] = static_cast<T>(kernels::reference::grad_weight(g, dy, x, o, tap / g.kw, tap % g.kw, c));
  }
};

}  // namespace cuda

namespace kernels::reference {

template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y) {
  cuda::for_each(y.size(), cuda::ReferenceOutput<T>{x.data, w.data, b.data, y.data, g});
}
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx) {
  cuda::for_each(dx.size(), cuda::ReferenceGradInput<T>{dy.data, w.data, b.data, dx.data, g});
}
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw) {
  cuda::for_each(dw.size(), cuda::ReferenceGradWeight<T>{dy.data, x.data, dw.data, g});
}

}  // namespace kernels::reference

}  // namespace segnet
