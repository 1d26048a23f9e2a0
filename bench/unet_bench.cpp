// unet_bench [OPTION...]: a whole network, training steps and inference, in turns with LibTorch where it was found (unet_torch.cpp).
#include "unet_bench.hpp"

#include "segnet/models/unet.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/optim/sgd.hpp"
#include "segnet_runner.hpp"

std::vector<UNetContender>& unet_contenders() {
  static std::vector<UNetContender> all;
  return all;
}

namespace {

using namespace segnet;

constexpr const char* usage = R"(unet_bench [OPTION...]
  --case WIDTH,HEIGHT,WIDTH_OF_IMAGE,BATCH   instead of 64,256,256,4; may be repeated
  --pass NAME         only train or infer
)";

struct SegnetUNet final : SegnetRunner {
  explicit SegnetUNet(const UNetCase& c)
      : net({.classes = 11, .base = c.width, .batch_norm = true}),
        x(random_normal<float>({c.batch, c.height, c.side, 3}, default_generator())),
        labels({c.batch, c.height, c.side}),
        sgd(nn::parameters(net), {.lr = 1e-3, .momentum = 0.9}),
        training(c.training) {
    set_num_threads(c.threads);
    nn::train(net, training);
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 11);
  }
  void run() override {
    if (!training) {
      NoGrad guard;
      (void)net(x);
      return;
    }
    sgd.zero_grad();
    cross_entropy(net(x), labels).backward();
    sgd.step();
  }

  models::UNet<> net;
  Tensor<float> x;
  Tensor<std::int32_t> labels;
  optim::Sgd<float> sgd;
  bool training;
};

const bool added = (unet_contenders().push_back({"segnet", [](const UNetCase& c) { return std::make_unique<SegnetUNet>(c); }}), true);

}  // namespace

int main(int argc, char** argv) try {
  std::vector<UNetCase> cases;
  std::string pass;
  NetworkOptions options;
  options.parse(argc, argv, usage, [&](const std::string& option, const std::string& value) {
    if (option == "--case") {
      const std::vector<int> n = NetworkOptions::numbers(value);
      if (n.size() != 4) throw ValueError("unet_bench", option, "four numbers", value);
      cases.push_back({n[0], n[1], n[2], n[3]});
      return true;
    }
    pass = value;
    return option == "--pass" && (value == "train" || value == "infer");
  });
  if (cases.empty()) cases = {{64, 256, 256, 4}};

  std::vector<NetworkRow> rows;
  for (UNetCase c : cases)
    for (const bool training : {true, false})
      for (const int threads : options.threads) {
        if (!pass.empty() && pass != (training ? "train" : "infer")) continue;
        c.training = training;
        c.threads = threads;
        std::vector<Participant> participants;
        for (const UNetContender& contender : unet_contenders())
          participants.push_back({contender.name, [make = contender.make, c] { return make(c); }});
        rows.push_back(
            {{{"network", c.name()}, {"pass", training ? "train" : "infer"}, {"threads", std::to_string(threads)}}, participants});
      }
  return compare_networks(rows, options, "unet.json");
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
