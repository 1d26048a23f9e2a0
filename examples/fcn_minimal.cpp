// The smallest fully convolutional network: convolutions, one pooling, scores, bilinear upsampling, and a skip. It learns to tell discs
// from squares, whose pixels look all the same: only what is around a pixel says what it belongs to.
#include <cstdio>

#include <segnet/segnet.hpp>

using namespace segnet;

struct MinimalFcn {
  nn::Conv2d<> conv1{1, 8, 5, {.padding = 2}}, conv2{8, 16, 5, {.padding = 2}}, conv3{16, 16, 5, {.padding = 2}};
  nn::Conv2d<> score{16, 3, 1}, score_skip{8, 3, 1};
  nn::ConvTranspose2d<> upscore{3, 3, 4, {.stride = 2, .padding = 1}, nn::Bias::no};
  MinimalFcn() { nn::init::bilinear(upscore.weight); }

  Tensor<float> operator()(const Tensor<float>& x) const {
    const auto fine = relu(conv1(x));
    const auto coarse = relu(conv3(relu(conv2(max_pool2d(fine, {.kernel = 2}).output))));
    return upscore(score(coarse)) + score_skip(fine);
  }
  SEGNET_FIELDS(conv1, conv2, conv3, score, score_skip, upscore)
};

/// Discs (class 1) and squares (class 2) of random size on black, 32 x 32.
void draw(const Tensor<float>& images, const Tensor<std::int32_t>& labels) {
  Generator& random = default_generator();
  for (index_t n = 0; n < images.dim(0); ++n) {
    const bool disc = random.below(2) == 0;
    const double r = random.uniform(4, 8), y0 = random.uniform(8, 24), x0 = random.uniform(8, 24);
    for (index_t y = 0; y < 32; ++y)
      for (index_t x = 0; x < 32; ++x) {
        const double dy = std::abs(static_cast<double>(y) - y0), dx = std::abs(static_cast<double>(x) - x0);
        const bool inside = disc ? dy * dy + dx * dx < r * r : std::max(dy, dx) < 0.9 * r;
        images.at(n, y, x, 0) = inside ? 1 : 0;
        labels.at(n, y, x) = inside ? (disc ? 1 : 2) : 0;
      }
  }
}

int main() {
  default_generator() = {1};
  MinimalFcn net;
  optim::Adam<> adam(nn::parameters(net), {.lr = 5e-3});
  const Tensor<float> images({8, 32, 32, 1});
  const Tensor<std::int32_t> labels({8, 32, 32});
  for (int step = 0; step <= 300; ++step) {
    draw(images, labels);
    const auto logits = net(images);
    const auto loss = cross_entropy(logits, labels);
    adam.zero_grad();
    loss.backward();
    adam.step();
    if (step % 60) continue;
    ConfusionMatrix confusion(3);
    confusion.add_logits(logits, labels);
    std::printf("step %3d  loss %.3f  mean IoU %.3f\n", step, static_cast<double>(loss.item()), *confusion.mean_iou());
  }
}
