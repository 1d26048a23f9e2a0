#include "loss_sum.cuh"

namespace segnet::kernels {

template void reduce_loss(View<const LossSum, Cuda>, Reduction, bool, View<float, Cuda>, View<float, Cuda>);
template void reduce_loss(View<const LossSum, Cuda>, Reduction, bool, View<double, Cuda>, View<double, Cuda>);
template void find_bad_label(View<const std::uint8_t, Cuda>, index_t, index_t, View<LossSum, Cuda>);
template void find_bad_label(View<const std::int32_t, Cuda>, index_t, index_t, View<LossSum, Cuda>);
template void find_bad_label(View<const std::int64_t, Cuda>, index_t, index_t, View<LossSum, Cuda>);

}  // namespace segnet::kernels
