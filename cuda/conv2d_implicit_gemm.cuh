// Convolution as a matrix product on tensor cores, its operands gathered from channels-last images as they are needed: no column
// buffer. The two kernels are in conv2d_implicit_gemm_gather.cuh and conv2d_implicit_gemm_weight.cuh.
//
// Channels that fill no whole number of 16-byte chunks (a stem of 3, a classifier of 21), or lie at odd addresses, are first copied to
// where they do, with zeros behind them.
#pragma once

#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::cuda {

/// How tensor cores multiply floats. They take 11 bits of each; bfloat16 fits and ignores this.
enum class Precision {
  full,  ///< each float as the sum of two such numbers, three products, joined by float additions: a float's accuracy
  tf32   ///< rounded to one: three times as fast, three decimal digits
};

/// Whether the functions below take this convolution: the device has tensor cores for T and 32 bits hold its indices. Instantiated, as
/// they are, for float and bfloat16. Groups are taken, too, but fill tensor cores only with 32 channels or more each.
template <class T>
[[nodiscard]] bool implicit_gemm_takes(const kernels::ConvGeometry& g, ConvPass pass);

/// y = bias + w * x, as reference::conv2d; `bias` [O] may be null. Sums in float; Precision is how float factors are taken.
template <class T>
void implicit_gemm_forward(const kernels::ConvGeometry& g, const T* x, const T* w, const T* bias, T* y, Precision precision);

/// dx = bias + the transposed convolution of dy, as reference::conv2d_grad_input; `bias` [C] may be null.
template <class T>
void implicit_gemm_grad_input(const kernels::ConvGeometry& g, const T* dy, const T* w, const T* bias, T* dx, Precision precision);

/// dw as reference::conv2d_grad_weight.
template <class T>
void implicit_gemm_grad_weight(const kernels::ConvGeometry& g, const T* dy, const T* x, T* dw, Precision precision);

}  // namespace segnet::cuda
