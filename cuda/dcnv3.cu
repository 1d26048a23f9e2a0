#include "dcnv3.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                   \
  template void dcnv3(const DeformableGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>); \
  template void dcnv3_backward(const DeformableGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>,        \
                               View<const T, Cuda>, View<T, Cuda>, View<T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
