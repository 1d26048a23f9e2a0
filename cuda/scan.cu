#include "scan.cuh"

namespace segnet {

#define SEGNET_INSTANTIATE(T) template void kernels::cumsum(const ReducedExtents&, View<const T, Cuda>, bool, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)

}  // namespace segnet
