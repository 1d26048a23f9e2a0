#include "sort.cuh"

namespace segnet {

#define SEGNET_INSTANTIATE(T) \
  template void kernels::sort(const ReducedExtents&, View<T, Cuda>, index_t, bool, View<T, Cuda>, View<index_t, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)

}  // namespace segnet
