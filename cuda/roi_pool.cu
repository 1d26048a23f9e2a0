#include "roi_pool.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                             \
  template void roi_pool<T>(const RoiCells<std::uint8_t>&, View<const T, Cuda>, View<T, Cuda>, View<std::int32_t, Cuda>); \
  template void roi_pool_backward<T>(const RoiCells<std::uint8_t>&, View<const T, Cuda>, View<const std::int32_t, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
