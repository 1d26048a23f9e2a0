#include "local_response_norm.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                             \
  template void local_response_norm<T>(const ResponseNorm&, View<const T, Cuda>, index_t, View<T, Cuda>); \
  template void local_response_norm_backward<T>(const ResponseNorm&, View<const T, Cuda>, View<const T, Cuda>, index_t, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
