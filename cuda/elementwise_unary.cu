// Functions of one number and their derivatives: ops/unary.hpp.
#include "elementwise.cuh"
#include "segnet/kernels/unary.hpp"

namespace segnet::kernels {

#define SEGNET_UNARY(T, ...)                                                  \
  template void map(View<T, Cuda>, const __VA_ARGS__&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const Gradient<__VA_ARGS__>&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_INSTANTIATE(T) \
  SEGNET_UNARY(T, Negate)     \
  SEGNET_UNARY(T, Exp)        \
  SEGNET_UNARY(T, Expm1)      \
  SEGNET_UNARY(T, Log)        \
  SEGNET_UNARY(T, Log1p)      \
  SEGNET_UNARY(T, Sqrt)       \
  SEGNET_UNARY(T, Rsqrt)      \
  SEGNET_UNARY(T, Square)     \
  SEGNET_UNARY(T, Reciprocal) \
  SEGNET_UNARY(T, Abs)        \
  SEGNET_UNARY(T, Sin)        \
  SEGNET_UNARY(T, Cos)        \
  SEGNET_UNARY(T, Erf)        \
  SEGNET_UNARY(T, Floor)      \
  SEGNET_UNARY(T, Ceil)       \
  SEGNET_UNARY(T, Round)      \
  SEGNET_UNARY(T, Clamp<Master<T>>)
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

#define SEGNET_INSTANTIATE_INTEGER(T)                                    \
  template void map(View<T, Cuda>, const Negate&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const Square&, const View<T, Cuda>&); \
  template void map(View<T, Cuda>, const Clamp<T>&, const View<T, Cuda>&);
SEGNET_INSTANTIATE_INTEGER(std::int32_t)
SEGNET_INSTANTIATE_INTEGER(std::int64_t)
SEGNET_INSTANTIATE_INTEGER(std::uint8_t)

}  // namespace segnet::kernels
