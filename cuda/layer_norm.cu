#include "layer_norm.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                 \
  template void layer_norm<T>(View<const T, Cuda>, index_t, View<const Master<T>, Cuda>, View<const Master<T>, Cuda>, double, \
                              View<Master<T>, Cuda>, View<T, Cuda>);                                                          \
  template void layer_norm_backward<T>(View<const T, Cuda>, View<const T, Cuda>, index_t, View<const Master<T>, Cuda>,        \
                                       View<const Master<T>, Cuda>, View<T, Cuda>, View<Master<T>, Cuda>, View<Master<T>, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
