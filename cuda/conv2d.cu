#include "conv2d.cuh"

#include "conv2d_instances.cuh"

namespace segnet::kernels {

// The algorithms have files of their own.
#define SEGNET_ELSEWHERE(algorithm)               \
  namespace algorithm {                           \
  SEGNET_CONV2D_PASSES(extern template, float)    \
  SEGNET_CONV2D_PASSES(extern template, double)   \
  SEGNET_CONV2D_PASSES(extern template, bfloat16) \
  }
SEGNET_ELSEWHERE(reference)
SEGNET_ELSEWHERE(im2col_gemm)
SEGNET_ELSEWHERE(depthwise)

#define SEGNET_INSTANTIATE(T)                                                                                                             \
  template void conv2d(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>, ConvAlgorithm); \
  template void conv2d_grad_input(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>,      \
                                  ConvAlgorithm);                                                                                         \
  template void conv2d_grad_weight(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>, ConvAlgorithm);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
