#include "unfold.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                    \
  template void unfold(const ConvGeometry&, View<const T, Cuda>, View<T, Cuda>); \
  template void fold(const ConvGeometry&, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
