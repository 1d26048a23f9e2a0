// An operation of your own: compute, then record how the gradient goes back; gradcheck says whether the derivative is right.
//
// Squared ReLU (So et al., "Primer", arXiv:2109.08668, section 3.1):  y = max(x, 0)^2,  dx = 2 max(x, 0) dy
#include <cstdio>

#include "segnet/autograd/gradcheck.hpp"

template <class T>
segnet::Tensor<T> squared_relu(const segnet::Tensor<T>& x) {
  segnet::Tensor<T> y(x.shape());
  for (segnet::index_t i = 0; i < x.numel(); ++i) {
    const T positive = std::max(x.data()[i], T(0));
    y.data()[i] = positive * positive;
  }
  // The closure captures x detached: the graph itself keeps its inputs alive. It fills grad[0], which comes uninitialised.
  return segnet::record("squared_relu", y, {x}, [x = x.detach()](const segnet::Tensor<T>& dy, segnet::Gradients<T>& grad) {
    for (segnet::index_t i = 0; i < x.numel(); ++i) grad[0].data()[i] = 2 * std::max(x.data()[i], T(0)) * dy.data()[i];
  });
}

int main() {
  segnet::Generator random{1};
  const auto x = segnet::random_normal<double>({4, 5}, random).requires_grad();
  const auto check = segnet::gradcheck([](const auto& inputs) { return squared_relu(inputs[0]); }, {x});
  std::printf("squared_relu: backward %s the numeric derivative, worst difference %.1e\n", check ? "equals" : "DIFFERS FROM", check.worst);
  std::fputs(check.message.c_str(), stdout);
  return check ? 0 : 1;
}
