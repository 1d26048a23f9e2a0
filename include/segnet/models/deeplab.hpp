// DeepLab v1 and v2: Chen, Papandreou, Kokkinos, Murphy, Yuille, "Semantic image segmentation with deep convolutional nets and fully
// connected CRFs", arXiv:1412.7062, section 3.1, and "DeepLab", arXiv:1606.00915, section 3 (figures 5 and 7: ASPP).
// Layers on VGG-16 have Caffe's names; those on ResNet torchvision's, under `backbone`.
//
// At test time logits are resized eight times; at training labels may be taken at every eighth pixel instead (`coarse`). The dense
// CRF behind the network is in crf/dense_crf.hpp.
#pragma once

#include <algorithm>

#include "segnet/models/aspp.hpp"
#include "segnet/models/caffe_vgg16.hpp"
#include "segnet/models/resnet.hpp"

namespace segnet::models {

/// fc6 of VGG-16 as a dilated convolution, and how wide fc6 and fc7 are.
struct DeepLabBranch {
  index_t kernel = 3;
  index_t dilation = 12;
  index_t channels = 1024;
};

struct DeepLabVggOptions {
  index_t in_channels = 3;
  index_t classes = 21;
  index_t width = 64;                       ///< channels of VGG-16's first block
  std::vector<DeepLabBranch> branches{{}};  ///< one: v1. Several: v2's ASPP, whose logits are added up
  bool average_pool = true;                 ///< 3x3 behind pool5, as LargeFOV has it; without in ASPP

  /// v1's table 2: 7x7 kernels at dilation 4; 4x4 at 4 or 8; and LargeFOV, 3x3 at 12 with a quarter of the channels (the default).
  [[nodiscard]] static DeepLabVggOptions v1(const DeepLabBranch& fc6) { return {.branches = {fc6}, .average_pool = fc6.kernel == 3}; }
  /// v2's ASPP-S: rates 2, 4, 8, 12; ASPP-L: 6, 12, 18, 24.
  [[nodiscard]] static DeepLabVggOptions v2(const std::vector<index_t>& rates = {6, 12, 18, 24}) {
    DeepLabVggOptions o{.branches = {}, .average_pool = false};
    for (const index_t rate : rates) o.branches.push_back({.dilation = rate});
    return o;
  }
};

/// VGG-16 at output stride 8: pools are 3x3, pool4 and pool5 have stride 1, block 5 is dilated by 2; fc6 and fc7 are convolutions.
/// [N, H, W, in_channels] -> logits [N, H, W, classes]. Names conv1_1, ..., fc6, fc7, fc8; with several branches fc6_1, fc7_1, fc8_1,
/// fc6_2, ...
template <class T = float, class D = Cpu>
struct DeepLabVgg {
  struct Branch {
    nn::Conv2d<T, D> fc6, fc7, fc8;
  };
  CaffeVgg16<T, D> vgg;
  std::vector<Branch> branches;
  nn::Dropout dropout;
  DeepLabVggOptions options;

  explicit DeepLabVgg(const DeepLabVggOptions& o = {})
      : vgg(o.in_channels, o.width,
            [](std::size_t block, std::size_t) {
              return block == 4 ? Conv2dOptions{.padding = 2, .dilation = 2} : Conv2dOptions{.padding = 1};
            }),
        options(o) {
    if (o.branches.empty()) throw ValueError("DeepLabVgg", "branches", "at least one", "none");
    for (const DeepLabBranch& b : o.branches) {
      Branch branch{{8 * o.width, b.channels, b.kernel, {.padding = same_padding(b.kernel, b.dilation), .dilation = b.dilation}},
                    {b.channels, b.channels, 1},
                    {b.channels, o.classes, 1}};
      detail::he_normal(branch.fc6);
      detail::he_normal(branch.fc7);
      nn::init::normal(branch.fc8.weight, default_generator(), 0, 0.01);
      branch.fc8.bias.fill(0);
      branches.push_back(std::move(branch));
    }
  }

