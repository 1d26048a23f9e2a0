#include "deform_conv2d.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                         \
  template void deform_conv2d(const DeformConv2dGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>,             \
                              View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);                                               \
  template void deform_conv2d_grad_weight(const DeformConv2dGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, \
                                          View<const T, Cuda>, View<T, Cuda>);                                                        \
  template void deform_conv2d_grad_taps(const DeformConv2dGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>,   \
                                        View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>, View<T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
