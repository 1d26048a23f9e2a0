// PSPNet: Zhao, Shi, Qi, Wang, Jia, "Pyramid scene parsing network", arXiv:1612.01105, figure 3. Names follow the authors' PyTorch code.
#pragma once

#include "segnet/models/fcn_head.hpp"
#include "segnet/models/pyramid_pooling.hpp"
#include "segnet/models/resnet.hpp"

namespace segnet::models {

struct PspNetOptions {
  index_t classes = 21;
  bool aux = true;  ///< an auxiliary head on layer3, for a loss of weight 0.4 (section 3.3)
  /// `.stem = ResNetStem::deep_64_64_128` is what the authors' own weights want.
  ResNetOptions backbone = {.output_stride = 8, .dilate_first_block = true};
  std::vector<index_t> bins{1, 2, 3, 6};
  PyramidPool pool = PyramidPool::average;
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. Training needs batches of at least 2. Sides of 8 n + 1 keep corners aligned; crops
/// of 473 and 713 give maps of 60 and 90, which the grids divide.
template <class T = float, class D = Cpu>
struct PspNet {
  ResNetBody<T, D> backbone;
  PyramidPooling<T, D> ppm;
  FcnHead<T, D> cls;
  std::optional<FcnHead<T, D>> aux;

  explicit PspNet(const PspNetOptions& o = {})
      : backbone(o.backbone),
        ppm({.in = o.backbone.channels(4), .bins = o.bins, .pool = o.pool}),
        cls(2 * o.backbone.channels(4), o.backbone.channels(4) / 4, o.classes) {
    if (o.aux) aux.emplace(o.backbone.channels(3), o.backbone.channels(3) / 4, o.classes);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return up(cls(ppm(backbone(x))), x); }

  SegmentationOutput<T, D> with_aux(const Tensor<T, D>& x) const {
    const auto c3 = backbone.to_layer3(x);
    return {up(cls(ppm(backbone.layer4(c3))), x), aux ? up((*aux)(c3), x) : Tensor<T, D>{}};
  }

  /// layer0 is the stem in a torch.nn.Sequential: convolution 0, norm 1, ReLU 2, and with a deep stem 3, 4, 5 and 6, 7, 8.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.backbone.stem.convs.size(); ++i) {
      visit(segnet::concat("layer0.", 3 * i), self.backbone.stem.convs[i]);
      visit(segnet::concat("layer0.", 3 * i + 1), self.backbone.stem.norms[i]);
    }
    visit("layer1", self.backbone.layer1);
    visit("layer2", self.backbone.layer2);
    visit("layer3", self.backbone.layer3);
    visit("layer4", self.backbone.layer4);
    visit("ppm", self.ppm);
    visit("cls", self.cls);
    visit("aux", self.aux);
  }

 private:
  static Tensor<T, D> up(const Tensor<T, D>& logits, const Tensor<T, D>& x) {
    return resize(logits, {x.dim(1), x.dim(2)}, InterpolateMode::bilinear, /*align_corners=*/true);
  }
};

}  // namespace segnet::models
