// Convolution as a plain matrix product: every patch is copied into a row of a matrix `col`, as Caffe did first.
// Kept for teaching and comparison: it moves kh * kw times the input through memory, which implicit_gemm does not.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/kernels/conv2d_epilogue.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/kernels/gemm.hpp"

namespace segnet::kernels {

/// col[p, t, c] = the input under tap t of output pixel p, zero outside the image, for one group of one image.
template <class T>
struct Im2col {
  const T* x;  // [H, W, C], at the group's first channel
  T* col;      // [OH * OW, kh * kw, C / groups]
  ConvGeometry g;

  SEGNET_HOST_DEVICE index_t size() const { return g.OH * g.OW * g.taps() * g.group_inputs(); }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t c = i % g.group_inputs(), tap = i / g.group_inputs() % g.taps(), p = i / (g.group_inputs() * g.taps());
    const index_t h = g.input_row(p / g.OW, tap / g.kw), w = g.input_column(p % g.OW, tap % g.kw);
    col[i] = h >= 0 && h < g.H && w >= 0 && w < g.W ? x[(h * g.W + w) * g.C + c] : T(0);
  }
};

/// Transpose of Im2col, as a gather: dx[h, w, c] = bias[c] + sum of dcol over the taps that read (h, w, c).
template <class T>
struct Col2im {
  const T* dcol;  // [OH * OW, kh * kw, C / groups]
  const T* bias;  // [C / groups] or nullptr
  T* dx;          // [H, W, C], at the group's first channel
  ConvGeometry g;

  SEGNET_HOST_DEVICE index_t size() const { return g.H * g.W * g.group_inputs(); }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t c = i % g.group_inputs(), w = i / g.group_inputs() % g.W, h = i / (g.group_inputs() * g.W);
    Master<T> sum = bias ? static_cast<Master<T>>(bias[c]) : Master<T>(0);
    for (index_t ki = 0; ki < g.kh; ++ki) {
      const index_t oh = g.output_row(h, ki);
      for (index_t kj = 0; kj < (oh >= 0 ? g.kw : 0); ++kj) {
        const index_t ow = g.output_column(w, kj);
        if (ow >= 0) sum += dcol[((oh * g.OW + ow) * g.taps() + ki * g.kw + kj) * g.group_inputs() + c];
      }
    }
    dx[(h * g.W + w) * g.C + c] = static_cast<T>(sum);
  }
};

namespace im2col_gemm {

/// f(0), ..., f(f.size() - 1), spread over the threads.
template <class F>
void for_each_index(const F& f) {
  parallel_for(f.size(), 1 << 13, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) f(i);
  });
}

/// Calls f(image, group); the matrices of one pair exist at a time.
template <class F>
void for_each_product(const ConvGeometry& g, const F& f) {
  for (index_t n = 0; n < g.N; ++n)
    for (index_t group = 0; group < g.groups; ++group) f(n, group);
}

/// y = col * W^T, and the epilogue
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  const index_t pixels = g.OH * g.OW, Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const Scratch<T> col(pixels * depth);
  const T* b = e.bias();
  for_each_product(g, [&](index_t n, index_t group) {
    for_each_index(Im2col<T>{x.data + n * g.H * g.W * g.C + group * Cg, col.data(), g});
    gemm<T>(pixels, Og, depth, {col.data(), depth}, {w.data + group * Og * depth, depth, true}, y.data + n * pixels * g.O + group * Og, g.O,
            false, b ? b + group * Og : nullptr);
  });
  finish(e, g.O, y);
}

/// dx = col2im(dy * W), and the epilogue
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  const index_t pixels = g.OH * g.OW, Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const Scratch<T> dcol(pixels * depth);
  const T* b = e.bias();
  for_each_product(g, [&](index_t n, index_t group) {
    gemm<T>(pixels, depth, Og, {dy.data + n * pixels * g.O + group * Og, g.O}, {w.data + group * Og * depth, depth}, dcol.data(), depth);
    for_each_index(Col2im<T>{dcol.data(), b ? b + group * Cg : nullptr, dx.data + n * g.H * g.W * g.C + group * Cg, g});
  });
  finish(e, g.C, dx);
}

/// dw = dy^T * col, summed over the images
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  const index_t pixels = g.OH * g.OW, Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const Scratch<T> col(pixels * depth);
  std::fill_n(dw.data, dw.size(), T(0));
  for_each_product(g, [&](index_t n, index_t group) {
    for_each_index(Im2col<T>{x.data + n * g.H * g.W * g.C + group * Cg, col.data(), g});
    gemm<T>(Og, depth, pixels, {dy.data + n * pixels * g.O + group * Og, g.O, true}, {col.data(), depth}, dw.data + group * Og * depth,
            depth, true);
  });
}

// cuda/conv2d_im2col_gemm.cuh
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx);
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw);

}  // namespace im2col_gemm
}  // namespace segnet::kernels
