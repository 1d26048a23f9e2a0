#include "linear.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                \
  template void linear(const LinearGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>); \
  template void linear_grad_input(const LinearGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);           \
  template void linear_grad_weight(const LinearGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
