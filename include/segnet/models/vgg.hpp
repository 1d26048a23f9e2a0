// VGG: Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv:1409.1556, table 1
// (A = 11, B = 13, D = 16, E = 19), with or without batch norm, under torchvision's names.
#pragma once

#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet::models {

struct VggOptions {
  int depth = 16;           ///< 11, 13, 16 or 19: layers with weights
  bool batch_norm = false;  ///< after each convolution, which keeps its bias
  index_t in_channels = 3;
  index_t classes = 1000;
  index_t width = 64;     ///< channels of the first block; the others have 2, 4, 8 and 8 times as many
  index_t hidden = 4096;  ///< units of the classifier's two hidden layers
};

/// The convolutional part: five blocks of 3x3 convolutions with ReLU, each followed by max pooling.
/// Its parts are numbered as in a torch.nn.Sequential of convolutions, norms, ReLUs and pools: "0.weight", "2.weight", "5.weight", ...
template <class T = float, class D = Cpu>
struct VggFeatures {
  struct Layer {
    std::size_t index;  ///< in that Sequential
    nn::Conv2d<T, D> conv;
    std::optional<nn::BatchNorm2d<T, D>> norm;
  };
  std::vector<Layer> blocks[5];

  explicit VggFeatures(const VggOptions& o = {}) {
    const int deep = o.depth == 11 ? 0 : o.depth == 13 ? 1 : o.depth == 16 ? 2 : o.depth == 19 ? 3 : -1;
    if (deep < 0) throw ValueError("VggFeatures", "depth", "11, 13, 16 or 19", concat(o.depth));
    constexpr int convolutions[4][5] = {{1, 1, 2, 2, 2}, {2, 2, 2, 2, 2}, {2, 2, 3, 3, 3}, {2, 2, 4, 4, 4}};
    std::size_t index = 0;
    index_t in = o.in_channels;
    for (int b = 0; b < 5; ++b) {
      const index_t out = o.width << std::min(b, 3);
      for (int i = 0; i < convolutions[deep][b]; ++i) {
        Layer layer{index, nn::Conv2d<T, D>(in, out, 3, {.padding = 1}), {}};
        nn::init::kaiming_normal(layer.conv.weight, default_generator());
        layer.conv.bias.fill(0);
        if (o.batch_norm) layer.norm.emplace(out);
        blocks[b].push_back(std::move(layer));
        index += o.batch_norm ? 3 : 2;
        in = out;
      }
      ++index;  // the pool
    }
  }

  /// Block b = 0 ... 4, its pooling included. [N, H, W, C] -> [N, H / 2, W / 2, C'], rounded down.
  Tensor<T, D> block(std::size_t b, const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (const Layer& layer : blocks[b]) y = nn::conv_norm_act(layer.conv, layer.norm, Activation::relu, y);
    return max_pool2d(y, {.kernel = 2}).output;
  }
  /// The stages pool1 ... pool5: every block's output.
  std::vector<Tensor<T, D>> stages(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> all;
    for (std::size_t b = 0; b < 5; ++b) all.push_back(block(b, b ? all.back() : x));
    return all;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (std::size_t b = 0; b < 5; ++b) y = block(b, y);
    return y;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (auto& block : self.blocks)
      for (auto& layer : block) {
        visit(std::to_string(layer.index), layer.conv);
        visit(std::to_string(layer.index + 1), layer.norm);
      }
  }
};

/// The classifier: [N, H, W, in_channels] -> logits [N, classes], H and W at least 32. As torchvision's, it pools the last map to
/// 7x7, which changes nothing at 224x224, and flattens it in PyTorch's order, so that `classifier.0.weight` is exchangeable.
template <class T = float, class D = Cpu>
struct Vgg {
  VggFeatures<T, D> features;
  nn::Linear<T, D> fc6, fc7, fc8;
  nn::Dropout dropout;

  explicit Vgg(const VggOptions& o = {}) : features(o), fc6(8 * o.width * 49, o.hidden), fc7(o.hidden, o.hidden), fc8(o.hidden, o.classes) {
    for (auto* fc : {&fc6, &fc7, &fc8}) {
      nn::init::normal(fc->weight, default_generator(), 0, 0.01);
      fc->bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> y = permute(adaptive_avg_pool2d(features(x), 7), {0, 3, 1, 2});
    return fc8(dropout(relu(fc7(dropout(relu(fc6(flatten(y, 1))))))));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("features", self.features);
    visit("classifier.0", self.fc6);
    visit("dropout", self.dropout);
    visit("classifier.3", self.fc7);
    visit("classifier.6", self.fc8);
  }
};

}  // namespace segnet::models
