// A convolution and its gradients on the GPU, where there is one.
#include <cstdio>

#include "segnet/segnet.hpp"

int main() {
  using namespace segnet;
  if (!cuda::available()) {
    std::printf("%s\n", cuda::why_unavailable().c_str());
    return 0;
  }
  const auto x = ones<float, Cuda>({1, 8, 8, 3}), w = ones<float, Cuda>({4, 3, 3, 3});
  w.requires_grad();
  const auto y = conv2d(x, w, {}, {.padding = 1});
  y.backward(ones<float, Cuda>(y.shape()));
  std::printf("segnet %s on %s\n", SEGNET_VERSION, cuda::device_info().name.c_str());
  return y.to<Cpu>().at(0, 4, 4, 0) == 27 && w.grad().to<Cpu>().at(0, 1, 1, 0) == 64 ? 0 : 1;
}
