// MobileNetV3-Large: Howard et al., "Searching for MobileNetV3", arXiv:1905.02244, table 1, under torchvision's names.
//
//   feature   kernel   expanded   out   gate   function    stride
//         0        3                16          hardswish        2     a plain convolution
//    1          3         16        16          ReLU             1
//    2, 3       3         64, 72    24          ReLU             2, 1
//    4 ... 6    5         72, 120   40   yes    ReLU             2, 1, 1
//    7 ... 10   3         240, 200, 184, 184    80    hardswish  2, 1, 1, 1
//   11, 12      3         480, 672  112  yes    hardswish        1
//   13 ... 15   5         672, 960  160  yes    hardswish        2, 1, 1    dilated for segmentation: stride 1, dilation 2
//        16        1                960         hardswish        1     a plain convolution
#pragma once

#include "segnet/models/squeeze_excitation.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet::models {

struct MobileNetV3Options {
  index_t in_channels = 3;
  index_t classes = 1000;  ///< of the classifier
  double width = 1;        ///< times the channels, each rounded to a multiple of 8
  bool dilated = false;    ///< output stride 16, not 32

  /// `base` channels at this width: the nearest multiple of 8, one more where that takes off more than a tenth.
  [[nodiscard]] index_t channels(index_t base) const { return multiple_of_8(static_cast<double>(base) * width); }

  [[nodiscard]] static index_t multiple_of_8(double wanted) {
    const index_t nearest = std::max<index_t>(8, static_cast<index_t>(wanted + 4) / 8 * 8);
    return static_cast<double>(nearest) < 0.9 * wanted ? nearest + 8 : nearest;
  }
};

/// What follows a convolution of MobileNetV3.
enum class MobileFunction { none, relu, hardswish };

/// Convolution without bias, batch norm, function: parts 0 and 1 of torchvision's Conv2dNormActivation.
/// [N, H, W, in] -> [N, ceil(H / stride), ceil(W / stride), out]
template <class T = float, class D = Cpu>
struct MobileConv {
  nn::Conv2d<T, D> conv;
  nn::BatchNorm2d<T, D> norm;
  MobileFunction function;

  MobileConv(index_t in, index_t out, index_t kernel, MobileFunction follows, Conv2dOptions options = {})
      : norm(out, {.eps = 1e-3, .momentum = 0.01}), function(follows) {
    options.padding = Extent2(kernel / 2 * options.dilation.h);
    conv = {in, out, kernel, options, nn::Bias::no};
    nn::init::kaiming_normal_fan_out(conv.weight, default_generator());
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& residual = {}) const {
    const auto y = nn::conv_norm_act(conv, norm, function == MobileFunction::relu ? Activation::relu : Activation::none, x, residual);
    return function == MobileFunction::hardswish ? hardswish(y) : y;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("0", self.conv);
    visit("1", self.norm);
  }
};

/// A row of the table.
struct InvertedResidualOptions {
  index_t kernel, expanded, out;
  bool gated;
  MobileFunction function;
  index_t stride = 1, dilation = 1;
};

/// 1x1 convolution to `expanded` channels (where they differ from those of x), depthwise convolution, gate, 1x1 convolution to `out`
/// channels; x is added where the shape stays. Figure 4. [N, H, W, in] -> [N, ceil(H / stride), ceil(W / stride), out]
template <class T = float, class D = Cpu>
struct InvertedResidual {
  std::optional<MobileConv<T, D>> expand;
  MobileConv<T, D> depthwise;
  std::optional<SqueezeExcitation<T, D>> gate;
  MobileConv<T, D> project;
  bool adds = false;

  InvertedResidual(index_t in, const InvertedResidualOptions& o)
      : depthwise(o.expanded, o.expanded, o.kernel, o.function,
                  {.stride = o.dilation > 1 ? 1 : o.stride, .dilation = o.dilation, .groups = o.expanded}),
        project(o.expanded, o.out, 1, MobileFunction::none),
        adds(o.stride == 1 && in == o.out) {
    if (o.expanded != in) expand.emplace(in, o.expanded, 1, o.function);
    if (!o.gated) return;
    gate.emplace(o.expanded, MobileNetV3Options::multiple_of_8(static_cast<double>(o.expanded / 4)));
    for (auto* conv : {&gate->fc1, &gate->fc2}) {
      nn::init::kaiming_normal_fan_out(conv->weight, default_generator());
      conv->bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = depthwise(expand ? (*expand)(x) : x);
    if (gate) y = (*gate)(y);
    return project(y, adds ? x : Tensor<T, D>{});
  }

  /// block.0, block.1, ... in the order in which they are applied.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    int i = 0;
    const auto part = [&](auto& field) { visit(concat("block.", i++), field); };
    if (self.expand) part(self.expand);
    part(self.depthwise);
    if (self.gate) part(self.gate);
    part(self.project);
  }
};

