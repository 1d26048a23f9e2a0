#include "dice_loss.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE_TARGET(T, ...)                                                                                                  \
  template void dice_sums<T, __VA_ARGS__>(View<const T, Cuda>, const __VA_ARGS__&, index_t, index_t, index_t, bool, View<DiceSums, Cuda>); \
  template void dice_grad<T, __VA_ARGS__>(View<const T, Cuda>, const __VA_ARGS__&, View<const DiceSums, Cuda>, double,                     \
                                          const Upstream<Master<T>>&, index_t, index_t, bool, View<T, Cuda>);
#define SEGNET_INSTANTIATE(T)                                \
  SEGNET_INSTANTIATE_TARGET(T, DenseTarget<T>)               \
  SEGNET_INSTANTIATE_TARGET(T, LabelTarget<T, std::uint8_t>) \
  SEGNET_INSTANTIATE_TARGET(T, LabelTarget<T, std::int32_t>) \
  SEGNET_INSTANTIATE_TARGET(T, LabelTarget<T, std::int64_t>)
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
template void dice_loss(View<const DiceSums, Cuda>, double, View<float, Cuda>, View<LossSum, Cuda>);
template void dice_loss(View<const DiceSums, Cuda>, double, View<double, Cuda>, View<LossSum, Cuda>);

}  // namespace segnet::kernels
