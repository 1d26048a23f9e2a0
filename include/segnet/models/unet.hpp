// U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015,
// arXiv:1505.04597, figure 1. Any depth and width, valid (the paper) or same padding, with or without batch norm.
#pragma once

#include "segnet/models/center_crop.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::models {

struct UNetOptions {
  index_t in_channels = 3;
  index_t classes = 2;
  index_t base = 64;        ///< channels of the first level; each level below has twice as many
  int depth = 4;            ///< number of 2x2 poolings
  bool valid = false;       ///< true: the paper's unpadded convolutions, output smaller than input; false: padding 1, same size
  bool batch_norm = false;  ///< after each 3x3 convolution, which has no bias then
  double dropout = 0;       ///< rate behind the last two levels of the contracting path, in training (section 3.1; zhixuhao/unet: 0.5)
};

/// Two 3x3 convolutions, each with ReLU. Its parts are named as in a torch.nn.Sequential of them all: without batch norm
/// conv 0, relu 1, conv 2, relu 3; with it conv 0, norm 1, relu 2, conv 3, norm 4, relu 5.
template <class T = float, class D = Cpu>
struct DoubleConv {
  nn::Conv2d<T, D> conv1, conv2;
  std::optional<nn::BatchNorm2d<T, D>> norm1, norm2;

  DoubleConv(index_t in, index_t out, const UNetOptions& o)
      : conv1(in, out, 3, {.padding = o.valid ? 0 : 1}, o.batch_norm ? nn::Bias::no : nn::Bias::yes),
        conv2(out, out, 3, {.padding = o.valid ? 0 : 1}, o.batch_norm ? nn::Bias::no : nn::Bias::yes) {
    if (o.batch_norm) {
      norm1.emplace(out);
      norm2.emplace(out);
    }
    nn::init::kaiming_normal(conv1.weight, default_generator());  // section 3: N(0, 2 / incoming connections)
    nn::init::kaiming_normal(conv2.weight, default_generator());
  }

  /// x by value: it is freed as soon as the first convolution has read it.
  Tensor<T, D> operator()(Tensor<T, D> x) const {
    x = nn::conv_norm_act(conv1, norm1, Activation::relu, std::move(x));
    return nn::conv_norm_act(conv2, norm2, Activation::relu, std::move(x));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("0", self.conv1);
    if (self.norm1) visit("1", self.norm1);
    visit(self.norm1 ? "3" : "2", self.conv2);
    if (self.norm2) visit("4", self.norm2);
  }
};

/// [N, H, W, in_channels] -> logits [N, H', W', classes]. Same padding: H' = H, and H and W must be multiples of 2^depth.
/// Valid: every pooling must see even sizes (depth 4: H = 16 b + 124), H' = H - 184 at depth 4. @throws ShapeError
template <class T = float, class D = Cpu>
struct UNet {
  nn::ModuleList<DoubleConv<T, D>> down;         // contracting path: depth levels and the bottom
  nn::ModuleList<nn::ConvTranspose2d<T, D>> up;  // 2x2 up-convolutions, deepest first
  nn::ModuleList<DoubleConv<T, D>> dec;          // expansive path, deepest first
  nn::Conv2d<T, D> head;
  nn::Dropout dropout;
  UNetOptions options;

  explicit UNet(const UNetOptions& o = {}) : dropout{o.dropout}, options(o) {
    if (o.depth < 1 || o.depth > 12) throw ValueError("UNet", "depth", "1 to 12", concat(o.depth));
    if (o.base < 1 || o.classes < 1 || o.in_channels < 1)
      throw ValueError("UNet", "base, classes, in_channels", "at least 1", concat(o.base, ", ", o.classes, ", ", o.in_channels));
    if (!(o.dropout >= 0 && o.dropout <= 1)) throw ValueError("UNet", "dropout", "a probability in [0, 1]", concat(o.dropout));
    for (int level = 0; level <= o.depth; ++level)
      down.push_back(DoubleConv<T, D>(level ? o.base << (level - 1) : o.in_channels, o.base << level, o));
    for (int level = o.depth; level-- > 0;) {
      const index_t width = o.base << level;
      up.push_back(nn::ConvTranspose2d<T, D>(2 * width, width, 2, {.stride = 2}));
      dec.push_back(DoubleConv<T, D>(2 * width, width, o));
    }
    head = nn::Conv2d<T, D>(o.base, o.classes, 1);
  }

  /// Sides of an input must be multiples of this (same padding).
  [[nodiscard]] index_t stride() const { return index_t{1} << options.depth; }
  /// Pixels that valid convolutions take off each side: 92 at depth 4, 0 with same padding.
  [[nodiscard]] index_t margin() const { return options.valid ? 6 * stride() - 4 : 0; }
  /// The smallest side that the network takes and that gives an output of at least n pixels (`AnySize` pads to it).
  [[nodiscard]] index_t padded_size(index_t n) const {
    const index_t least = n + 2 * margin();  // modulo stride: 0, or with valid convolutions 4 * (stride - 1), as in 16 b + 124
    const index_t rest = options.valid ? 4 * (stride() - 1) % stride() : 0;
    return (least - rest + stride() - 1) / stride() * stride() + rest;
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    check(x.shape());
    std::vector<Tensor<T, D>> skips;
    Tensor<T, D> y = x;
    for (std::size_t level = 0; level < down.size(); ++level) {
      if (level > 0) {
        skips.push_back(y);
        y = max_pool2d(y, {.kernel = 2}).output;
      }
      y = down[level](std::move(y));
      if (level + 2 >= down.size()) y = dropout(y);
    }
    for (std::size_t i = 0; i < up.size(); ++i) {
      y = up[i](y);
      y = concat({center_crop(skips.back(), y.dim(1), y.dim(2)), y}, -1);
      skips.pop_back();
      y = dec[i](std::move(y));
    }
    return head(y);
  }

  SEGNET_FIELDS(down, up, dec, head, dropout)

 private:
  void check(const Shape& x) const {
    const auto fail = [&](const std::string& expected) { throw ShapeError("UNet", "x", expected, x); };
    if (x.rank() != 4 || x[3] != options.in_channels) fail(concat("[N, H, W, ", options.in_channels, "]"));
    for (const index_t size : {x[1], x[2]}) {
      index_t s = size;
      for (int level = 0; level < options.depth; ++level) {
        if (options.valid) s -= 4;
        if (s < 2 || s % 2 != 0)
          fail(options.valid ? concat("sides that are even and at least 2 before each of the ", options.depth,
                                      " poolings (valid convolutions take 4 off before each)")
                             : concat("height and width that are multiples of ", stride(), " and not 0"));
        s /= 2;
      }
      if (!options.valid) continue;
      s -= 4;
      for (int level = 0; level < options.depth; ++level) s = s > 0 ? 2 * s - 4 : 0;
      if (s < 1) fail("a larger image: nothing is left of this one after the valid convolutions");
    }
  }
};

}  // namespace segnet::models
