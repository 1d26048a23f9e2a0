#include "pointwise_loss.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE_FORMULA(T, Formula)                                                                                         \
  template void pointwise_loss<T, Formula<Master<T>>>(const Formula<Master<T>>&, View<const T, Cuda>, View<const T, Cuda>,             \
                                                      View<const Master<T>, Cuda>, View<const Master<T>, Cuda>, View<Master<T>, Cuda>, \
                                                      View<LossSum, Cuda>);                                                            \
  template void pointwise_loss_grad<false, T, Formula<Master<T>>>(const Formula<Master<T>>&, View<const T, Cuda>, View<const T, Cuda>, \
                                                                  View<const Master<T>, Cuda>, View<const Master<T>, Cuda>,            \
                                                                  const Upstream<Master<T>>&, View<T, Cuda>);                          \
  template void pointwise_loss_grad<true, T, Formula<Master<T>>>(const Formula<Master<T>>&, View<const T, Cuda>, View<const T, Cuda>,  \
                                                                 View<const Master<T>, Cuda>, View<const Master<T>, Cuda>,             \
                                                                 const Upstream<Master<T>>&, View<T, Cuda>);
#define SEGNET_INSTANTIATE(T)                       \
  SEGNET_INSTANTIATE_FORMULA(T, MeanSquaredError)   \
  SEGNET_INSTANTIATE_FORMULA(T, AbsoluteError)      \
  SEGNET_INSTANTIATE_FORMULA(T, SmoothL1)           \
  SEGNET_INSTANTIATE_FORMULA(T, Huber)              \
  SEGNET_INSTANTIATE_FORMULA(T, BinaryCrossEntropy) \
  SEGNET_INSTANTIATE_FORMULA(T, SigmoidFocal)
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
