// 2-D convolution on the GPU: the choice between the algorithms.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "conv2d_depthwise.cuh"
#include "conv2d_im2col_gemm.cuh"
#include "conv2d_implicit_gemm.cuh"
#include "conv2d_reference.cuh"
#include "conv2d_wgmma.cuh"
#include "segnet/kernels/conv2d.hpp"

namespace segnet {

namespace cuda {

/// Whether Hopper's own kernels take this: they multiply float in tf32, so only where that is allowed.
template <class T>
[[nodiscard]] bool takes_wgmma(const kernels::ConvGeometry& g, ConvPass pass, std::initializer_list<const T*> pointers) {
  if constexpr (std::is_same_v<T, double>) return false;
  else
    return (!std::is_same_v<T, float> || tf32_allowed()) && std::all_of(pointers.begin(), pointers.end(), aligned16) &&
           wgmma_takes<T>(g, pass);
}
template <class T>
[[nodiscard]] bool takes_implicit_gemm(const kernels::ConvGeometry& g, ConvPass pass) {
  if constexpr (std::is_same_v<T, double>) return false;
  else return implicit_gemm_takes<T>(g, pass);
}

/// How implicit_gemm takes factors of float.
[[nodiscard]] inline Precision float_precision() { return tf32_allowed() ? Precision::tf32 : Precision::full; }

/// The algorithm that `automatic` stands for; any other is checked to suit the shape. `implicit_gemm`: whether tensor cores take it.
/// @throws NotImplemented  implicit_gemm, where they do not; matrix, winograd
template <class T>
[[nodiscard]] ConvAlgorithm algorithm_on_gpu(const kernels::ConvGeometry& g, ConvAlgorithm wish, bool implicit_gemm) {
  if (wish == ConvAlgorithm::matrix || wish == ConvAlgorithm::winograd)
    throw NotImplemented("conv2d", concat("ConvAlgorithm::", to_string(wish), " on the GPU"));
  const ConvAlgorithm chosen = kernels::chosen_algorithm("conv2d", g, wish);
  if (chosen != ConvAlgorithm::implicit_gemm || implicit_gemm) return chosen;
  if (wish == ConvAlgorithm::automatic) return ConvAlgorithm::im2col_gemm;
  throw NotImplemented("conv2d", concat("ConvAlgorithm::implicit_gemm on this GPU for elements of ", sizeof(T), " bytes and this shape"));
}

}  // namespace cuda

namespace kernels {

template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y,
            ConvAlgorithm algorithm) {
  const bool wgmma = cuda::takes_wgmma<T>(g, ConvPass::forward, {x.data, w.data, b.data, y.data});
  algorithm = cuda::algorithm_on_gpu<T>(g, algorithm, wgmma || cuda::takes_implicit_gemm<T>(g, ConvPass::forward));
  if (g.N == 0) return;
  switch (algorithm) {
    case ConvAlgorithm::reference:
      return reference::conv2d(g, x, w, b, y);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d(g, x, w, b, y);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d(g, x, w, b, y);
    default:
      if constexpr (!std::is_same_v<T, double>) {
        if (wgmma) cuda::wgmma_forward<T>(g, x.data, w.data, b.data, y.data);
        else cuda::implicit_gemm_forward<T>(g, x.data, w.data, b.data, y.data, cuda::float_precision());
      }
  }
}

template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx,
                       ConvAlgorithm algorithm) {
  const bool wgmma = cuda::takes_wgmma<T>(g, ConvPass::grad_input, {dy.data, w.data, b.data, dx.data});
  algorithm = cuda::algorithm_on_gpu<T>(g, algorithm, wgmma || cuda::takes_implicit_gemm<T>(g, ConvPass::grad_input));
  if (g.N == 0) return;
  switch (algorithm) {
    case ConvAlgorithm::reference:
      return reference::conv2d_grad_input(g, dy, w, b, dx);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d_grad_input(g, dy, w, b, dx);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d_grad_input(g, dy, w, b, dx);
    default:
      if constexpr (!std::is_same_v<T, double>) {
        if (wgmma) cuda::wgmma_grad_input<T>(g, dy.data, w.data, b.data, dx.data);
        else cuda::implicit_gemm_grad_input<T>(g, dy.data, w.data, b.data, dx.data, cuda::float_precision());
      }
  }
}

template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw, ConvAlgorithm algorithm) {
  const bool wgmma = cuda::takes_wgmma<T>(g, ConvPass::grad_weight, {dy.data, x.data, dw.data});
  algorithm = cuda::algorithm_on_gpu<T>(g, algorithm, wgmma || cuda::takes_implicit_gemm<T>(g, ConvPass::grad_weight));
  if (g.N == 0) return SEGNET_CUDA_CHECK(cudaMemsetAsync(dw.data, 0, static_cast<std::size_t>(dw.size()) * sizeof(T), cuda::stream()));
  switch (algorithm) {
    case ConvAlgorithm::reference:
      return reference::conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::im2col_gemm:
      return im2col_gemm::conv2d_grad_weight(g, dy, x, dw);
    case ConvAlgorithm::depthwise:
      return depthwise::conv2d_grad_weight(g, dy, x, dw);
    default:
      if constexpr (!std::is_same_v<T, double>) {
        if (wgmma) cuda::wgmma_grad_weight<T>(g, dy.data, x.data, dw.data);
        else cuda::implicit_gemm_grad_weight<T>(g, dy.data, x.data, dw.data, cuda::float_precision());
      }
  }
}

}  // namespace kernels

}  // namespace segnet
