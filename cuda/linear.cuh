// Fully connected layers as matrix products of cuBLAS.
#pragma once

#include "cublas.cuh"
#include "segnet/kernels/linear.hpp"

namespace segnet::kernels {

/// y = x W^T + b
template <class T>
void linear(const LinearGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y) {
  if (b) cuda::repeat_row(g.rows, g.outputs, b.data, y.data);
  cuda::gemm<T>(g.rows, g.outputs, g.inputs, {x.data, g.inputs}, {w.data, g.inputs, 0, true}, y.data, g.outputs, static_cast<bool>(b));
}

/// dx = dy W
template <class T>
void linear_grad_input(const LinearGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, View<T, Cuda> dx) {
  cuda::gemm<T>(g.rows, g.inputs, g.outputs, {dy.data, g.outputs}, {w.data, g.inputs}, dx.data, g.inputs);
}

/// dW = dy^T x
template <class T>
void linear_grad_weight(const LinearGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw) {
  cuda::gemm<T>(g.outputs, g.inputs, g.rows, {dy.data, g.outputs, 0, true}, {x.data, g.inputs}, dw.data, g.inputs);
}

}  // namespace segnet::kernels
