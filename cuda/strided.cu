#include "strided.cuh"

namespace segnet {

#define SEGNET_INSTANTIATE(T) template void kernels::copy_strided(StridedBox, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)
SEGNET_INSTANTIATE(bool)

}  // namespace segnet
