// Arithmetic of a tensor and a number, and its derivatives: ops/arithmetic.hpp.
#include "elementwise.cuh"
#include "segnet/kernels/unary.hpp"

namespace segnet::kernels {

#define SEGNET_FORWARD(T, F)                                                              \
  template void map(View<T, Cuda>, const WithRight<F, Master<T>>&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const WithLeft<F, Master<T>>&, const View<T, Cuda>&);
#define SEGNET_NUMBER(T, F)                                                                                               \
  SEGNET_FORWARD(T, F)                                                                                                    \
  template void map(View<T, Cuda>, const Gradient<WithRight<F, Master<T>>>&, const View<T, Cuda>&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const Gradient<WithLeft<F, Master<T>>>&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_INSTANTIATE(T) \
  SEGNET_NUMBER(T, Add)       \
  SEGNET_NUMBER(T, Subtract)  \
  SEGNET_NUMBER(T, Multiply)  \
  SEGNET_NUMBER(T, Divide)    \
  SEGNET_NUMBER(T, Power)     \
  SEGNET_NUMBER(T, Maximum)   \
  SEGNET_NUMBER(T, Minimum)   \
  SEGNET_NUMBER(T, Atan2)     \
  template void map_broadcast(View<T, Cuda>, const WithRight<Multiply, Master<T>>&, const View<T, Cuda>&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

#define SEGNET_INSTANTIATE_INTEGER(T) \
  SEGNET_FORWARD(T, Add)              \
  SEGNET_FORWARD(T, Subtract)         \
  SEGNET_FORWARD(T, Multiply)         \
  SEGNET_FORWARD(T, Divide)           \
  SEGNET_FORWARD(T, Maximum)          \
  SEGNET_FORWARD(T, Minimum)
SEGNET_INSTANTIATE_INTEGER(std::int32_t)
SEGNET_INSTANTIATE_INTEGER(std::int64_t)
SEGNET_INSTANTIATE_INTEGER(std::uint8_t)

}  // namespace segnet::kernels
