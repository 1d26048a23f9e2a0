#include "dropout.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                    \
  template void dropout(const DropoutMask&, View<const T, Cuda>, View<T, Cuda>); \
  template void scale_channels(index_t, View<const T, Cuda>, View<const Master<T>, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
