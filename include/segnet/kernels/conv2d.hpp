// 2-D convolution, its gradients, and the choice between the algorithms that compute them.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/kernels/conv2d_cost.hpp"
#include "segnet/kernels/conv2d_depthwise.hpp"
#include "segnet/kernels/conv2d_grad_weight.hpp"
#include "segnet/kernels/conv2d_im2col_gemm.hpp"
#include "segnet/kernels/conv2d_implicit_gemm.hpp"
#include "segnet/kernels/conv2d_matrix_hook.hpp"
#include "segnet/kernels/conv2d_reference.hpp"
#include "segnet/kernels/conv2d_winograd.hpp"
#include "segnet/kernels/conv2d_winograd_grad_weight.hpp"

namespace segnet::kernels {

/// Checks that an algorithm suits the shape; `automatic` becomes depthwise or implicit_gemm.
/// @throws ValueError  depthwise for other than one input channel per output channel; winograd for other than 3 x 3 kernels, stride 1
[[nodiscard]] inline ConvAlgorithm chosen_algorithm(std::string_view op, const ConvGeometry& g, ConvAlgorithm wish) {
  const bool depthwise = g.groups == g.C && g.groups == g.O;
  if (wish == ConvAlgorithm::automatic) return depthwise ? ConvAlgorithm::depthwise : ConvAlgorithm::implicit_gemm;
  if (wish == ConvAlgorithm::winograd && !winograd::takes(g))
    throw ValueError(op, "algorithm", "winograd only for 3x3 kernels with stride 1",
                     concat("kernel ", g.kh, "x", g.kw, ", stride ", g.stride));
  if (wish == ConvAlgorithm::depthwise && !depthwise)
    throw ValueError(op, "algorithm", "depthwise only where groups = C = O", concat("groups = ", g.groups, ", C = ", g.C, ", O = ", g.O));
  return wish;
}

/// The same on the CPU, where `automatic` is what conv2d_cost.hpp finds cheapest for the shape, pass and element.
template <class T>
[[nodiscard]] ConvAlgorithm chosen_algorithm(const ConvGeometry& g, ConvPass pass, ConvAlgorithm wish) {
  return wish == ConvAlgorithm::automatic ? cheapest_algorithm(g, pass, sizeof(T)) : chosen_algorithm("conv2d", g, wish);
}

/// y [N, OH, OW, O] = the epilogue of w * x, a bias or more; see reference::conv2d and Epilogue.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y,
            ConvAlgorithm algorithm = ConvAlgorithm::automatic) {
  switch (chosen_algorithm<T>(g, ConvPass::forward, algorithm)) {
    case ConvAlgorithm::reference:
      return reference::conv2d(g, x, w, e, y);
    case ConvAlgorithm::matrix:
      matrix::passes<T>().conv2d(g, x, w, {e.bias(), {g.O}}, y);
      return finish(e, g.O, y);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d(g, x, w, e, y);
    case ConvAlgorithm::winograd:
      return winograd::conv2d(g, x, w, e, y);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d(g, x, w, e, y);
    default:
      return implicit_gemm::conv2d(g, x, w, e, y);
  }
}

/// dx [N, H, W, C] = the epilogue of the transpose of that convolution, applied to dy; see reference::conv2d_grad_input. This is
/// also the forward pass of a transposed convolution, whose epilogue it is; for a gradient `e` is empty.
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx,
                       ConvAlgorithm algorithm = ConvAlgorithm::automatic) {
  switch (chosen_algorithm<T>(g, ConvPass::grad_input, algorithm)) {
    case ConvAlgorithm::reference:
      return reference::conv2d_grad_input(g, dy, w, e, dx);
    case ConvAlgorithm::matrix:
      matrix::passes<T>().conv2d_grad_input(g, dy, w, {e.bias(), {g.C}}, dx);
      return finish(e, g.C, dx);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d_grad_input(g, dy, w, e, dx);
    case ConvAlgorithm::winograd:
      return winograd::conv2d_grad_input(g, dy, w, e, dx);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d_grad_input(g, dy, w, e, dx);
    default:
      return implicit_gemm::conv2d_grad_input(g, dy, w, e, dx);
  }
}

/// dw [O, kh, kw, C/groups]: the derivative of <dy, w * x>; see reference::conv2d_grad_weight.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw,
                        ConvAlgorithm algorithm = ConvAlgorithm::automatic) {
  switch (chosen_algorithm<T>(g, ConvPass::grad_weight, algorithm)) {
    case ConvAlgorithm::reference:
      return reference::conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::matrix:
      return matrix::passes<T>().conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::winograd:
      return winograd::conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d_grad_weight(g, dy, x, dw);
    default:
      return implicit_gemm::conv2d_grad_weight(g, dy, x, dw);
  }
}

// cuda/conv2d.cuh. `automatic` is depthwise where that is possible, implicit_gemm for float and bfloat16, else im2col_gemm.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y,
            ConvAlgorithm algorithm = ConvAlgorithm::automatic);
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx,
                       ConvAlgorithm algorithm = ConvAlgorithm::automatic);
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw,
                        ConvAlgorithm algorithm = ConvAlgorithm::automatic);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_CONV2D(TEMPLATE, T)                                                                                      \
  TEMPLATE void conv2d(const ConvGeometry&, ConstView<T>, ConstView<T>, const Epilogue<T>&, View<T>, ConvAlgorithm);            \
  TEMPLATE void conv2d_grad_input(const ConvGeometry&, ConstView<T>, ConstView<T>, const Epilogue<T>&, View<T>, ConvAlgorithm); \
  TEMPLATE void conv2d_grad_weight(const ConvGeometry&, ConstView<T>, ConstView<T>, View<T>, ConvAlgorithm);
SEGNET_EXTERN(SEGNET_KERNELS_CONV2D)

}  // namespace segnet::kernels
