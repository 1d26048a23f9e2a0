#include "box_loss.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                      \
  template void box_loss<T>(const BoxLossValue<T>&, index_t, View<LossSum, Cuda>); \
  template void box_loss_grad<T>(const BoxLossGrad<T>&, index_t, Cuda);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)

}  // namespace segnet::kernels
