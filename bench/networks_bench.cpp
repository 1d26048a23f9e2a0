// networks_bench [OPTION...]: inference of six networks, one image, in turns with LibTorch where it was found (networks_torch.cpp). The
// weights are PyTorch's (networks_torch.py), and what comes out is compared before anything is timed.
#include "networks_bench.hpp"

#include <filesystem>

#include "segnet/io/weights.hpp"
#include "segnet/models/deeplabv3.hpp"
#include "segnet/models/fc_densenet.hpp"
#include "segnet/models/fcn.hpp"
#include "segnet/models/hrnet.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/pspnet.hpp"
#include "segnet/models/unet.hpp"
#include "segnet_runner.hpp"

std::vector<NetworkContender>& network_peers() {
  static std::vector<NetworkContender> all;
  return all;
}

namespace {

using namespace segnet;

constexpr const char* usage = R"(networks_bench [OPTION...]
  --only NAME         of fcn8s, unet, fc-densenet103, deeplabv3-resnet50, pspnet50, hrnet-w18; may be repeated
  --size WIDTH,HEIGHT of the image, instead of 480,360
)";

template <class M>
struct SegnetNetwork final : SegnetRunner {
  SegnetNetwork(M network, const NetworkCase& c) : net(std::move(network)), x({1, c.height, c.width, 3}, c.image()) {
    set_num_threads(c.threads);
    load_weights(c.file(".pth"), net);
    nn::eval(net);
  }
  void run() override {
    NoGrad guard;
    y = net(x);
  }
  std::vector<float> output() override { return std::move(y).to_vector(); }

  M net;
  Tensor<float> x, y;
};

template <class M, class Options>
std::unique_ptr<NetworkRunner> on_file(const Options& options, const NetworkCase& c) {
  return std::make_unique<SegnetNetwork<M>>(nn::unfilled<M>(options), c);
}

struct Network {
  const char* name;
  double target;  ///< how many times as fast as LibTorch
  std::unique_ptr<NetworkRunner> (*make)(const NetworkCase&);
};

const Network networks[] = {
    {"fcn8s", 2.0, [](const NetworkCase& c) { return on_file<models::Fcn<>>(models::FcnOptions{}, c); }},
    {"unet", 2.0,
     [](const NetworkCase& c) { return on_file<models::AnySize<models::UNet<>>>(models::UNet<>({.classes = 11, .batch_norm = true}), c); }},
    {"fc-densenet103", 2.0, [](const NetworkCase& c) { return on_file<models::FcDenseNet<>>(models::fc_densenet103, c); }},
    {"deeplabv3-resnet50", 1.4,
     [](const NetworkCase& c) { return on_file<models::DeepLabV3<>>(models::DeepLabV3Options{.aux = false}, c); }},
    {"pspnet50", 1.4, [](const NetworkCase& c) { return on_file<models::PspNet<>>(models::PspNetOptions{.aux = false}, c); }},
    {"hrnet-w18", 1.4,
     [](const NetworkCase& c) { return on_file<models::HrNet<>>(models::HrNetOptions{.width = 18, .align_corners = false}, c); }},
};

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> only;
  NetworkCase size;
  NetworkOptions options;
  options.parse(argc, argv, usage, [&](const std::string& option, const std::string& value) {
    if (option == "--only") only.push_back(value);
    else if (option == "--size") {
      const std::vector<int> n = NetworkOptions::numbers(value);
      if (n.size() != 2) throw ValueError("networks_bench", option, "two numbers", value);
      size.width = n[0], size.height = n[1];
    } else return false;
    return true;
  });

  std::vector<NetworkRow> rows;
  for (const Network& network : networks) {
    if (!only.empty() && std::find(only.begin(), only.end(), network.name) == only.end()) continue;
    for (const int threads : options.threads) {
      NetworkCase c = size;
      c.name = network.name;
      c.folder = options.output;
      c.threads = threads;
      if (!std::filesystem::exists(c.file(".pt"))) throw IoError(c.file(".pt"), "is not there: bench/networks_torch.py writes it");
      std::vector<Participant> participants{{"segnet", [make = network.make, c] { return make(c); }}};
      for (const NetworkContender& peer : network_peers()) participants.push_back({peer.name, [make = peer.make, c] { return make(c); }});
      rows.push_back({{{"network", concat(c.name, ", ", c.width, " x ", c.height)},
                       {"threads", std::to_string(threads)},
                       {"target", concat(network.target, " x")}},
                      participants});
    }
  }
  return compare_networks(rows, options, "networks.json", 1e-4);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
