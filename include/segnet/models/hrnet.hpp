// HRNetV2: Wang et al., "Deep high-resolution representation learning for visual recognition", arXiv:1908.07919, figures 2 to 4, with or
// without object-contextual representations (ocr.hpp). Branches of several resolutions side by side, w channels in the finest, exchange
// what they know at each x:
//
//   1/4    stem, layer1 --+-- w -- x ---- w -- x ---- w -- x --+-- concatenated, 15 w
//   1/8                   +-- 2w - x ---- 2w - x ---- 2w - x --+
//   1/16                            +---- 4w - x ---- 4w - x --+
//   1/32                                        +---- 8w - x --+
//                  stage 2, 1 module      3, 4        4, 3
//
// Names follow HRNet-Semantic-Segmentation.
#pragma once

#include <array>

#include "segnet/models/fcn_head.hpp"
#include "segnet/models/ocr.hpp"
#include "segnet/models/resnet.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

struct HrNetOptions {
  index_t classes = 19;
  index_t in_channels = 3;
  index_t width = 48;                   ///< channels of the finest branch: 18, 32, 48
  std::array<int, 3> modules{1, 4, 3};  ///< of stages 2, 3, 4
  int blocks = 4;                       ///< of each branch of a module
  int layer1_blocks = 4;
  index_t layer1_width = 64;  ///< of the 3x3 convolutions in layer1, which gives four times as many channels
  bool align_corners = true;  ///< of all resizing; false for the authors' weights for Cityscapes without OCR
  std::optional<OcrOptions> ocr = {};

  [[nodiscard]] static HrNetOptions small_v1() {
    return {.width = 16, .modules = {1, 1, 1}, .blocks = 2, .layer1_blocks = 1, .layer1_width = 32};
  }
  [[nodiscard]] static HrNetOptions small_v2() { return {.width = 18, .modules = {1, 3, 2}, .blocks = 2, .layer1_blocks = 2}; }
};

/// The maps of the branches, the finest first.
template <class T = float, class D = Cpu>
using HrMaps = std::vector<Tensor<T, D>>;

/// Convolutions that take one branch's map to another branch.
template <class T = float, class D = Cpu>
struct HrPath {
  nn::ModuleList<ConvBnRelu<T, D>> convs;
  bool finer = false;  ///< or as fine; else coarser: 3x3 with stride 2 as often as it takes

  /// The residual is added before the last activation.
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& residual = {}) const {
    Tensor<T, D> y = x;
    for (std::size_t i = 0; i + 1 < convs.size(); ++i) y = convs[i](y);
    return convs[convs.size() - 1](y, residual);
  }

  /// A Sequential of convolution 0 and norm 1, or one of such Sequentials.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    if (self.finer) ConvBnRelu<T, D>::for_each_field(self.convs[0], visit);
    else nn::ModuleList<ConvBnRelu<T, D>>::for_each_field(self.convs, visit);
  }
};

/// Blocks in each branch, then the exchange, figure 3: each branch gets relu of the sum of all, by 1x1 convolutions resized up, by strided
/// 3x3 convolutions down.
template <class T = float, class D = Cpu>
struct HrModule {
  nn::ModuleList<ResidualLayer<T, D>> branches;
  nn::ModuleList<nn::ModuleList<std::optional<HrPath<T, D>>>> fuse_layers;  // [to][from], none from a branch to itself
  bool align_corners;

  HrModule(std::size_t count, const HrNetOptions& o) : align_corners(o.align_corners) {
    const auto channels = [&](std::size_t branch) { return o.width << branch; };
    for (std::size_t i = 0; i < count; ++i) {
      branches.push_back({});
      for (int block = 0; block < o.blocks; ++block)
        branches[i].push_back(ResidualBlock<T, D>({.in = channels(i), .width = channels(i), .out = channels(i), .bottleneck = false}));
    }
    for (std::size_t i = 0; i < count; ++i) {
      fuse_layers.push_back({});
      for (std::size_t j = 0; j < count; ++j) {
        if (i == j) {
          fuse_layers[i].push_back({});
          continue;
        }
        HrPath<T, D> path{{}, j > i};
        if (j > i) path.convs.push_back({channels(j), channels(i), {.kernel = 1, .activation = Activation::none}});
        for (std::size_t k = j + 1; k < i; ++k) path.convs.push_back({channels(j), channels(j), {.stride = 2}});
        if (j < i)  // the last one to be added rectifies the sum
          path.convs.push_back({channels(j), channels(i), {.stride = 2, .activation = j + 1 == i ? Activation::relu : Activation::none}});
        fuse_layers[i].push_back(std::move(path));
      }
    }
  }

  HrMaps<T, D> operator()(HrMaps<T, D> x) const {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = branches[i](x[i]);
    HrMaps<T, D> y;
    for (std::size_t i = 0; i < x.size(); ++i) {
      Tensor<T, D> sum = x[i];
      for (std::size_t j = i + 1; j < x.size(); ++j)
        sum = sum + resize((*fuse_layers[i][j])(x[j]), {sum.dim(1), sum.dim(2)}, InterpolateMode::bilinear, align_corners);
      for (std::size_t j = 0; j < i; ++j) sum = (*fuse_layers[i][j])(x[j], sum);
      y.push_back(i == 0 ? relu(sum) : sum);
    }
    return y;
  }
  SEGNET_FIELDS(branches, fuse_layers)
};

