// The same U-Net in LibTorch.
#include <torch/torch.h>

#include <optional>

#include "torch_memory.hpp"
#include "unet_bench.hpp"

namespace {

torch::nn::Sequential double_conv(int in, int out) {
  const auto conv = [](int i, int o) { return torch::nn::Conv2d(torch::nn::Conv2dOptions(i, o, 3).padding(1).bias(false)); };
  return torch::nn::Sequential(conv(in, out), torch::nn::BatchNorm2d(out), torch::nn::ReLU(torch::nn::ReLUOptions(true)), conv(out, out),
                               torch::nn::BatchNorm2d(out), torch::nn::ReLU(torch::nn::ReLUOptions(true)));
}

struct Net : torch::nn::Module {
  explicit Net(int base) : head(torch::nn::Conv2dOptions(base, 11, 1)) {
    for (int level = 0; level <= 4; ++level) down->push_back(double_conv(level ? base << (level - 1) : 3, base << level));
    for (int level = 4; level-- > 0;) {
      up->push_back(torch::nn::ConvTranspose2d(torch::nn::ConvTranspose2dOptions(base << (level + 1), base << level, 2).stride(2)));
      dec->push_back(double_conv(base << (level + 1), base << level));
    }
    register_module("down", down);
    register_module("up", up);
    register_module("dec", dec);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    std::vector<torch::Tensor> skips;
    torch::Tensor y = down[0]->as<torch::nn::Sequential>()->forward(x);
    for (std::size_t level = 1; level < 5; ++level) {
      skips.push_back(y);
      y = down[level]->as<torch::nn::Sequential>()->forward(torch::max_pool2d(y, 2));
    }
    for (std::size_t i = 0; i < 4; ++i) {
      y = up[i]->as<torch::nn::ConvTranspose2d>()->forward(y);
      y = dec[i]->as<torch::nn::Sequential>()->forward(torch::cat({skips.back(), y}, 1));
      skips.pop_back();
    }
    return head(y);
  }
  torch::nn::ModuleList down, up, dec;
  torch::nn::Conv2d head;
};

struct TorchUNet final : NetworkRunner {
  explicit TorchUNet(const UNetCase& c)
      : net(std::make_shared<Net>(c.width)),
        x(torch::randn({c.batch, 3, c.height, c.side})),
        labels(torch::arange(c.batch * c.height * c.side).remainder(11).view({c.batch, c.height, c.side})),
        sgd(net->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9)) {
    torch::set_num_threads(c.threads);
    net->train(c.training);
  }
  void run() override {
    if (!net->is_training()) {
      torch::NoGradGuard guard;
      net->forward(x);
      return;
    }
    sgd.zero_grad();
    torch::nn::functional::cross_entropy(net->forward(x), labels).backward();
    sgd.step();
  }
  void watch_memory() override { memory.emplace(); }
  double watched_mib() override { return memory->peak_mib(); }

  std::shared_ptr<Net> net;
  torch::Tensor x, labels;
  torch::optim::SGD sgd;
  std::optional<TorchMemory> memory;
};

const bool added = (unet_contenders().push_back({"torch", [](const UNetCase& c) { return std::make_unique<TorchUNet>(c); }}), true);

}  // namespace
