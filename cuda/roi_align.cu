#include "roi_align.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                 \
  template void roi_align<T>(const RoiCells<Master<T>>&, View<const T, Cuda>, View<T, Cuda>); \
  template void roi_align_backward<T>(const RoiCells<Master<T>>&, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
