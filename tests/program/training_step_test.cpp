// Every network of `segnet models` takes steps of its recipe on four crops of CamVid, and its loss on them falls. Linked to the program's
// own list of networks, recipes and optimisers.
//
// Scaled to the machine: four crops of 64 x 64 (of two, norms behind a pooling of the whole image would see two values, and jump), 8
// channels in the first level, all parameters new and at one rate, which for SGD is divided as the batch is (Goyal et al.,
// arXiv:1706.02677, section 2.1). SEGNET_TRAIN_ALL=1 takes every network, else the first of each source; SEGNET_CAMVID=FOLDER takes
// training frames from there, else the crops are of the validation frame in docs/images.
#include <cstdlib>
#include <filesystem>
#include <set>

#include "examples/segnet/networks.hpp"
#include "examples/segnet/optimizer.hpp"
#include "examples/segnet/recipes.hpp"
#include "segnet/data/camvid.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::program;

namespace {

constexpr index_t side = 64;
constexpr std::int32_t ignored = 11;

/// The committed picture has a frame, 4 pixels of white, and its truth drawn over it at half strength, which is undone here: colours
/// that are then far from every class (outlines) are ignored.
data::Sample committed_frame() {
  const auto path = std::filesystem::path(__FILE__).parent_path() / "../../docs/images/camvid.jpg";
  const Tensor<std::uint8_t> picture = read_image(path.string());
  const index_t H = picture.dim(0), W = 480;
  const Palette palette = data::camvid_info().palette;
  data::Sample frame{Tensor<std::uint8_t>({H, W, 3}), full<std::int32_t>({H, W}, ignored), {}, "docs/images/camvid.jpg"};
  for (index_t y = 0; y < H; ++y)
    for (index_t x = 0; x < W; ++x) {
      int nearest = 3 * 32 * 32;
      for (std::size_t k = 0; k < palette.size(); ++k) {
        int distance = 0;
        for (index_t c = 0; c < 3; ++c) {
          const int image = picture.at(y, x, c), over = picture.at(y, x + W + 4, c);
          const int off = 2 * over - image - palette[k][static_cast<std::size_t>(c)];
          distance += off * off;
        }
        if (distance < nearest) nearest = distance, frame.label.at(y, x) = static_cast<std::int32_t>(k);
      }
      for (index_t c = 0; c < 3; ++c) frame.image.at(y, x, c) = picture.at(y, x, c);
    }
  return frame;
}

/// Of two frames, or all of one: the far end of the street, and its right side.
std::vector<data::Sample> crops() {
  std::vector<data::Sample> found;
  const auto crop = [&](const data::Sample& frame, index_t top, index_t left) {
    found.push_back(data::cropped(frame, top, left, side, side, ignored, {}));
  };
  if (const char* folder = std::getenv("SEGNET_CAMVID")) {
    const data::FolderPairs frames = data::camvid(folder, data::Split::train);
    for (const index_t i : {index_t{0}, frames.size() / 2}) {
      crop(frames.get(i), 150, 200);
      crop(frames.get(i), 180, 360);
    }
  } else {
    const data::Sample frame = committed_frame();
    for (const index_t left : {30, 180, 260, 370}) crop(frame, 150, left);
  }
  return found;
}

std::int32_t most_frequent(const Tensor<std::int32_t>& labels) {
  std::vector<index_t> count(ignored + 1, 0);
  for (index_t i = 0; i < labels.numel(); ++i) ++count[static_cast<std::size_t>(labels.data()[i])];
  return static_cast<std::int32_t>(std::max_element(count.begin(), count.end() - 1) - count.begin());
}

/// The recipe of that name, or of the network that it is a variant of: the longest name that it begins with.
TrainConfig recipe_of(const NetworkInfo& info) {
  const Recipe* found = nullptr;
  for (const Recipe& recipe : recipes())
    if (info.name.starts_with(recipe.name) && (!found || recipe.name.size() > found->name.size())) found = &recipe;
  if (found) return recipe_config(found->name);
  // Classifiers, which the program does not train, as their papers do: VGG section 3.1, ResNet section 3.4.
  REQUIRE(info.classifier);
  const bool vgg = info.name.starts_with("vgg");
  return {.recipe = vgg ? "VGG's paper" : "ResNet's paper",
          .batch = 256,
          .optimizer = "sgd",
          .lr = vgg ? 0.01 : 0.1,
          .weight_decay = vgg ? 5e-4 : 1e-4,
          .momentum = 0.9,
          .schedule = "constant"};
}

}  // namespace

