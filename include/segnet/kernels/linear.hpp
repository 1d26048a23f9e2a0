// Fully connected layers as matrix products, and the sum over rows that every bias gets as its gradient.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/kernels/gemm.hpp"

namespace segnet::kernels {

/// x [..., inputs] -> y [..., outputs]; `rows` is the product of the leading sizes.
struct LinearGeometry {
  index_t rows, inputs, outputs;
  Shape y_shape;
};

/// @throws ShapeError  rank, sizes
[[nodiscard]] inline LinearGeometry linear_geometry(std::string_view op, const Shape& x, const Shape& w, const Shape& b) {
  if (x.rank() < 1) throw ShapeError(op, "x", "[..., in]", x);
  if (w.rank() != 2 || w[1] != x[-1]) throw ShapeError(op, "weight", concat("[out, ", x[-1], "] for input ", x), w);
  if (b != Shape{0} && b != Shape{w[0]}) throw ShapeError(op, "bias", concat(Shape{w[0]}), b);
  LinearGeometry g{1, w[1], w[0], x};
  for (int i = 0; i + 1 < x.rank(); ++i) g.rows *= x[i];
  g.y_shape[-1] = g.outputs;
  return g;
}

/// y = x W^T + b
template <class T>
void linear(const LinearGeometry& g, ConstView<T> x, ConstView<T> w, ConstView<T> b, View<T> y) {
  gemm<T>(g.rows, g.outputs, g.inputs, {x.data, g.inputs}, {w.data, g.inputs, true}, y.data, g.outputs, false, b.data);
}

/// dx = dy W
template <class T>
void linear_grad_input(const LinearGeometry& g, ConstView<T> dy, ConstView<T> w, View<T> dx) {
  gemm<T>(g.rows, g.inputs, g.outputs, {dy.data, g.outputs}, {w.data, g.inputs}, dx.data, g.inputs);
}

/// dW = dy^T x
template <class T>
void linear_grad_weight(const LinearGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  gemm<T>(g.outputs, g.inputs, g.rows, {dy.data, g.outputs, true}, {x.data, g.inputs}, dw.data, g.inputs);
}

// cuda/linear.cuh
template <class T>
void linear(const LinearGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void linear_grad_input(const LinearGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, View<T, Cuda> dx);
template <class T>
void linear_grad_weight(const LinearGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw);

/// db[o] = sum over all but the last dimension of dy: the gradient of a bias. Chunks of rows are summed, then their sums, so
/// that the bits do not depend on the number of threads.
template <class T>
void sum_over_rows(ConstView<T, Cuda> dy, View<T, Cuda> db);  // cuda/reduction.cuh
template <class T>
void sum_over_rows(ConstView<T, Cpu> dy, View<T, Cpu> db) {
  const index_t O = db.size(), rows = O ? dy.size() / O : 0;
  const index_t chunk = std::max<index_t>(1, (1 << 15) / std::max<index_t>(O, 1)), chunks = (rows + chunk - 1) / chunk;
  const Scratch<T> partial(std::max<index_t>(chunks * O, 1));
  parallel_chunks(chunks, [&](index_t i) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      T* sum = partial.data() + i * O;
      const T* row = dy.data + i * chunk * O;
      for (index_t o = 0; o < O; ++o) sum[o] = 0;
      for (index_t r = i * chunk; r < std::min(rows, (i + 1) * chunk); ++r, row += O) {
        SEGNET_SIMD
        for (index_t o = 0; o < O; ++o) sum[o] += row[o];
      }
    });
  });
  for (index_t o = 0; o < O; ++o) db[o] = 0;
  for (index_t i = 0; i < chunks; ++i)
    for (index_t o = 0; o < O; ++o) db[o] += partial.data()[i * O + o];
}

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_LINEAR(TEMPLATE, T)                                                        \
  TEMPLATE void linear(const LinearGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, View<T>); \
  TEMPLATE void linear_grad_input(const LinearGeometry&, ConstView<T>, ConstView<T>, View<T>);    \
  TEMPLATE void linear_grad_weight(const LinearGeometry&, ConstView<T>, ConstView<T>, View<T>);   \
  TEMPLATE void sum_over_rows(ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_LINEAR)

}  // namespace segnet::kernels
