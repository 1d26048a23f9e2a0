#include "matmul.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                  \
  template void matmul(const MatmulGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);        \
  template void matmul_grad_a(const MatmulGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>); \
  template void matmul_grad_b(const MatmulGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
