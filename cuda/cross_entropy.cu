#include "cross_entropy.cuh"

namespace segnet::kernels {

#define SEGNET_INSTANTIATE_LABELS(T, Label)                                                                                                \
  template void cross_entropy<T, Label>(View<const T, Cuda>, const RowLabels<Master<T>, Label>&, const CrossEntropyTerms<Master<T>>&,      \
                                        View<Master<T>, Cuda>, View<Master<T>, Cuda>, View<Master<T>, Cuda>, View<LossSum, Cuda>);         \
  template void cross_entropy_grad<T, Label>(View<const T, Cuda>, const RowLabels<Master<T>, Label>&, const CrossEntropyTerms<Master<T>>&, \
                                             View<const Master<T>, Cuda>, View<const Master<T>, Cuda>, const Upstream<Master<T>>&,         \
                                             View<T, Cuda>);                                                                               \
  template void nll_loss<T, Label>(View<const T, Cuda>, const RowLabels<Master<T>, Label>&, index_t, View<Master<T>, Cuda>,                \
                                   View<LossSum, Cuda>);                                                                                   \
  template void nll_loss_grad<T, Label>(const RowLabels<Master<T>, Label>&, index_t, const Upstream<Master<T>>&, View<T, Cuda>);
#define SEGNET_INSTANTIATE(T)                                                                                                     \
  SEGNET_INSTANTIATE_LABELS(T, std::uint8_t)                                                                                      \
  SEGNET_INSTANTIATE_LABELS(T, std::int32_t)                                                                                      \
  SEGNET_INSTANTIATE_LABELS(T, std::int64_t)                                                                                      \
  template void cross_entropy_probabilities<T>(View<const T, Cuda>, const RowProbabilities<T>&, View<Master<T>, Cuda>,            \
                                               View<Master<T>, Cuda>, View<Master<T>, Cuda>, View<LossSum, Cuda>);                \
  template void cross_entropy_probabilities_grad<T>(View<const T, Cuda>, const RowProbabilities<T>&, View<const Master<T>, Cuda>, \
                                                    View<const Master<T>, Cuda>, const Upstream<Master<T>>&, View<T, Cuda>);      \
  template void cross_entropy_target_grad<T>(View<const T, Cuda>, const RowProbabilities<T>&, View<const Master<T>, Cuda>,        \
                                             View<const Master<T>, Cuda>, const Upstream<Master<T>>&, View<T, Cuda>);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)

}  // namespace segnet::kernels
