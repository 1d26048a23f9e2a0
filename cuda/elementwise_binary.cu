// Arithmetic of two tensors and its derivatives: ops/arithmetic.hpp.
#include "elementwise.cuh"
#include "segnet/kernels/arithmetic.hpp"

namespace segnet::kernels {

#define SEGNET_BINARY(T, F) template void map_broadcast(View<T, Cuda>, const F&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_GRADIENT(T, ...) \
  template void map_broadcast(View<T, Cuda>, const __VA_ARGS__&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_INSTANTIATE(T)             \
  SEGNET_BINARY(T, Add)                   \
  SEGNET_BINARY(T, Subtract)              \
  SEGNET_BINARY(T, Multiply)              \
  SEGNET_BINARY(T, Divide)                \
  SEGNET_BINARY(T, Power)                 \
  SEGNET_BINARY(T, Maximum)               \
  SEGNET_BINARY(T, Minimum)               \
  SEGNET_BINARY(T, Atan2)                 \
  SEGNET_GRADIENT(T, GradientA<Multiply>) \
  SEGNET_GRADIENT(T, GradientB<Multiply>) \
  SEGNET_GRADIENT(T, GradientA<Divide>)   \
  SEGNET_GRADIENT(T, GradientB<Divide>)   \
  SEGNET_GRADIENT(T, GradientA<Power>)    \
  SEGNET_GRADIENT(T, GradientB<Power>)    \
  SEGNET_GRADIENT(T, GradientA<Maximum>)  \
  SEGNET_GRADIENT(T, GradientB<Maximum>)  \
  SEGNET_GRADIENT(T, GradientA<Minimum>)  \
  SEGNET_GRADIENT(T, GradientB<Minimum>)  \
  SEGNET_GRADIENT(T, GradientA<Atan2>)    \
  SEGNET_GRADIENT(T, GradientB<Atan2>)    \
  template void map(View<T, Cuda>, const GradientB<Subtract>&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

#define SEGNET_INSTANTIATE_INTEGER(T) \
  SEGNET_BINARY(T, Add)               \
  SEGNET_BINARY(T, Subtract)          \
  SEGNET_BINARY(T, Multiply)          \
  SEGNET_BINARY(T, Divide)            \
  SEGNET_BINARY(T, Maximum)           \
  SEGNET_BINARY(T, Minimum)
SEGNET_INSTANTIATE_INTEGER(std::int32_t)
SEGNET_INSTANTIATE_INTEGER(std::int64_t)
SEGNET_INSTANTIATE_INTEGER(std::uint8_t)

}  // namespace segnet::kernels
