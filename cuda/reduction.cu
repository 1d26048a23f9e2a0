#include "reduction.cuh"

namespace segnet::kernels {

#define SEGNET_REDUCE(T, Op) template void reduce(const Op&, const DimSet&, View<T, Cuda>, View<const T, Cuda>);
#define SEGNET_ARG_REDUCE(T, Op) \
  template void arg_reduce(const Op&, const ReducedExtents&, View<T, Cuda>, View<T, Cuda>, View<index_t, Cuda>);
#define SEGNET_INSTANTIATE_ANY(T) \
  SEGNET_REDUCE(T, Sum)           \
  SEGNET_REDUCE(T, Product)       \
  SEGNET_REDUCE(T, Largest)       \
  SEGNET_REDUCE(T, Smallest)      \
  SEGNET_ARG_REDUCE(T, Largest)   \
  SEGNET_ARG_REDUCE(T, Smallest)
#define SEGNET_INSTANTIATE(T)                                                                                          \
  SEGNET_INSTANTIATE_ANY(T)                                                                                            \
  SEGNET_REDUCE(T, Norm1)                                                                                              \
  SEGNET_REDUCE(T, Norm2)                                                                                              \
  template void reduce(const SumOfProducts&, const DimSet&, View<T, Cuda>, View<const T, Cuda>, View<const T, Cuda>);  \
  template void sum_over_rows(View<const T, Cuda>, View<T, Cuda>);                                                     \
  template void arg_reduce_grad(const ReducedExtents&, View<const T, Cuda>, View<const index_t, Cuda>, View<T, Cuda>); \
  template void product_grad(const ReducedExtents&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE_ANY(std::int32_t)
SEGNET_INSTANTIATE_ANY(std::int64_t)
SEGNET_INSTANTIATE_ANY(std::uint8_t)

}  // namespace segnet::kernels
