#include "optimizer_step.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE(T)                                                          \
  template void sgd_step(const SgdStep<T>&, const Updates<T, Cuda>&);                  \
  template void adam_step(const AdamStep<T>&, const Updates<T, Cuda>&);                \
  template void rmsprop_step(const RmspropStep<T>&, const Updates<T, Cuda>&);          \
  template void gradient_norm(const Batch<T, Cuda, 1>&, double, View<double, Cuda>);   \
  template void scale_gradients(const Batch<T, Cuda, 2>&, View<const double, Cuda>);   \
  template void limit_gradients<T>(const Batch<T, Cuda, 2>&, std::type_identity_t<T>); \
  template void update_averages<T>(const Batch<T, Cuda, 2>&, std::type_identity_t<T>); \
  template void swap_elements(const Batch<T, Cuda, 2>&);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)

}  // namespace segnet::kernels