  /// Logits at the network's own size, ceil(H / 8) x ceil(W / 8).
  Tensor<T, D> coarse(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (std::size_t b = 0; b < 5; ++b) y = max_pool2d(vgg(b, y), {.kernel = 3, .stride = b < 3 ? 2 : 1, .padding = 1}).output;
    if (options.average_pool) y = avg_pool2d(y, {.kernel = 3, .stride = 1, .padding = 1});
    Tensor<T, D> sum;
    for (const Branch& branch : branches) {
      const auto h6 = dropout(nn::conv_norm_act(branch.fc6, Activation::relu, y));
      const auto logits = branch.fc8(dropout(nn::conv_norm_act(branch.fc7, Activation::relu, h6)));
      sum = sum ? sum + logits : logits;
    }
    return sum;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(coarse(x), {x.dim(1), x.dim(2)}); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    CaffeVgg16<T, D>::for_each_field(self.vgg, visit);
    for (std::size_t i = 0; i < self.branches.size(); ++i) {
      const std::string number = self.branches.size() > 1 ? "_" + std::to_string(i + 1) : "";
      visit("fc6" + number, self.branches[i].fc6);
      visit("fc7" + number, self.branches[i].fc7);
      visit("fc8" + number, self.branches[i].fc8);
    }
    visit("dropout", self.dropout);
  }
};

struct DeepLabV2Options {
  index_t classes = 21;
  ResNetOptions backbone = {.depth = 101, .output_stride = 8, .stride_in = ResNetStride::conv1x1, .dilate_first_block = true};
  std::vector<index_t> rates{6, 12, 18, 24};
};

/// v2 on ResNet-101, with ASPP as a sum of logits. [N, H, W, in_channels] -> logits [N, H, W, classes]
template <class T = float, class D = Cpu>
struct DeepLabV2 {
  ResNetBody<T, D> backbone;
  AsppSum<T, D> aspp;

  explicit DeepLabV2(const DeepLabV2Options& o = {}) : backbone(o.backbone), aspp(o.backbone.channels(4), o.classes, o.rates) {}

  /// Logits at the network's own size, ceil(H / 8) x ceil(W / 8).
  Tensor<T, D> coarse(const Tensor<T, D>& x) const { return aspp(backbone(x)); }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(coarse(x), {x.dim(1), x.dim(2)}); }
  SEGNET_FIELDS(backbone, aspp)
};

/// A network at several scales of the image, its logits fused by the larger one (v2, section 3.1, "MSC"): the scales' weights are shared.
template <class M>
struct MultiScale {
  M network;
  std::vector<double> scales{1, 0.75, 0.5};

  /// The logits of each scale, resized to those of the first, and last their maximum: training adds up the losses of all.
  template <class T, class D>
  std::vector<Tensor<T, D>> logits(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> all;
    for (const double scale : scales) {
      const auto part = [scale](index_t n) { return std::max<index_t>(1, static_cast<index_t>(static_cast<double>(n) * scale + 0.5)); };
      const Extent2 size(part(x.dim(1)), part(x.dim(2)));
      const auto y = network.coarse(size == Extent2(x.dim(1), x.dim(2)) ? x : resize(x, size));
      all.push_back(all.empty() ? y : resize(y, {all[0].dim(1), all[0].dim(2)}));
    }
    Tensor<T, D> fused = all[0];
    for (std::size_t i = 1; i < all.size(); ++i) fused = maximum(fused, all[i]);
    all.push_back(fused);
    return all;
  }
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return resize(logits(x).back(), {x.dim(1), x.dim(2)});
  }
  /// What training takes losses of, at the size of x: the result, and where there are several scales each of them.
  template <class T, class D>
  std::vector<Tensor<T, D>> outputs(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> all = logits(x);
    std::rotate(all.begin(), all.end() - 1, all.end());
    if (scales.size() == 1) all.resize(1);
    for (auto& y : all) y = resize(y, {x.dim(1), x.dim(2)});
    return all;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    std::remove_cvref_t<decltype(self.network)>::for_each_field(self.network, visit);
  }
};

}  // namespace segnet::models