/// The network without its classifier: [N, H, W, in_channels] -> [N, ceil(H / 32), ceil(W / 32), 960], or 16 for 32 if dilated.
template <class T = float, class D = Cpu>
struct MobileNetV3Body {
  nn::ModuleList<InvertedResidual<T, D>> blocks;  // features 1 ... 15
  MobileConv<T, D> first, last;                   // features 0 and 16
  MobileNetV3Options options;

  explicit MobileNetV3Body(const MobileNetV3Options& o = {})
      : first(o.in_channels, o.channels(16), 3, MobileFunction::hardswish, {.stride = 2}),
        last(o.channels(160), 6 * o.channels(160), 1, MobileFunction::hardswish),
        options(o) {
    constexpr auto relu = MobileFunction::relu, hardswish = MobileFunction::hardswish;
    const index_t dilation = o.dilated ? 2 : 1;
    index_t in = o.channels(16);
    for (InvertedResidualOptions row : {InvertedResidualOptions{3, 16, 16, false, relu},
                                        {3, 64, 24, false, relu, 2},
                                        {3, 72, 24, false, relu},
                                        {5, 72, 40, true, relu, 2},
                                        {5, 120, 40, true, relu},
                                        {5, 120, 40, true, relu},
                                        {3, 240, 80, false, hardswish, 2},
                                        {3, 200, 80, false, hardswish},
                                        {3, 184, 80, false, hardswish},
                                        {3, 184, 80, false, hardswish},
                                        {3, 480, 112, true, hardswish},
                                        {3, 672, 112, true, hardswish},
                                        {5, 672, 160, true, hardswish, 2, dilation},
                                        {5, 960, 160, true, hardswish, 1, dilation},
                                        {5, 960, 160, true, hardswish, 1, dilation}}) {
      row.expanded = o.channels(row.expanded);
      row.out = o.channels(row.out);
      blocks.push_back({in, row});
      in = row.out;
    }
  }

  /// Features 0 ... 4, at stride 8: [N, ceil(H / 8), ceil(W / 8), 40].
  Tensor<T, D> to_stride_8(const Tensor<T, D>& x) const { return through(first(x), 0, 4); }
  /// What follows them.
  Tensor<T, D> from_stride_8(const Tensor<T, D>& y) const { return last(through(y, 4, blocks.size())); }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return from_stride_8(to_stride_8(x)); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("0", self.first);
    for (std::size_t i = 0; i < self.blocks.size(); ++i) visit(std::to_string(i + 1), self.blocks[i]);
    visit(std::to_string(self.blocks.size() + 1), self.last);
  }

 private:
  Tensor<T, D> through(Tensor<T, D> y, std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin; i < end; ++i) y = blocks[i](y);
    return y;
  }
};

/// The classifier: [N, H, W, in_channels] -> logits [N, classes].
template <class T = float, class D = Cpu>
struct MobileNetV3 {
  MobileNetV3Body<T, D> features;
  nn::Linear<T, D> hidden, score;
  nn::Dropout dropout{0.2};

  explicit MobileNetV3(const MobileNetV3Options& o = {})
      : features(o), hidden(6 * o.channels(160), o.channels(1280)), score(o.channels(1280), o.classes) {
    for (auto* fc : {&hidden, &score}) {
      nn::init::normal(fc->weight, default_generator(), 0, 0.01);
      fc->bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return score(dropout(hardswish(hidden(flatten(adaptive_avg_pool2d(features(x), 1), 1)))));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("features", self.features);
    visit("classifier.0", self.hidden);
    visit("classifier.2", self.dropout);
    visit("classifier.3", self.score);
  }
};

}  // namespace segnet::models
