// The same networks in LibTorch, as TorchScript: frozen (batch norms folded into convolutions), and optimised for inference besides
// (oneDNN's own layouts from layer to layer).
#include <torch/script.h>
#include <torch/utils.h>

#include <optional>

#include "networks_bench.hpp"
#include "torch_memory.hpp"

namespace {

struct TorchNetwork final : NetworkRunner {
  TorchNetwork(const NetworkCase& c, bool optimized) {
    torch::set_num_threads(c.threads);
    net = torch::jit::freeze(torch::jit::load(c.file(".pt")));
    if (optimized) net = torch::jit::optimize_for_inference(net);
    x = torch::tensor(c.image()).view({1, c.height, c.width, 3}).permute({0, 3, 1, 2}).contiguous();
  }
  void run() override {
    c10::InferenceMode guard;
    y = net.forward({x}).toTensor();
  }
  std::vector<float> output() override {
    const torch::Tensor images = y.permute({0, 2, 3, 1}).contiguous();
    return {images.data_ptr<float>(), images.data_ptr<float>() + images.numel()};
  }
  void watch_memory() override {
    y = torch::Tensor();  // allocated unseen
    memory.emplace();
  }
  double watched_mib() override { return memory->peak_mib(); }

  torch::jit::Module net;
  torch::Tensor x, y;
  std::optional<TorchMemory> memory;
};

std::unique_ptr<NetworkRunner> frozen(const NetworkCase& c) { return std::make_unique<TorchNetwork>(c, false); }

std::unique_ptr<NetworkRunner> optimized(const NetworkCase& c) {
  auto runner = std::make_unique<TorchNetwork>(c, true);
  try {
    runner->run();
  } catch (const std::exception&) {
    return {};  // oneDNN's adaptive pooling takes only sizes that divide the image's
  }
  return runner;
}

const bool added = (network_peers().push_back({"frozen", frozen}), network_peers().push_back({"optimized", optimized}), true);

}  // namespace
