// UPerNet: Xiao, Liu, Zhou, Jiang, Sun, "Unified perceptual parsing for scene understanding", arXiv:1807.10221, figure 4: a pyramid of
// averages over the coarsest map, then a feature pyramid. As mmsegmentation has it, under its names.
#pragma once

#include <array>

#include "segnet/models/fcn_head.hpp"
#include "segnet/models/pyramid_pooling.hpp"

namespace segnet::models {

struct UPerHeadOptions {
  std::array<index_t, 4> in{64, 128, 256, 512};  ///< channels of the maps, fine to coarse
  index_t channels = 512;                        ///< within the head
  index_t classes = 150;
  std::vector<index_t> bins{1, 2, 3, 6};
  double dropout = 0.1;  ///< of whole channels, before the classifier
};

/// c1 ... c4 [N, h, w, in[i]], each half as large as the one before, -> logits [N, h, w, classes] of c1's size:
///
///   l4 = 3x3(PPM(c4)),   l3 = 1x1(c3) + up(l4),   l2 = 1x1(c2) + up(l3),   l1 = 1x1(c1) + up(l2)
///   logits = classifier(3x3([3x3(l1), up(3x3(l2)), up(3x3(l3)), up(l4)]))
///
/// all but the classifier with norm and ReLU. Training needs batches of at least 2, since the norm of the 1x1 grid sees one pixel an image.
template <class T = float, class D = Cpu>
struct UPerHead {
  using Unit = ConvBnRelu<T, D>;
  nn::Conv2d<T, D> conv_seg;
  PyramidPooling<T, D> psp_modules;
  Unit bottleneck;
  nn::ModuleList<Unit> lateral_convs, fpn_convs;
  Unit fpn_bottleneck;
  nn::Dropout2d dropout;

  explicit UPerHead(const UPerHeadOptions& o = {})
      : conv_seg(o.channels, o.classes, 1),
        psp_modules({.in = o.in[3], .bins = o.bins, .channels = o.channels, .align_corners = false}),
        bottleneck(o.in[3] + static_cast<index_t>(o.bins.size()) * o.channels, o.channels),
        fpn_bottleneck(4 * o.channels, o.channels),
        dropout{o.dropout} {
    for (std::size_t i = 0; i < 3; ++i) {
      lateral_convs.push_back({o.in[i], o.channels, {.kernel = 1}});
      fpn_convs.push_back({o.channels, o.channels});
    }
    for_each_unit(*this, [](const std::string&, Unit& unit) {
      nn::init::kaiming_normal_fan_out<Master<T>, D>(unit.conv.weight, default_generator());
    });
    nn::init::normal<Master<T>, D>(conv_seg.weight, default_generator(), 0, 0.01);
    conv_seg.bias.fill(0);
  }

  Tensor<T, D> operator()(const std::array<Tensor<T, D>, 4>& c) const {
    std::array<Tensor<T, D>, 4> l;
    l[3] = bottleneck(psp_modules(c[3]));
    for (std::size_t i = 3; i-- > 0;) l[i] = lateral_convs[i](c[i]) + resize(l[i + 1], {c[i].dim(1), c[i].dim(2)});
    const Extent2 size{l[0].dim(1), l[0].dim(2)};
    return conv_seg(dropout(fpn_bottleneck(
        concat({fpn_convs[0](l[0]), resize(fpn_convs[1](l[1]), size), resize(fpn_convs[2](l[2]), size), resize(l[3], size)}, -1))));
  }

  /// A unit's parts are called conv and bn.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("conv_seg", self.conv_seg);
    for_each_unit(self, [&](const std::string& name, auto& unit) {
      visit(name + ".conv", unit.conv);
      visit(name + ".bn", unit.norm);
    });
    visit("dropout", self.dropout);
  }

 private:
  template <class Self, class Visit>
  static void for_each_unit(Self& self, const Visit& visit) {
    const auto all = [&](const char* name, const char* inside, auto& units) {
      for (std::size_t i = 0; i < units.size(); ++i) visit(segnet::concat(name, ".", i, inside), units[i]);
    };
    all("psp_modules", ".1", self.psp_modules.features);
    visit("bottleneck", self.bottleneck);
    all("lateral_convs", "", self.lateral_convs);
    all("fpn_convs", "", self.fpn_convs);
    visit("fpn_bottleneck", self.fpn_bottleneck);
  }
};

/// A backbone that gives maps c1 ... c4, the head, and on request an auxiliary one on c3, for a loss of weight 0.4.
/// [N, H, W, 3] -> logits [N, H, W, classes], those of 1/4 of the size resized.
template <class Backbone, class T = float, class D = Cpu>
struct UPerNet {
  Backbone backbone;
  UPerHead<T, D> decode_head;
  std::optional<FcnHead<T, D>> auxiliary_head;

  UPerNet(Backbone encoder, const UPerHeadOptions& o, bool aux) : backbone(std::move(encoder)), decode_head(o) {
    if (aux) auxiliary_head.emplace(o.in[2], 256, o.classes);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(decode_head(backbone(x)), {x.dim(1), x.dim(2)}); }

  SegmentationOutput<T, D> with_aux(const Tensor<T, D>& x) const {
    const Extent2 size{x.dim(1), x.dim(2)};
    const auto maps = backbone(x);
    return {resize(decode_head(maps), size), auxiliary_head ? resize((*auxiliary_head)(maps[2]), size) : Tensor<T, D>{}};
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("backbone", self.backbone);
    visit("decode_head", self.decode_head);
    if (!self.auxiliary_head) return;
    auto& head = *self.auxiliary_head;
    visit("auxiliary_head.convs.0.conv", head.hidden.conv);
    visit("auxiliary_head.convs.0.bn", head.hidden.norm);
    visit("auxiliary_head.dropout", head.dropout);
    visit("auxiliary_head.conv_seg", head.score);
  }
};

}  // namespace segnet::models
