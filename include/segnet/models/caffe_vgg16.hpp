// The thirteen 3x3 convolutions of VGG-16 (Simonyan, Zisserman, arXiv:1409.1556, table 1, D) in their five blocks, as FCN, DeconvNet,
// SegNet and Yu & Koltun's front end begin, under the names that Caffe's definitions gave them: conv1_1, conv1_2, conv2_1 ... conv5_3.
// The classifier, under torchvision's names, is in vgg.hpp.
#pragma once

#include <map>

#include "segnet/core/layout.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::models {

/// Convolutions of block b = 0 ... 4.
inline constexpr std::size_t vgg16_convolutions[5] = {2, 2, 3, 3, 3};
/// Channels of block b: 64, 128, 256, 512, 512 for width 64.
[[nodiscard]] constexpr index_t vgg16_channels(std::size_t block, index_t width) { return width << (block < 3 ? block : 3); }

namespace detail {
/// "conv3_1" for block 2, convolution 0.
[[nodiscard]] inline std::string caffe_name(const char* layer, std::size_t block, std::size_t i, const char* suffix = "") {
  return concat(layer, block + 1, "_", i + 1, suffix);
}
/// Calls f(block, i, channels in, channels out) for the thirteen convolutions, in order.
template <class F>
void for_vgg16(index_t in_channels, index_t width, const F& f) {
  index_t in = in_channels;
  for (std::size_t b = 0; b < 5; ++b)
    for (std::size_t i = 0; i < vgg16_convolutions[b]; ++i) {
      const index_t out = vgg16_channels(b, width);
      f(b, i, in, out);
      in = out;
    }
}
/// He et al., arXiv:1502.01852: what a VGG of this depth needs to learn at all where it does not begin with trained weights.
template <class Conv>
void he_normal(const Conv& conv) {
  nn::init::kaiming_normal(conv.weight, default_generator());
  auto bias = conv.bias;
  if (bias) bias.fill(0);
}
}  // namespace detail

/// The blocks without norms: each convolution and its ReLU. Weights are He-normal, biases 0.
template <class T = float, class D = Cpu>
struct CaffeVgg16 {
  std::vector<nn::Conv2d<T, D>> blocks[5];

  /// `options(block, i)`: padding and dilation of a convolution, both counted from 0.
  template <class F>
  CaffeVgg16(index_t in_channels, index_t width, const F& options) {
    detail::for_vgg16(in_channels, width, [&](std::size_t b, std::size_t i, index_t in, index_t out) {
      blocks[b].emplace_back(in, out, 3, options(b, i));
      detail::he_normal(blocks[b].back());
    });
  }

  /// Block b, without the pooling that follows it.
  Tensor<T, D> operator()(std::size_t b, const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (const auto& conv : blocks[b]) y = nn::conv_norm_act(conv, Activation::relu, y);
    return y;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t b = 0; b < 5; ++b)
      for (std::size_t i = 0; i < self.blocks[b].size(); ++i) visit(detail::caffe_name("conv", b, i), self.blocks[b][i]);
  }
};

/// Convolution, batch norm, ReLU: the layer of SegNet and DeconvNet, whose convolutions keep their biases. The two parts have names of
/// their own in those networks.
template <class Conv, class Norm>
struct ConvNormRelu {
  Conv conv;
  Norm norm;

  template <class X>
  X operator()(const X& x) const {
    return nn::conv_norm_act(conv, norm, Activation::relu, x);
  }
};

/// Where a 2x2 pooling found its maxima, in an image of which size.
template <class D = Cpu>
struct PooledFrom {
  Tensor<std::int32_t, D> indices;
  Extent2 size;
};

/// The blocks with norms, each followed by a 2x2 pooling (sizes rounded up) that keeps where its maxima came from.
template <class T = float, class D = Cpu>
struct NormedVgg16 {
  using Layer = ConvNormRelu<nn::Conv2d<T, D>, nn::BatchNorm2d<T, D>>;
  std::vector<Layer> blocks[5];

