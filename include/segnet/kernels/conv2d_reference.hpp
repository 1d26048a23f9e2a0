// Convolution as its definition reads: the loops that every faster algorithm is compared with.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_epilogue.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::kernels::reference {

/// y[n, oh, ow, o] = b[o] + sum_{ki, kj, c} w[o, ki, kj, c] * x[n, input_row(oh, ki), input_column(ow, kj), c]
/// with c counted within the group of o. `b` may be null.
template <class T>
SEGNET_HOST_DEVICE Master<T> output(const ConvGeometry& g, const T* x, const T* w, const T* b, index_t n, index_t oh, index_t ow,
                                    index_t o) {
  const index_t Cg = g.group_inputs(), c0 = o / g.group_outputs() * Cg;
  Master<T> sum = b ? b[o] : Master<T>(0);
  for (index_t ki = 0; ki < g.kh; ++ki)
    for (index_t kj = 0; kj < g.kw; ++kj) {
      const index_t h = g.input_row(oh, ki), v = g.input_column(ow, kj);
      if (h < 0 || h >= g.H || v < 0 || v >= g.W) continue;
      const T* pixel = x + ((n * g.H + h) * g.W + v) * g.C + c0;
      const T* tap = w + ((o * g.kh + ki) * g.kw + kj) * Cg;
      for (index_t c = 0; c < Cg; ++c) sum += tap[c] * pixel[c];
    }
  return sum;
}

/// dx[n, h, v, c] = b[c] + sum_{ki, kj, o} w[o, ki, kj, c] * dy[n, output_row(h, ki), output_column(v, kj), o]
/// with o in the group of c. `b` [C] is the bias of a transposed convolution and null otherwise.
template <class T>
SEGNET_HOST_DEVICE Master<T> grad_input(const ConvGeometry& g, const T* dy, const T* w, const T* b, index_t n, index_t h, index_t v,
                                        index_t c) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), group = c / Cg;
  Master<T> sum = b ? b[c] : Master<T>(0);
  for (index_t ki = 0; ki < g.kh; ++ki)
    for (index_t kj = 0; kj < g.kw; ++kj) {
      const index_t oh = g.output_row(h, ki), ow = g.output_column(v, kj);
      if (oh < 0 || ow < 0) continue;
      for (index_t o = group * Og; o < (group + 1) * Og; ++o)
        sum += w[((o * g.kh + ki) * g.kw + kj) * Cg + c % Cg] * dy[((n * g.OH + oh) * g.OW + ow) * g.O + o];
    }
  return sum;
}

/// dw[o, ki, kj, c] = sum_{n, oh, ow} dy[n, oh, ow, o] * x[n, input_row(oh, ki), input_column(ow, kj), c]
template <class T>
SEGNET_HOST_DEVICE Master<T> grad_weight(const ConvGeometry& g, const T* dy, const T* x, index_t o, index_t ki, index_t kj, index_t c) {
  const index_t channel = o / g.group_outputs() * g.group_inputs() + c;
  Master<T> sum = 0;
  for (index_t n = 0; n < g.N; ++n)
    for (index_t oh = 0; oh < g.OH; ++oh)
      for (index_t ow = 0; ow < g.OW; ++ow) {
        const index_t h = g.input_row(oh, ki), v = g.input_column(ow, kj);
        if (h < 0 || h >= g.H || v < 0 || v >= g.W) continue;
        sum += dy[((n * g.OH + oh) * g.OW + ow) * g.O + o] * x[((n * g.H + h) * g.W + v) * g.C + channel];
      }
  return sum;
}

template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  parallel_for(g.N * g.OH, 1, [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row)
      for (index_t ow = 0; ow < g.OW; ++ow)
        for (index_t o = 0; o < g.O; ++o) {
          const index_t i = (row * g.OW + ow) * g.O + o;
          y[i] = e.finished(output<T>(g, x.data, w.data, e.bias(), row / g.OH, row % g.OH, ow, o), o, i);
        }
  });
}
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  parallel_for(g.N * g.H, 1, [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row)
      for (index_t v = 0; v < g.W; ++v)
        for (index_t c = 0; c < g.C; ++c) {
          const index_t i = (row * g.W + v) * g.C + c;
          dx[i] = e.finished(grad_input<T>(g, dy.data, w.data, e.bias(), row / g.H, row % g.H, v, c), c, i);
        }
  });
}
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  parallel_for(g.O, 1, [&](index_t begin, index_t end) {
    for (index_t o = begin; o < end; ++o)
      for (index_t ki = 0; ki < g.kh; ++ki)
        for (index_t kj = 0; kj < g.kw; ++kj)
          for (index_t c = 0; c < g.group_inputs(); ++c)
            dw[((o * g.kh + ki) * g.kw + kj) * g.group_inputs() + c] = grad_weight<T>(g, dy.data, x.data, o, ki, kj, c);
  });
}

// cuda/conv2d_reference.cuh
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx);
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw);

}  // namespace segnet::kernels::reference
