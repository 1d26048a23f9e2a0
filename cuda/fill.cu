#include "fill.cuh"

namespace segnet {

#define SEGNET_INSTANTIATE(T)                      \
  template void detail::fill(View<T, Cuda>, T);    \
  template void detail::fill_range(View<T, Cuda>); \
  template void autograd::add(View<T, Cuda>, View<const T, Cuda>, View<const T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)
template void detail::fill(View<bool, Cuda>, bool);

}  // namespace segnet