TEST_CASE("training steps at the recipe's settings lower the loss") {
  const std::vector<data::Sample> samples = crops();
  const auto batch = static_cast<index_t>(samples.size());
  const bool all = std::getenv("SEGNET_TRAIN_ALL");
  std::set<std::string> sources;
  for (const NetworkInfo& info : networks()) {
    if (!sources.insert(info.source).second && !all) continue;
    INFO(info.name);
    TrainConfig config = recipe_of(info);
    config.model.name = info.name;
    config.model.width = 8;
    config.model.classes = ignored;
    config.warmup = 0;  // two steps of it would be of no length
    // The finer FCNs go on from the coarser one, at a hundredth of its rate each time; here they begin like it.
    if (info.name.starts_with("fcn16s") || info.name == "fcn8s" || info.name == "crf-rnn") config.lr = recipe_config("fcn32s").lr;
    if (config.optimizer == "sgd" && config.batch > batch) config.lr *= static_cast<double>(batch) / static_cast<double>(config.batch);

    Tensor<float> x({batch, side, side, 3});
    Tensor<std::int32_t> target(info.classifier ? Shape{batch} : Shape{batch, side, side});
    for (index_t n = 0; n < batch; ++n) {
      const data::Sample& sample = samples[static_cast<std::size_t>(n)];
      x.alias({side, side, 3}, n * side * side * 3).copy_from(data::normalized(sample.image, normalization(info)));
      if (info.classifier) target.data()[n] = most_frequent(sample.label);
      else target.alias({side, side}, n * side * side).copy_from(sample.label);
    }
    Tensor<float> class_weight;
    if (config.class_weights == "median-frequency") class_weight = Tensor<float>({ignored}, data::camvid_class_weights, ignored);

    // The losses before each of two steps and after them, at a part of the rate.
    const auto losses_at = [&](double part) {
      default_generator() = {1};
      nn::AnyModule<> network = build_network<>(config.model);
      network.train();  // norms by the statistics of the crops
      const auto optimizer = make_optimizer<Cpu>(config, network.state_dict(), {});
      const optim::Schedule schedule = make_schedule(config, 1000, 100);
      const auto loss = [&] {
        default_generator() = {2};  // drops the same at each step
        const auto loss_of = [&](const Tensor<float>& logits) {
          return cross_entropy(logits, target, {.class_weight = class_weight, .ignore_index = ignored});
        };
        return loss_of_all(config.model, network.outputs(x), loss_of);
      };
      std::vector<float> losses;
      for (const index_t step : {0, 1}) {
        const Tensor<float> now = loss();
        losses.push_back(now.item());
        if (losses.back() > losses.front()) return losses;
        optimizer->zero_grad();
        now.backward();
        optimizer->set_lr(part * schedule.lr(step));
        optimizer->step();
      }
      NoGrad guard;
      losses.push_back(loss().item());
      return losses;
    };
    // Recipes mean trained weights. Gradients of deep networks with norms of the batch's statistics, whose weights were just drawn, are
    // of the order of 500 (deeplab-v3: |g|^2 = 2e5, most of it in the first convolution), and lower the loss by rate * |g|^2, as
    // they should, at a small part of the rate only.
    std::vector<float> losses;
    double part = 1;
    for (; part > 1e-7; part /= 10) {
      losses = losses_at(part);
      if (losses.size() == 3 && losses[1] < losses[0] && losses[2] < losses[0]) break;
    }
    MESSAGE("| ", info.name, " | ", config.recipe, " | ", config.optimizer, " | ", part * config.lr, " | ", part, " | ", losses.front(),
            " | ", losses[1], " | ", losses.back(), " |");
    CHECK(part > 1e-7);
  }
}