  NormedVgg16(index_t in_channels, index_t width) {
    detail::for_vgg16(in_channels, width, [&](std::size_t b, std::size_t, index_t in, index_t out) {
      blocks[b].push_back({nn::Conv2d<T, D>(in, out, 3, {.padding = 1}), nn::BatchNorm2d<T, D>(out)});
      detail::he_normal(blocks[b].back().conv);
    });
  }

  /// The last pooling's output; `pools` gets one entry for each block.
  Tensor<T, D> operator()(const Tensor<T, D>& x, std::vector<PooledFrom<D>>& pools) const {
    Tensor<T, D> y = x;
    for (const auto& block : blocks) {
      for (const Layer& layer : block) y = layer(y);
      const auto pooled = max_pool2d(y, {.kernel = 2, .ceil_mode = true, .return_indices = true});
      pools.push_back({pooled.indices, {y.dim(1), y.dim(2)}});
      y = pooled.output;
    }
    return y;
  }

  /// Visits convolutions as conv1_1 ... and their norms as `norm` names them.
  template <class Self, class Visit, class Name>
  static void for_each_layer(Self& self, Visit&& visit, const Name& norm) {
    for (std::size_t b = 0; b < 5; ++b)
      for (std::size_t i = 0; i < self.blocks[b].size(); ++i) {
        visit(detail::caffe_name("conv", b, i), self.blocks[b][i].conv);
        visit(norm(b, i), self.blocks[b][i].norm);
      }
  }
};

/// Starts a network that begins like VGG-16 from the classifier's weights, `vgg` being those of torchvision's vgg16 by name (`features.0`,
/// ..., `classifier.0`, `classifier.3`; see vgg.hpp): conv1_1 to conv5_3 and, where the sizes agree, the fully connected layers as
/// convolutions fc6 and fc7. Returns the number of tensors copied. torchvision's weights want RGB normalised by ImageNet's mean and
/// deviation; Caffe's BGR from 0 to 255 less (104.0, 116.7, 122.7).
/// @throws ValueError: a convolution that is not in both;  ShapeError
template <class T, class D>
index_t copy_vgg16(const std::vector<nn::NamedTensor<T, D>>& vgg, const std::vector<nn::NamedTensor<T, D>>& net) {
  std::map<std::string, Tensor<T, D>> from, to;
  for (const auto& entry : vgg) from.emplace(entry.name, entry.tensor);
  for (const auto& entry : net) to.emplace(entry.name, entry.tensor);
  index_t copied = 0;
  const auto copy = [&](const std::string& source, const std::string& target, bool required) {
    for (const char* part : {".weight", ".bias"}) {
      const auto s = from.find(source + part), t = to.find(target + part);
      if (s == from.end() || t == to.end()) {
        if (required)
          throw ValueError("copy_vgg16", s == from.end() ? "vgg" : "net", s == from.end() ? source + part : target + part, "none");
        continue;
      }
      Tensor<T, D> values = s->second.detach();
      const Shape& shape = t->second.shape();
      if (shape.rank() == 4 && values.rank() == 2) {  // a fully connected layer: [O, C * kh * kw]
        if (shape[0] != values.dim(0) || shape.numel() != values.numel()) return;
        values = from_nchw(values.alias({shape[0], shape[3], shape[1], shape[2]}));
      } else if (!required && shape != values.shape()) {
        return;
      }
      t->second.copy_from(values);
      ++copied;
    }
  };
  int feature = 0;  // in torchvision's list convolutions and ReLUs alternate, and a pooling ends a block
  for (std::size_t b = 0; b < 5; ++b, ++feature)
    for (std::size_t i = 0; i < vgg16_convolutions[b]; ++i, feature += 2)
      copy(concat("features.", feature), detail::caffe_name("conv", b, i), true);
  copy("classifier.0", "fc6", false);
  copy("classifier.3", "fc7", false);
  return copied;
}

}  // namespace segnet::models
