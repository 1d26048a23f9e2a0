#include "confusion.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE_TARGET(Prediction, Target) \
  template void count_pairs(View<const Prediction, Cuda>, View<const Target, Cuda>, index_t, View<std::int64_t, Cuda>, View<LossSum, Cuda>);
#define SEGNET_INSTANTIATE(Prediction)                \
  SEGNET_INSTANTIATE_TARGET(Prediction, std::uint8_t) \
  SEGNET_INSTANTIATE_TARGET(Prediction, std::int32_t) \
  SEGNET_INSTANTIATE_TARGET(Prediction, std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
template void best_class(View<const float, Cuda>, View<std::int32_t, Cuda>);
template void best_class(View<const double, Cuda>, View<std::int32_t, Cuda>);
template void best_class(View<const bfloat16, Cuda>, View<std::int32_t, Cuda>);

}  // namespace segnet::kernels
