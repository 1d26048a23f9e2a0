// Feature pyramid: Lin, Dollar, Girshick, He, Hariharan, Belongie, "Feature pyramid networks for object detection", arXiv:1612.03144,
// figure 3, on a ResNet, under torchvision's names.
//
//   C5 --1x1--> M5 --3x3--> P5 --> P6 (--> P7)
//                |x2
//   C4 --1x1--> (+) M4 --3x3--> P4            and so on down to C2 or C3
#pragma once

#include <string>
#include <vector>

#include "segnet/models/resnet.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

/// Maps that are coarser than the coarsest of the backbone: none; every second pixel of it (R-CNN's P6); P6 by a convolution of stride 2
/// on P5, and P7 by one on relu(P6) (FCOS, RetinaNet).
enum class FpnExtra { none, max_pool, p6p7 };

struct FpnOptions {
  std::vector<index_t> in_channels = {256, 512, 1024, 2048};  ///< of the backbone's maps, finest first
  index_t channels = 256;
  FpnExtra extra = FpnExtra::max_pool;
};

/// Maps [N, H, W, in_channels], finest first -> maps of the same sizes [N, H, W, channels], and the extra ones behind. No norms, no ReLU.
template <class T = float, class D = Cpu>
struct FeaturePyramid {
  nn::ModuleList<nn::Conv2d<T, D>> inner_blocks, layer_blocks;
  std::optional<nn::Conv2d<T, D>> p6, p7;
  FpnExtra extra;

  explicit FeaturePyramid(const FpnOptions& o = {}) : extra(o.extra) {
    const auto conv = [](index_t in, index_t out, index_t kernel, index_t stride) {
      nn::Conv2d<T, D> c(in, out, kernel, {.stride = stride, .padding = kernel / 2});
      nn::init::kaiming_uniform(c.weight, default_generator(), 1);
      c.bias.fill(0);
      return c;
    };
    for (const index_t in : o.in_channels) {
      inner_blocks.push_back(conv(in, o.channels, 1, 1));
      layer_blocks.push_back(conv(o.channels, o.channels, 3, 1));
    }
    if (extra != FpnExtra::p6p7) return;
    p6 = conv(o.channels, o.channels, 3, 2);
    p7 = conv(o.channels, o.channels, 3, 2);
  }

  std::vector<Tensor<T, D>> operator()(const std::vector<Tensor<T, D>>& maps) const {
    if (maps.size() != inner_blocks.size())
      throw ValueError("FeaturePyramid", "maps", concat(inner_blocks.size(), " maps"), concat(maps.size()));
    std::vector<Tensor<T, D>> pyramid(maps.size());
    Tensor<T, D> above;
    for (std::size_t i = maps.size(); i-- > 0;) {
      Tensor<T, D> merged = inner_blocks[i](maps[i]);
      if (above) merged = merged + resize(above, {merged.dim(1), merged.dim(2)}, InterpolateMode::nearest);
      pyramid[i] = layer_blocks[i](merged);
      above = merged;
    }
    if (extra == FpnExtra::max_pool) pyramid.push_back(max_pool2d(pyramid.back(), {.kernel = 1, .stride = 2}).output);
    if (p6) {
      pyramid.push_back((*p6)(pyramid.back()));
      pyramid.push_back((*p7)(relu(pyramid.back())));
    }
    return pyramid;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.inner_blocks.size(); ++i) visit(concat("inner_blocks.", i, ".0"), self.inner_blocks[i]);
    for (std::size_t i = 0; i < self.layer_blocks.size(); ++i) visit(concat("layer_blocks.", i, ".0"), self.layer_blocks[i]);
    visit("extra_blocks.p6", self.p6);
    visit("extra_blocks.p7", self.p7);
  }
};

/// A ResNet and the pyramid on its layers first_layer ... 4. [N, H, W, in_channels] -> maps at strides 2^(first_layer + 1), ...
template <class T = float, class D = Cpu>
struct ResNetFpn {
  ResNetBody<T, D> body;
  FeaturePyramid<T, D> fpn;
  int first_layer;

  ResNetFpn(const ResNetOptions& o, int first, index_t channels, FpnExtra extra)
      : body(o), fpn({in_channels(o, first), channels, extra}), first_layer(first) {}

  std::vector<Tensor<T, D>> operator()(const Tensor<T, D>& x) const {
    const auto c1 = body.layer1(body.stem(x)), c2 = body.layer2(c1), c3 = body.layer3(c2), c4 = body.layer4(c3);
    const Tensor<T, D> maps[] = {c1, c2, c3, c4};
    return fpn(std::vector<Tensor<T, D>>(maps + first_layer - 1, maps + 4));
  }
  SEGNET_FIELDS(body, fpn)

 private:
  static std::vector<index_t> in_channels(const ResNetOptions& o, int first) {
    std::vector<index_t> channels;
    for (int layer = first; layer <= 4; ++layer) channels.push_back(o.channels(layer));
    return channels;
  }
};

}  // namespace segnet::models
