// A U-Net of two levels, one training step.
#include <torch/torch.h>

namespace nn = torch::nn;

nn::Sequential double_conv(int in, int out) {
  const auto conv = [](int from, int to) { return nn::Conv2d(nn::Conv2dOptions(from, to, 3).padding(1).bias(false)); };
  return nn::Sequential(conv(in, out), nn::BatchNorm2d(out), nn::ReLU(), conv(out, out), nn::BatchNorm2d(out), nn::ReLU());
}

struct UNetImpl : nn::Module {
  nn::Sequential down0{double_conv(3, 16)}, down1{double_conv(16, 32)}, bottom{double_conv(32, 64)};
  nn::ConvTranspose2d up1{nn::ConvTranspose2dOptions(64, 32, 2).stride(2)}, up0{nn::ConvTranspose2dOptions(32, 16, 2).stride(2)};
  nn::Sequential dec1{double_conv(64, 32)}, dec0{double_conv(32, 16)};
  nn::Conv2d head{nn::Conv2dOptions(16, 2, 1)};

  UNetImpl() {
    register_module("down0", down0), register_module("down1", down1), register_module("bottom", bottom);
    register_module("up1", up1), register_module("up0", up0);
    register_module("dec1", dec1), register_module("dec0", dec0), register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto a = down0->forward(x), b = down1->forward(torch::max_pool2d(a, 2)), c = bottom->forward(torch::max_pool2d(b, 2));
    const auto d = dec1->forward(torch::cat({b, up1(c)}, 1));
    return head(dec0->forward(torch::cat({a, up0(d)}, 1)));
  }
};
TORCH_MODULE(UNet);

int main() {
  UNet net;
  torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(1e-3));
  const auto image = torch::randn({1, 3, 32, 32});
  const auto labels = torch::zeros({1, 32, 32}, torch::kLong);
  optimizer.zero_grad();
  const auto loss = nn::functional::cross_entropy(net->forward(image), labels);
  loss.backward();
  optimizer.step();
  return loss.item<float>() > 0 ? 0 : 1;
}