/// One branch more, begun from the coarsest map there is, then modules.
template <class T = float, class D = Cpu>
struct HrStage {
  nn::ModuleList<std::optional<HrPath<T, D>>> transition;  // none where a branch goes on as it is
  nn::ModuleList<HrModule<T, D>> modules;

  HrMaps<T, D> operator()(HrMaps<T, D> in) const {
    HrMaps<T, D> x;
    for (std::size_t i = 0; i < transition.size(); ++i) {
      const Tensor<T, D>& from = in[std::min(i, in.size() - 1)];
      x.push_back(transition[i] ? (*transition[i])(from) : from);
    }
    in.clear();  // layer1's map is the largest of all
    for (const auto& module : modules) x = module(std::move(x));
    return x;
  }
};

/// The network without its head: [N, H, W, in_channels] -> [N, ceil(H / 4), ceil(W / 4), 15 width].
template <class T = float, class D = Cpu>
struct HrNetBody {
  ConvBnRelu<T, D> stem1, stem2;
  ResidualLayer<T, D> layer1;
  std::vector<HrStage<T, D>> stages;  // 2, 3, 4
  bool align_corners;

  explicit HrNetBody(const HrNetOptions& o = {})
      : stem1(o.in_channels, 64, {.stride = 2}), stem2(64, 64, {.stride = 2}), align_corners(o.align_corners) {
    std::vector<index_t> in{4 * o.layer1_width};  // channels of the branches there are
    for (int block = 0; block < o.layer1_blocks; ++block)
      layer1.push_back(ResidualBlock<T, D>({.in = block == 0 ? 64 : in[0], .width = o.layer1_width, .out = in[0]}));
    for (const int modules : o.modules) {
      HrStage<T, D>& stage = stages.emplace_back();
      std::vector<index_t> out;
      for (std::size_t i = 0; i <= stages.size(); ++i) {
        out.push_back(o.width << i);
        HrPath<T, D> path{{}, i < in.size()};
        path.convs.push_back({path.finer ? in[i] : in.back(), out[i], {.stride = path.finer ? 1 : 2}});
        if (path.finer && in[i] == out[i]) stage.transition.push_back({});
        else stage.transition.push_back(std::move(path));
      }
      for (int m = 0; m < modules; ++m) stage.modules.push_back({out.size(), o});
      in = out;
    }
    nn::for_each_module(*this, [](const std::string&, auto& layer) {  // as the authors do, who load ImageNet's weights then
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(layer)>, nn::Conv2d<T, D>>)
        nn::init::normal(layer.weight, default_generator(), 0, 1e-3);
    });
  }

  HrMaps<T, D> maps(const Tensor<T, D>& x) const {
    Tensor<T, D> y = stem1(x);
    y = stem2(y);
    HrMaps<T, D> maps{layer1(y)};
    for (const auto& stage : stages) maps = stage(std::move(maps));
    return maps;
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    HrMaps<T, D> all = maps(x);
    const Extent2 size{all[0].dim(1), all[0].dim(2)};
    for (std::size_t i = 1; i < all.size(); ++i) all[i] = resize(all[i], size, InterpolateMode::bilinear, align_corners);
    return concat(all, -1);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("conv1", self.stem1.conv);
    visit("bn1", self.stem1.norm);
    visit("conv2", self.stem2.conv);
    visit("bn2", self.stem2.norm);
    visit("layer1", self.layer1);
    for (std::size_t i = 0; i < self.stages.size(); ++i) {
      visit(segnet::concat("transition", i + 1), self.stages[i].transition);
      visit(segnet::concat("stage", i + 2), self.stages[i].modules);
    }
  }
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. With OCR the head's logits are the coarse ones, on which an auxiliary loss of
/// weight 0.4 is.
template <class T = float, class D = Cpu>
struct HrNet {
  HrNetBody<T, D> body;
  ConvBnRelu<T, D> hidden;
  nn::Conv2d<T, D> score;
  std::optional<Ocr<T, D>> ocr;

  explicit HrNet(const HrNetOptions& o = {})
      : body(o), hidden(15 * o.width, 15 * o.width, {.kernel = 1, .bias = nn::Bias::yes}), score(15 * o.width, o.classes, 1) {
    if (o.ocr) ocr.emplace(15 * o.width, o.classes, *o.ocr);
  }

  /// At a quarter of the resolution: [N, ceil(H / 4), ceil(W / 4), classes].
  SegmentationOutput<T, D> coarse(const Tensor<T, D>& x) const {
    const Tensor<T, D> features = body(x), scores = score(hidden(features));
    if (!ocr) return {scores, {}};
    return {(*ocr)(features, scores), scores};
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return up(coarse(x).out, x); }
  SegmentationOutput<T, D> with_aux(const Tensor<T, D>& x) const {
    const auto [out, aux] = coarse(x);
    return {up(out, x), aux ? up(aux, x) : aux};
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    HrNetBody<T, D>::for_each_field(self.body, visit);
    if (self.ocr) Ocr<T, D>::for_each_field(*self.ocr, visit);
    const std::string head = self.ocr ? "aux_head." : "last_layer.";
    visit(head + "0", self.hidden.conv);
    visit(head + "1", self.hidden.norm);
    visit(head + "3", self.score);
  }

 private:
  Tensor<T, D> up(const Tensor<T, D>& logits, const Tensor<T, D>& x) const {
    return resize(logits, {x.dim(1), x.dim(2)}, InterpolateMode::bilinear, body.align_corners);
  }
};

}  // namespace segnet::models
