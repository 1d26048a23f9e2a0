// SegFormer: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: simple and efficient design for semantic segmentation with transformers",
// arXiv:2105.15203, figure 2, under NVlabs' names. (Their files hold a decode_head.conv_seg, too, which nothing uses.)
#pragma once

#include "segnet/models/mix_transformer.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

/// A 1x1 convolution and what may follow, under mmcv's names, conv and bn. With a norm it has no bias.
template <class T = float, class D = Cpu>
struct ConvModule {
  nn::Conv2d<T, D> conv;
  std::optional<nn::BatchNorm2d<T, D>> bn;
  Activation activation = Activation::relu;

  ConvModule(index_t in, index_t out, bool norm = true, Activation act = Activation::relu)
      : conv(in, out, 1, {}, norm ? nn::Bias::no : nn::Bias::yes), activation(act) {
    if (norm) bn.emplace(out);
  }
  /// activation(norm(conv(x)) + residual)
  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& residual = {}) const {
    return nn::conv_norm_act(conv, bn, activation, x, residual);
  }
  SEGNET_FIELDS(conv, bn)
};

/// A linear layer for each pixel, under the name proj.
template <class T = float, class D = Cpu>
struct PixelLinear {
  nn::Linear<T, D> proj;
  PixelLinear(index_t in, index_t out) : proj(in, out) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return proj(x); }
  SEGNET_FIELDS(proj)
};

struct SegFormerOptions {
  index_t classes = 150;
  MixTransformerOptions backbone = {};
  index_t embed = 256;  ///< channels of each map in the decoder
  double dropout = 0.1;

  /// SegFormer-B0 ... B5. @throws ValueError
  [[nodiscard]] static SegFormerOptions b(int size) { return {.backbone = MixTransformerOptions::b(size), .embed = size < 2 ? 256 : 768}; }
};

/// Section 3.2: all maps in `embed` channels, as large as the first, side by side, mixed by a 1x1 convolution.
/// c1 ... c4 -> logits [N, H / 4, W / 4, classes]
template <class T = float, class D = Cpu>
struct SegFormerHead {
  PixelLinear<T, D> linear_c4, linear_c3, linear_c2, linear_c1;
  ConvModule<T, D> linear_fuse;
  nn::Dropout dropout;
  nn::Conv2d<T, D> linear_pred;

  explicit SegFormerHead(const SegFormerOptions& o)
      : linear_c4(o.backbone.channels[3], o.embed),
        linear_c3(o.backbone.channels[2], o.embed),
        linear_c2(o.backbone.channels[1], o.embed),
        linear_c1(o.backbone.channels[0], o.embed),
        linear_fuse(4 * o.embed, o.embed),
        dropout{o.dropout},
        linear_pred(o.embed, o.classes, 1) {}

  Tensor<T, D> operator()(const std::array<Tensor<T, D>, 4>& c) const {
    const Extent2 size{c[0].dim(1), c[0].dim(2)};
    const auto y =
        concat({resize(linear_c4(c[3]), size), resize(linear_c3(c[2]), size), resize(linear_c2(c[1]), size), linear_c1(c[0])}, -1);
    return linear_pred(dropout(linear_fuse(y)));
  }
  SEGNET_FIELDS(linear_c4, linear_c3, linear_c2, linear_c1, linear_fuse, dropout, linear_pred)
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes], those of 1/4 of the size resized.
template <class T = float, class D = Cpu>
struct SegFormer {
  MixTransformer<T, D> backbone;
  SegFormerHead<T, D> decode_head;

  explicit SegFormer(const SegFormerOptions& o = {}) : backbone(o.backbone), decode_head(o) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(decode_head(backbone(x)), {x.dim(1), x.dim(2)}); }
  SEGNET_FIELDS(backbone, decode_head)
};

}  // namespace segnet::models
