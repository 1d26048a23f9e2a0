// A U-Net of two levels, one training step.
#include "segnet/segnet.hpp"

#include "segnet/optim/adam.hpp"

int main() {
  using namespace segnet;
  const models::UNet<> net({.in_channels = 3, .classes = 2, .base = 16, .depth = 2, .batch_norm = true});
  optim::Adam<> optimizer(nn::parameters(net), {.lr = 1e-3});
  const auto image = random_normal<float>({1, 32, 32, 3}, default_generator());
  const auto labels = zeros<std::int64_t>({1, 32, 32});
  optimizer.zero_grad();
  const auto loss = cross_entropy(net(image), labels);
  loss.backward();
  optimizer.step();
  return loss.item() > 0 ? 0 : 1;
}
