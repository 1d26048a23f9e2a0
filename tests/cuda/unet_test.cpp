// A whole network on the GPU: the CPU's outputs and gradients, the same bits from run to run, and mixed precision that learns.
#include "segnet/models/unet.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/optim/adam.hpp"
#include "segnet/optim/sgd.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class T, class D>
models::UNet<T, D> network(std::uint64_t seed) {
  default_generator() = {seed};
  return models::UNet<T, D>({.classes = 5, .base = on_gpu(16, 8), .depth = static_cast<int>(on_gpu(3, 2)), .batch_norm = true});
}
/// Images of 32 x 48 pixels, or fewer where those take long.
Shape images(index_t n) { return {n, on_gpu(32, 16), on_gpu(48, 24)}; }
Shape with_channels(const Shape& images) { return {images[0], images[1], images[2], 3}; }

/// Losses of a few steps, and the weights after them.
template <class T, class Optimizer>
std::pair<std::vector<float>, std::vector<Tensor<float>>> trained(int steps, double lr) {
  auto net = network<T, Cuda>(7);
  Generator stream{3};
  const Shape shape = on_gpu(true, false) ? images(4) : Shape{2, 8, 12};
  const auto x = cast<T>(random_normal<float>(with_channels(shape), stream).to<Cuda>());
  // A map that can be learned: which third of the image.
  Tensor<std::int32_t> labels(shape);
  for (index_t i = 0, W = shape[2]; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % W / (W / 3));
  const auto target = labels.to<Cuda>();
  Optimizer optimizer(nn::parameters<float, Cuda>(net), {.lr = lr});
  std::vector<float> losses;
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    const auto loss = cross_entropy(net(x), target);
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item());
  }
  std::vector<Tensor<float>> state;
  for (const auto& entry : nn::state_dict<float, Cuda>(net)) state.push_back(entry.tensor.detach().template to<Cpu>());
  return {losses, state};
}

template <class T, class Optimizer>
void check_repeats_and_learns(double lr) {
  const int steps = static_cast<int>(on_gpu(12, 8));
  const auto [losses, state] = trained<T, Optimizer>(steps, lr);
  const auto [losses_again, state_again] = trained<T, Optimizer>(steps, lr);
  CHECK(losses == losses_again);
  for (std::size_t i = 0; i < state.size(); ++i) CHECK(equal(state[i], state_again[i]));
  CHECK(losses.back() < 0.7f * losses.front());
}

}  // namespace

TEST_CASE_TEMPLATE("U-Net on the GPU: the CPU's outputs and gradients", T, float, double) {
  if (!gpu()) return;
  const auto net = network<T, Cpu>(5);
  const auto net_gpu = network<T, Cuda>(5);
  const auto x = normal<T>(with_channels(images(2)));
  const auto labels = integers<std::int32_t>(images(2), 0, 4);
  const auto loss = cross_entropy(net(x), labels);
  const auto loss_gpu = cross_entropy(net_gpu(x.template to<Cuda>()), labels.to<Cuda>());
  loss.backward();
  loss_gpu.backward();
  const double tolerance =
      std::is_same_v<T, double> ? 1e-11 : 1e-3;  // of the largest; an activation near 0 may fall on either side in float
  CHECK(std::abs(static_cast<double>(loss.item()) - static_cast<double>(loss_gpu.item())) < 1e-4);
  const auto expected = nn::state_dict<T>(net);
  const auto got = nn::state_dict<T, Cuda>(net_gpu);
  REQUIRE(expected.size() == got.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(expected[i].name);
    CHECK(relative_difference(got[i].tensor.detach().template to<Cpu>(), expected[i].tensor.detach()) <= tolerance);
    if (expected[i].trainable)
      CHECK(relative_difference(got[i].tensor.grad().template to<Cpu>(), expected[i].tensor.grad()) <= 10 * tolerance);
  }
}

TEST_CASE("U-Net on the GPU: two runs of training give the same bits, and learn") {
  if (!gpu()) return;
  SUBCASE("float, SGD") { check_repeats_and_learns<float, optim::Sgd<float, Cuda>>(1.0); }
  SUBCASE("float, AdamW") { check_repeats_and_learns<float, optim::AdamW<float, Cuda>>(1e-2); }
  SUBCASE("bfloat16 with float weights") { check_repeats_and_learns<bfloat16, optim::AdamW<float, Cuda>>(1e-2); }
}

TEST_CASE("U-Net in bfloat16: near the result in float") {
  if (!gpu()) return;
  auto half = network<bfloat16, Cuda>(5);
  auto full_precision = network<float, Cuda>(5);
  const auto x = normal<float>(with_channels(images(2))).to<Cuda>();
  NoGrad guard;
  const auto y = cast<float>(half(cast<bfloat16>(x))).to<Cpu>(), expected = full_precision(x).to<Cpu>();
  CHECK(relative_difference(y, expected) < 0.05);
}
