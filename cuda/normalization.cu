#include "normalization.cuh"

namespace segnet::kernels {

// Coefficients are of the type that is computed with: float and double.
#define SEGNET_INSTANTIATE(T)                                                                                                          \
  template void norm_coefficients<T>(const NormGeometry&, View<const double, Cuda>, index_t, View<const T, Cuda>, View<const T, Cuda>, \
                                     double, View<T, Cuda>);                                                                           \
  template void norm_coefficients<T>(View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, double,       \
                                     View<T, Cuda>);                                                                                   \
  template void update_running_statistics<T>(const NormGeometry&, View<const double, Cuda>, double, View<T, Cuda>, View<T, Cuda>);     \
  template void norm_backward_coefficients<T>(const NormGeometry&, View<const double, Cuda>, View<const T, Cuda>, index_t,             \
                                              View<const T, Cuda>, View<T, Cuda>, View<T, Cuda>, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
#undef SEGNET_INSTANTIATE

#define SEGNET_INSTANTIATE(T)                                                                                                              \
  template void channel_moments<T>(const NormGeometry&, View<const T, Cuda>, View<double, Cuda>);                                          \
  template void normalize_channels<T>(const NormGeometry&, View<const T, Cuda>, View<const Master<T>, Cuda>, bool, View<T, Cuda>);         \
  template void channel_gradient_sums<T>(const NormGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const Master<T>, Cuda>, bool, \
                                         View<double, Cuda>);                                                                              \
  template void normalize_channels_backward<T>(const NormGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const Master<T>, Cuda>, \
                                               View<const Master<T>, Cuda>, bool, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
