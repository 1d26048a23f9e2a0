#include "random.cuh"

namespace segnet::detail {

#define SEGNET_INSTANTIATE(T)                                                  \
  template void random_fill(View<T, Cuda>, Generator&, const UniformNumbers&); \
  template void random_fill(View<T, Cuda>, Generator&, const NormalNumbers&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::detail
