#include "resize.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                          \
  template void resample<T>(const ResizeAxis&, const ResizeAxis&, View<const T, Cuda>, View<T, Cuda>); \
  template void resample_backward<T>(const ResizeAxis&, const ResizeAxis&, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
