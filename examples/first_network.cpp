// The smallest program that trains a segmentation network: which pixels are more red than green?
#include <cstdio>

#include <segnet/segnet.hpp>

using namespace segnet;

struct Net {
  nn::Conv2d<> conv1{3, 16, 3, {.padding = 1}}, conv2{16, 16, 3, {.padding = 1}}, head{16, 2, 1};
  Tensor<float> operator()(const Tensor<float>& x) const { return head(relu(conv2(relu(conv1(x))))); }
  SEGNET_FIELDS(conv1, conv2, head)
};

int main() {
  default_generator() = {42};  // seeds weights and images
  Net net;
  optim::Adam<> adam(nn::parameters(net), {.lr = 1e-2});
  for (int step = 0; step <= 200; ++step) {
    const auto images = random_uniform<float>({4, 32, 32, 3}, default_generator());  // [N, H, W, C]
    Tensor<std::int32_t> labels({4, 32, 32});
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = images.data()[3 * i] > images.data()[3 * i + 1];
    const auto loss = cross_entropy(net(images), labels);
    adam.zero_grad();
    loss.backward();
    adam.step();
    if (step % 50 == 0) std::printf("step %3d  loss %.3f\n", step, static_cast<double>(loss.item()));
  }
}
