// Losses of pairs of boxes: a thread for each pair.
#pragma once

#include "loss_sum.cuh"
#include "segnet/kernels/box_loss.hpp"

namespace segnet::kernels {

template <class T>
void box_loss(const BoxLossValue<T>& f, index_t n, View<LossSum, Cuda> total) {
  cuda::sum_losses(n, f, total.data);
}
template <class T>
void box_loss_grad(const BoxLossGrad<T>& f, index_t n, Cuda) {
  cuda::for_each(n, f);
}

}  // namespace segnet::kernels
