// The smallest user: a convolution and its gradients, from the one header.
#include <cstdio>

#include "segnet/segnet.hpp"

int main() {
  using namespace segnet;
  const Tensor<float> x = ones<float>({1, 8, 8, 3}), w = ones<float>({4, 3, 3, 3});
  w.requires_grad();
  const Tensor<float> y = conv2d(x, w, {}, {.padding = 1});
  y.backward(ones<float>(y.shape()));
  std::printf("segnet %s, %d threads, %s\n", SEGNET_VERSION, num_threads(), to_string(current_isa()));
  return y.at(0, 4, 4, 0) == 27 && w.grad().at(0, 1, 1, 0) == 64 ? 0 : 1;
}
