#include "softmax.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                             \
  template void softmax(ConstView<T, Cuda>, int, View<T, Cuda>);                          \
  template void log_softmax(ConstView<T, Cuda>, int, View<T, Cuda>);                      \
  template void softmax_grad(ConstView<T, Cuda>, ConstView<T, Cuda>, int, View<T, Cuda>); \
  template void log_softmax_grad(ConstView<T, Cuda>, ConstView<T, Cuda>, int, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
