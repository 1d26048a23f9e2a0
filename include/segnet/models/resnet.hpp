// ResNet: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", arXiv:1512.03385, table 1, under torchvision's names.
// As segmentation networks use it, too: the last strides replaced by dilation (DeepLab, arXiv:1606.00915; PSPNet, arXiv:1612.01105).
//
//                  at output stride    32      16      8        channels, bottleneck / basic (18, 34)
//   stem     conv 7x7 / 2, pool 3x3 / 2                         64
//   layer1   stride / dilation         1/1     1/1     1/1      256  / 64
//   layer2                             2/1     2/1     2/1      512  / 128
//   layer3                             2/1     2/1     1/2      1024 / 256
//   layer4                             2/1     1/2     1/4      2048 / 512
#pragma once

#include <array>

#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet::models {

/// Which convolution of a bottleneck has the stride: the 3x3 (torchvision's "v1.5") or the first 1x1 (the paper, Caffe).
enum class ResNetStride { conv3x3, conv1x1 };

/// Three 3x3 convolutions in place of the 7x7: none, of 32, 32, 64 channels ("v1c"), or of 64, 64, 128 (PSPNet).
enum class ResNetStem { plain, deep_32_32_64, deep_64_64_128 };

struct ResNetOptions {
  int depth = 50;  ///< 18, 34 (basic blocks), 50, 101, 152 (bottlenecks)
  index_t in_channels = 3;
  index_t classes = 1000;  ///< of the classifier
  index_t width = 64;      ///< channels of the stem and of layer1's 3x3 convolutions
  index_t output_stride = 32;
  ResNetStride stride_in = ResNetStride::conv3x3;
  ResNetStem stem = ResNetStem::plain;
  /// The first block of a dilated layer is dilated like those behind it (Caffe's DeepLab, PSPNet), not like the layer before (torchvision).
  /// What keeps the function of weights trained at stride 32 is false for `conv3x3`, true for `conv1x1`.
  bool dilate_first_block = false;
  std::array<index_t, 3> multi_grid{1, 1, 1};  ///< factors of layer4's dilation, block by block (DeepLab v3: 1, 2, 4)

  [[nodiscard]] bool bottleneck() const { return depth >= 50; }
  /// Channels of layer 1 ... 4.
  [[nodiscard]] index_t channels(int layer) const { return (width << (layer - 1)) * (bottleneck() ? 4 : 1); }
  /// Channels that the stem gives.
  [[nodiscard]] index_t stem_channels() const { return stem == ResNetStem::deep_64_64_128 ? 2 * width : width; }
};

/// What varies from block to block.
struct ResidualBlockOptions {
  index_t in = 64, width = 64, out = 256, stride = 1;
  index_t dilation = 1;         ///< of the (first) 3x3 convolution
  index_t dilation_behind = 1;  ///< of a basic block's second
  bool bottleneck = true;
  ResNetStride stride_in = ResNetStride::conv3x3;
};

/// y = relu(x + F(x)), figure 5: F is 3x3, 3x3, or 1x1, 3x3, 1x1, with norms, and ReLU between. x passes a 1x1 convolution where its shape
/// changes. [N, H, W, in] -> [N, ceil(H / stride), ceil(W / stride), out]
template <class T = float, class D = Cpu>
struct ResidualBlock {
  /// A torch.nn.Sequential of the two.
  struct Downsample {
    nn::Conv2d<T, D> conv;
    nn::BatchNorm2d<T, D> norm;
    template <class Self, class Visit>
    static void for_each_field(Self& self, Visit&& visit) {
      visit("0", self.conv);
      visit("1", self.norm);
    }
  };
  nn::Conv2d<T, D> conv1, conv2;
  nn::BatchNorm2d<T, D> bn1, bn2;
  std::optional<nn::Conv2d<T, D>> conv3;
  std::optional<nn::BatchNorm2d<T, D>> bn3;
  std::optional<Downsample> downsample;

  explicit ResidualBlock(const ResidualBlockOptions& o) : bn1(o.width), bn2(o.width) {
    const auto conv = [](index_t in, index_t out, index_t kernel, index_t stride, index_t dilation) {
      const index_t padding = kernel / 2 * dilation;
      nn::Conv2d<T, D> c(in, out, kernel, {.stride = stride, .padding = padding, .dilation = dilation}, nn::Bias::no);
      nn::init::kaiming_normal_fan_out(c.weight, default_generator());
      return c;
    };
    if (o.bottleneck) {
      const bool first = o.stride_in == ResNetStride::conv1x1;
      conv1 = conv(o.in, o.width, 1, first ? o.stride : 1, 1);
      conv2 = conv(o.width, o.width, 3, first ? 1 : o.stride, o.dilation);
      conv3 = conv(o.width, o.out, 1, 1, 1);
      bn3.emplace(o.out);
    } else {
      conv1 = conv(o.in, o.width, 3, o.stride, o.dilation);
      conv2 = conv(o.width, o.out, 3, 1, o.dilation_behind);
    }
    if (o.in != o.out || o.stride != 1) downsample = Downsample{conv(o.in, o.out, 1, o.stride, 1), nn::BatchNorm2d<T, D>(o.out)};
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    using nn::conv_norm_act;
    const Tensor<T, D> shortcut = downsample ? conv_norm_act(downsample->conv, downsample->norm, Activation::none, x) : x;
    const Tensor<T, D> y = conv_norm_act(conv1, bn1, Activation::relu, x);
    if (!conv3) return conv_norm_act(conv2, bn2, Activation::relu, y, shortcut);
    return conv_norm_act(*conv3, bn3, Activation::relu, conv_norm_act(conv2, bn2, Activation::relu, y), shortcut);
  }
  SEGNET_FIELDS(conv1, bn1, conv2, bn2, conv3, bn3, downsample)
};

