// An operation of one's own: a functor that segnet's launcher runs, its derivative beside it, recorded in the graph.
#include <cstdio>
#include <segnet/cuda/launch.cuh>

#include "segnet/segnet.hpp"

using namespace segnet;

struct Cube {
  const float* x;
  float* y;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { y[i] = x[i] * x[i] * x[i]; }
};
struct CubeGradient {
  const float *x, *dy;
  float* dx;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { dx[i] = 3 * x[i] * x[i] * dy[i]; }
};

Tensor<float, Cuda> cube(const Tensor<float, Cuda>& x) {
  const Tensor<float, Cuda> y(x.shape());
  cuda::for_each(x.numel(), Cube{x.data(), y.data()});
  return record("cube", y, {x}, [x = x.detach()](const Tensor<float, Cuda>& dy, Gradients<float, Cuda>& grad) {
    if (grad.wanted(0)) cuda::for_each(x.numel(), CubeGradient{x.data(), dy.data(), grad[0].data()});
  });
}

int main() {
  if (!cuda::available()) {
    std::printf("%s\n", cuda::why_unavailable().c_str());
    return 0;
  }
  const auto x = full<float, Cuda>({1000}, 2).requires_grad();
  const auto y = cube(x);
  y.backward(ones<float, Cuda>({1000}));
  const auto values = y.to_vector(), slopes = x.grad().to_vector();
  std::printf("2^3 = %g, slope %g, on %s\n", values[999], slopes[999], cuda::device_info().name.c_str());
  return values[999] == 8 && slopes[999] == 12 ? 0 : 1;
}
