#include "ms_deform_attn.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                              \
  template void ms_deform_attn<T>(const MsDeformGeometry&, View<const T, Cuda>, View<const Master<T>, Cuda>, View<const T, Cuda>,          \
                                  View<T, Cuda>);                                                                                          \
  template void ms_deform_attn_backward_points<T>(const MsDeformGeometry&, View<const T, Cuda>, View<const T, Cuda>,                       \
                                                  View<const Master<T>, Cuda>, View<const T, Cuda>, View<Master<T>, Cuda>, View<T, Cuda>); \
  template void ms_deform_attn_backward_value<T>(const MsDeformGeometry&, View<const T, Cuda>, View<const Master<T>, Cuda>,                \
                                                 View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