/// Blocks, one after the other.
template <class T = float, class D = Cpu>
struct ResidualLayer : nn::ModuleList<ResidualBlock<T, D>> {
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (const auto& block : *this) y = block(y);
    return y;
  }
};

/// The first convolutions and the pooling: [N, H, W, C] -> [N, ceil(H / 4), ceil(W / 4), stem_channels].
template <class T = float, class D = Cpu>
struct ResNetStemLayers {
  nn::ModuleList<nn::Conv2d<T, D>> convs;
  nn::ModuleList<nn::BatchNorm2d<T, D>> norms;

  explicit ResNetStemLayers(const ResNetOptions& o) {
    const bool plain = o.stem == ResNetStem::plain;
    const index_t first = o.stem == ResNetStem::deep_32_32_64 ? o.width / 2 : o.width;
    const auto add = [&](index_t in, index_t out, index_t kernel, index_t stride) {
      convs.push_back({in, out, kernel, {.stride = stride, .padding = kernel / 2}, nn::Bias::no});
      nn::init::kaiming_normal_fan_out(convs.back().weight, default_generator());
      norms.push_back(nn::BatchNorm2d<T, D>(out));
    };
    add(o.in_channels, first, plain ? 7 : 3, 2);
    if (plain) return;
    add(first, first, 3, 1);
    add(first, o.stem_channels(), 3, 1);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (std::size_t i = 0; i < convs.size(); ++i) y = nn::conv_norm_act(convs[i], norms[i], Activation::relu, y);
    return max_pool2d(y, {.kernel = 3, .stride = 2, .padding = 1}).output;
  }

  /// conv1, bn1, conv2, bn2, ...
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.convs.size(); ++i) {
      visit("conv" + std::to_string(i + 1), self.convs[i]);
      visit("bn" + std::to_string(i + 1), self.norms[i]);
    }
  }
};

/// The network without its classifier: [N, H, W, in_channels] -> [N, H / output_stride, W / output_stride, channels(4)], sizes rounded up
/// at every stride. Networks that need the maps between call its parts:
///
///   const auto c1 = body.layer1(body.stem(x)), c2 = body.layer2(c1), c3 = body.layer3(c2), c4 = body.layer4(c3);
template <class T = float, class D = Cpu>
struct ResNetBody {
  ResNetStemLayers<T, D> stem;
  ResidualLayer<T, D> layer1, layer2, layer3, layer4;
  ResNetOptions options;

  explicit ResNetBody(const ResNetOptions& o = {}) : stem(o), options(o) {
    const int row = o.depth == 18 ? 0 : o.depth == 34 ? 1 : o.depth == 50 ? 2 : o.depth == 101 ? 3 : o.depth == 152 ? 4 : -1;
    if (row < 0) throw ValueError("ResNet", "depth", "18, 34, 50, 101 or 152", concat(o.depth));
    if (o.output_stride != 8 && o.output_stride != 16 && o.output_stride != 32)
      throw ValueError("ResNet", "output_stride", "8, 16 or 32", concat(o.output_stride));
    constexpr int blocks[5][4] = {{2, 2, 2, 2}, {3, 4, 6, 3}, {3, 4, 6, 3}, {3, 4, 23, 3}, {3, 8, 36, 3}};

    index_t in = o.stem_channels(), stride_so_far = 4, dilation = 1;
    for (int layer = 1; layer <= 4; ++layer) {
      const index_t before = dilation;
      index_t stride = layer == 1 ? 1 : 2;
      if (stride_so_far * stride > o.output_stride) {
        dilation *= stride;
        stride = 1;
      }
      stride_so_far *= stride;
      for (int block = 0; block < blocks[row][layer - 1]; ++block) {
        const index_t grid = layer == 4 ? o.multi_grid[static_cast<std::size_t>(std::min(block, 2))] : 1;
        const ResidualBlockOptions options_here{.in = in,
                                                .width = o.width << (layer - 1),
                                                .out = o.channels(layer),
                                                .stride = block == 0 ? stride : 1,
                                                .dilation = (block == 0 && !o.dilate_first_block ? before : dilation) * grid,
                                                .dilation_behind = dilation * grid,
                                                .bottleneck = o.bottleneck(),
                                                .stride_in = o.stride_in};
        layers()[static_cast<std::size_t>(layer - 1)]->push_back(ResidualBlock<T, D>(options_here));
        in = o.channels(layer);
      }
    }
  }

  /// What auxiliary heads look at.
  Tensor<T, D> to_layer3(const Tensor<T, D>& x) const { return layer3(layer2(layer1(stem(x)))); }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return layer4(to_layer3(x)); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    ResNetStemLayers<T, D>::for_each_field(self.stem, visit);
    visit("layer1", self.layer1);
    visit("layer2", self.layer2);
    visit("layer3", self.layer3);
    visit("layer4", self.layer4);
  }

 private:
  std::array<ResidualLayer<T, D>*, 4> layers() { return {&layer1, &layer2, &layer3, &layer4}; }
};

/// The classifier: [N, H, W, in_channels] -> logits [N, classes].
template <class T = float, class D = Cpu>
struct ResNet {
  ResNetBody<T, D> body;
  nn::Linear<T, D> fc;

  explicit ResNet(const ResNetOptions& o = {}) : body(o), fc(o.channels(4), o.classes) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return fc(flatten(adaptive_avg_pool2d(body(x), 1), 1)); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    ResNetBody<T, D>::for_each_field(self.body, visit);
    visit("fc", self.fc);
  }
};

}  // namespace segnet::models
