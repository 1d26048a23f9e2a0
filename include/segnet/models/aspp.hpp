// Atrous spatial pyramid pooling: parallel convolutions of different dilation see a map at different scales. As DeepLab v2 adds them up
// (Chen et al., arXiv:1606.00915, figure 7), and as v3 and v3+ concatenate them (arXiv:1706.05587, figure 5; arXiv:1802.02611).
#pragma once

#include <vector>

#include "segnet/models/conv_bn_relu.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

/// v2 on ResNet: a 3x3 convolution to logits for each rate, summed; nothing else. [N, H, W, in] -> [N, H, W, classes]
/// Names c0, c1, ...
template <class T = float, class D = Cpu>
struct AsppSum {
  nn::ModuleList<nn::Conv2d<T, D>> branches;

  AsppSum(index_t in, index_t classes, const std::vector<index_t>& rates) {
    for (const index_t rate : rates) {
      branches.push_back({in, classes, 3, {.padding = rate, .dilation = rate}});
      nn::init::normal(branches.back().weight, default_generator(), 0, 0.01);
      branches.back().bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = branches[0](x);
    for (std::size_t i = 1; i < branches.size(); ++i) y = y + branches[i](x);
    return y;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.branches.size(); ++i) visit("c" + std::to_string(i), self.branches[i]);
  }
};

struct AsppOptions {
  index_t in = 2048;
  index_t channels = 256;
  std::vector<index_t> rates{12, 24, 36};  ///< for output stride 8; half of them for 16
  Separable separable = Separable::no;
  double dropout = 0.5;
};

/// v3: a 1x1 convolution, a 3x3 convolution for each rate and the image's mean, each with `channels`, norm and ReLU, concatenated and
/// projected to `channels`. [N, H, W, in] -> [N, H, W, channels]
/// Names as torchvision's and segmentation_models.pytorch's: convs.0 (1x1), convs.1 ... (rates), convs.4 (mean), project.
/// Training needs batches of at least 2, since the mean's norm sees one pixel an image.
template <class T = float, class D = Cpu>
struct Aspp {
  nn::ModuleList<ConvBnRelu<T, D>> convs;
  ConvBnRelu<T, D> mean, project;
  nn::Dropout dropout;

  explicit Aspp(const AsppOptions& o = {})
      : mean(o.in, o.channels, {.kernel = 1}),
        project(o.channels * (static_cast<index_t>(o.rates.size()) + 2), o.channels, {.kernel = 1}),
        dropout{o.dropout} {
    convs.push_back({o.in, o.channels, {.kernel = 1}});
    for (const index_t rate : o.rates) convs.push_back({o.in, o.channels, {.dilation = rate, .separable = o.separable}});
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    std::vector<Tensor<T, D>> maps;
    for (const auto& conv : convs) maps.push_back(conv(x));
    maps.push_back(resize(mean(adaptive_avg_pool2d(x, 1)), {x.dim(1), x.dim(2)}));
    return dropout(project(concat(maps, -1)));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    std::size_t i = 0;
    for (; i < self.convs.size(); ++i) visit("convs." + std::to_string(i), self.convs[i]);
    ConvBnRelu<T, D>::for_each_field_at(
        self.mean, [&](const std::string& name, auto& field) { visit(segnet::concat("convs.", i, ".", name), field); }, 1);
    visit("project", self.project);
    visit("project.3", self.dropout);
  }
};

}  // namespace segnet::models
