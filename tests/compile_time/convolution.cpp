// One convolution of one image.
#include "segnet/ops/conv2d.hpp"

int main() {
  using namespace segnet;
  const Tensor<float> x = ones<float>({1, 32, 32, 3}), w = ones<float>({8, 3, 3, 3});
  const Tensor<float> y = conv2d(x, w, {}, {.padding = 1});
  return y.at(0, 16, 16, 0) == 27 ? 0 : 1;
}
