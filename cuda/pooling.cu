#include "pooling.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                    \
  template void max_pool2d<T>(const PoolGeometry&, View<const T, Cuda>, View<T, Cuda>, View<std::int32_t, Cuda>);                \
  template void max_pool2d_backward<T>(const PoolGeometry&, View<const T, Cuda>, View<const std::int32_t, Cuda>, View<T, Cuda>); \
  template void avg_pool2d<T>(const PoolGeometry&, PoolDivisor, View<const T, Cuda>, View<T, Cuda>);                             \
  template void avg_pool2d_backward<T>(const PoolGeometry&, PoolDivisor, View<const T, Cuda>, View<T, Cuda>);                    \
  template bool max_unpool2d<T>(View<const T, Cuda>, View<const std::int32_t, Cuda>, View<T, Cuda>);                             \
  template void max_unpool2d_backward<T>(View<const T, Cuda>, View<const std::int32_t, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
