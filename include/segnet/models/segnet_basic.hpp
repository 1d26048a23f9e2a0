// SegNet-Basic, the small network of Badrinarayanan, Kendall, Cipolla, "SegNet", arXiv:1511.00561, section 3.1: four 7x7
// convolutions down, max unpooling with the encoder's indices and four 7x7 convolutions (without ReLU) up.
#pragma once

#include "segnet/nn/conv_norm.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::models {

struct SegNetBasicOptions {
  index_t in_channels = 3;
  index_t classes = 11;
  index_t width = 64;  ///< channels of every layer
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes], any H and W. The input is normalised across channels by the network
/// itself (local response normalisation, n = 5), so it takes raw pixel values. Names follow the authors' Caffe definition.
template <class T = float, class D = Cpu>
struct SegNetBasic {
  nn::LocalResponseNorm norm{5, 1e-4, 0.75};
  nn::Conv2d<T, D> conv1, conv2, conv3, conv4;
  nn::BatchNorm2d<T, D> conv1_bn, conv2_bn, conv3_bn, conv4_bn;
  nn::Conv2d<T, D> conv_decode4, conv_decode3, conv_decode2, conv_decode1;
  nn::BatchNorm2d<T, D> conv_decode4_bn, conv_decode3_bn, conv_decode2_bn, conv_decode1_bn;
  nn::Conv2d<T, D> conv_classifier;
  SegNetBasicOptions options;

  explicit SegNetBasic(const SegNetBasicOptions& o = {})
      : conv1(wide(o.in_channels, o)),
        conv2(wide(o.width, o)),
        conv3(wide(o.width, o)),
        conv4(wide(o.width, o)),
        conv1_bn(o.width),
        conv2_bn(o.width),
        conv3_bn(o.width),
        conv4_bn(o.width),
        conv_decode4(wide(o.width, o)),
        conv_decode3(wide(o.width, o)),
        conv_decode2(wide(o.width, o)),
        conv_decode1(wide(o.width, o)),
        conv_decode4_bn(o.width),
        conv_decode3_bn(o.width),
        conv_decode2_bn(o.width),
        conv_decode1_bn(o.width),
        conv_classifier(o.width, o.classes, 1),
        options(o) {
    nn::for_each_module(*this, [](const std::string&, auto& m) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(m)>, nn::Conv2d<T, D>>) {
        nn::init::kaiming_normal(m.weight, default_generator());
        m.bias.fill(0);
      }
    });
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto pool = [](const Tensor<T, D>& y) { return max_pool2d(y, {.kernel = 2, .ceil_mode = true, .return_indices = true}); };
    const auto encode = [&](const auto& conv, const auto& bn, const Tensor<T, D>& y) {
      return pool(nn::conv_norm_act(conv, bn, Activation::relu, y));
    };
    const auto p1 = encode(conv1, conv1_bn, norm(x));
    const auto p2 = encode(conv2, conv2_bn, p1.output);
    const auto p3 = encode(conv3, conv3_bn, p2.output);
    const auto p4 = encode(conv4, conv4_bn, p3.output);

    const auto decode = [](const auto& conv, const auto& bn, const Tensor<T, D>& y, const auto& pooled, const Shape& before) {
      return nn::conv_norm_act(conv, bn, Activation::none, max_unpool2d(y, pooled.indices, {before[1], before[2]}));
    };
    auto y = decode(conv_decode4, conv_decode4_bn, p4.output, p4, p3.output.shape());
    y = decode(conv_decode3, conv_decode3_bn, y, p3, p2.output.shape());
    y = decode(conv_decode2, conv_decode2_bn, y, p2, p1.output.shape());
    y = decode(conv_decode1, conv_decode1_bn, y, p1, x.shape());
    return conv_classifier(y);
  }

  SEGNET_FIELDS(conv1, conv1_bn, conv2, conv2_bn, conv3, conv3_bn, conv4, conv4_bn, conv_decode4, conv_decode4_bn, conv_decode3,
                conv_decode3_bn, conv_decode2, conv_decode2_bn, conv_decode1, conv_decode1_bn, conv_classifier)

 private:
  static nn::Conv2d<T, D> wide(index_t in, const SegNetBasicOptions& o) { return {in, o.width, 7, {.padding = 3}}; }
};

}  // namespace segnet::models
