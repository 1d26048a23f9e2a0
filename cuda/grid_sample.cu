#include "grid_sample.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                                                                            \
  template void grid_sample<T>(const GridGeometry&, View<const T, Cuda>, View<const Master<T>, Cuda>, View<T, Cuda>);                    \
  template void grid_sample_backward_grid<T>(const GridGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const Master<T>, Cuda>, \
                                             View<Master<T>, Cuda>);                                                                     \
  template void grid_sample_backward_input<T>(const GridGeometry&, View<const T, Cuda>, View<const Master<T>, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
