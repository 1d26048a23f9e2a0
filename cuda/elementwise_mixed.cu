// Functions between element types: casts, comparisons, choices; and those that go with reductions (ops/reduction.hpp).
#include "elementwise.cuh"
#include "segnet/kernels/arithmetic.hpp"
#include "segnet/kernels/reduction.hpp"

namespace segnet::kernels {

#define SEGNET_CAST(U, T) template void map(View<U, Cuda>, const Cast<U>&, const View<T, Cuda>&);
#define SEGNET_CASTS(T)        \
  SEGNET_CAST(float, T)        \
  SEGNET_CAST(double, T)       \
  SEGNET_CAST(bfloat16, T)     \
  SEGNET_CAST(std::int32_t, T) \
  SEGNET_CAST(std::int64_t, T) \
  SEGNET_CAST(std::uint8_t, T) \
  SEGNET_CAST(bool, T)
#define SEGNET_CHOICES(T)                                                                                                        \
  SEGNET_CASTS(T)                                                                                                                \
  template void map_broadcast(View<bool, Cuda>, const Equal&, const View<T, Cuda>&, const View<T, Cuda>&);                       \
  template void map_broadcast(View<bool, Cuda>, const Less&, const View<T, Cuda>&, const View<T, Cuda>&);                        \
  template void map_broadcast(View<bool, Cuda>, const LessEqual&, const View<T, Cuda>&, const View<T, Cuda>&);                   \
  template void map_broadcast(View<T, Cuda>, const Where&, const View<bool, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&); \
  template void map_broadcast(View<T, Cuda>, const KeepWhere<Master<T>>&, const View<bool, Cuda>&, const View<T, Cuda>&);
SEGNET_CHOICES(float)
SEGNET_CHOICES(double)
SEGNET_CHOICES(bfloat16)
SEGNET_CHOICES(std::int32_t)
SEGNET_CHOICES(std::int64_t)
SEGNET_CHOICES(std::uint8_t)
SEGNET_CHOICES(bool)

#define SEGNET_OF_2(T, F) template void map_broadcast(View<T, Cuda>, const F&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_OF_3(T, F) \
  template void map_broadcast(View<T, Cuda>, const F&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&);
#define SEGNET_INSTANTIATE(T)                                                                                                      \
  SEGNET_OF_2(T, SquaredDeviation)                                                                                                 \
  SEGNET_OF_2(T, SignTimes)                                                                                                        \
  SEGNET_OF_2(T, ExpOfDifference)                                                                                                  \
  SEGNET_OF_2(T, IsExtreme)                                                                                                        \
  SEGNET_OF_3(T, Deviation)                                                                                                        \
  SEGNET_OF_3(T, ExpOfDifferenceTimes)                                                                                             \
  template void map_broadcast(View<T, Cuda>, const ShareOfTies&, const View<T, Cuda>&, const View<T, Cuda>&, const View<T, Cuda>&, \
                              const View<T, Cuda>&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
