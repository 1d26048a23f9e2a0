// Activation functions and their derivatives: ops/activation.hpp.
#include "elementwise.cuh"
#include "segnet/kernels/activation.hpp"

namespace segnet::kernels {

#define SEGNET_ACTIVATION(T, ...)                                             \
  template void map(View<T, Cuda>, const __VA_ARGS__&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const Gradient<__VA_ARGS__>&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_INSTANTIATE(T)                                                                                                            \
  SEGNET_ACTIVATION(T, Relu)                                                                                                             \
  SEGNET_ACTIVATION(T, Relu6)                                                                                                            \
  SEGNET_ACTIVATION(T, LeakyRelu<Master<T>>)                                                                                             \
  SEGNET_ACTIVATION(T, Elu<Master<T>>)                                                                                                   \
  SEGNET_ACTIVATION(T, Sigmoid)                                                                                                          \
  SEGNET_ACTIVATION(T, LogSigmoid)                                                                                                       \
  SEGNET_ACTIVATION(T, Tanh)                                                                                                             \
  SEGNET_ACTIVATION(T, Silu)                                                                                                             \
  SEGNET_ACTIVATION(T, Gelu)                                                                                                             \
  SEGNET_ACTIVATION(T, GeluTanh)                                                                                                         \
  SEGNET_ACTIVATION(T, Softplus<Master<T>>)                                                                                              \
  SEGNET_ACTIVATION(T, HardSigmoid)                                                                                                      \
  SEGNET_ACTIVATION(T, HardSwish)                                                                                                        \
  SEGNET_ACTIVATION(T, Mish)                                                                                                             \
  template void map_broadcast(View<T, Cuda>, const Prelu&, const View<T, Cuda>&, const View<T, Cuda>&);                                  \
  template void map_broadcast(View<T, Cuda>, const GradientA<Prelu>&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&); \
  template void map_broadcast(View<T, Cuda>, const GradientB<Prelu>&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
