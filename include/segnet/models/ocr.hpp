// Object-contextual representations: Yuan, Chen, Wang, "Object-contextual representations for semantic segmentation", arXiv:1909.11065,
// figure 3. Each pixel is told about the classes that are in the image: which of them it has to do with, and what they look like there.
// Names follow HRNet-Semantic-Segmentation.
#pragma once

#include <cmath>

#include "segnet/models/conv_bn_relu.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/matmul.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet::models {

/// Object region representations, equation (2): of each class the mean of its pixels' features, each counted as much as it belongs to
/// the class,
///
///   f[k] = sum_i m[i, k] x[i],   m = softmax of the scores over the pixels i
///
/// @param x [N, H, W, C]   @param scores [N, H, W, K], coarse logits   @return [N, K, C]
template <class T, class D>
[[nodiscard]] Tensor<T, D> object_regions(const Tensor<T, D>& x, const Tensor<T, D>& scores) {
  const index_t N = x.dim(0), pixels = x.dim(1) * x.dim(2), C = x.dim(3), K = scores.dim(3);
  const Tensor<T, D> f =
      matmul(softmax(reshape(scores, {N, pixels, K}), 1), reshape(x, {N, pixels, C}), MatmulOptions{.transpose_a = true});
  return nn::detail::observed(nullptr, "ObjectRegions", x, f, N * K * pixels * C);
}

/// Equations (3) and (4): pixels ask, regions answer,
///
///   y[i] = rho(sum_k w[i, k] delta(f[k])),   w = softmax over k of phi(x[i]) . psi(f[k]) / sqrt(keys)
///
/// with phi = f_pixel, psi = f_object, delta = f_down, rho = f_up made of 1x1 convolutions, norms and ReLUs.
/// x [N, H, W, C], f [N, K, C] -> [N, H, W, C]
template <class T = float, class D = Cpu>
struct ObjectAttention {
  nn::ModuleList<ConvBnRelu<T, D>> f_pixel, f_object;  // two each
  ConvBnRelu<T, D> f_down, f_up;

  ObjectAttention(index_t channels, index_t keys) : f_down(channels, keys, {.kernel = 1}), f_up(keys, channels, {.kernel = 1}) {
    for (auto* transform : {&f_pixel, &f_object})
      for (const index_t in : {channels, keys}) transform->push_back({in, keys, {.kernel = 1}});
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& f) const {
    const index_t N = x.dim(0), H = x.dim(1), W = x.dim(2), K = f.dim(1), d = f_down.conv.weight.dim(0);
    const Tensor<T, D> regions = reshape(f, {N, K, 1, f.dim(2)});
    const auto queries = reshape(f_pixel[1](f_pixel[0](x)), {N, H * W, d});
    const auto keys = reshape(f_object[1](f_object[0](regions)), {N, K, d}) * static_cast<Master<T>>(1 / std::sqrt(static_cast<double>(d)));
    const auto values = reshape(f_down(regions), {N, K, d});
    const auto relation = softmax(matmul(queries, keys, MatmulOptions{.transpose_b = true}));
    const Tensor<T, D> context = reshape(matmul(relation, values), {N, H, W, d});
    return f_up(nn::detail::observed(nullptr, "ObjectAttention", x, context, 2 * N * H * W * K * d));
  }

  /// Sequentials in which norm and ReLU are a Sequential of their own: f_pixel.0, f_pixel.1.0, f_pixel.2, f_pixel.3.0.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    const auto part = [&](const std::string& name, int number, auto& layer) {
      visit(segnet::concat(name, ".", number), layer.conv);
      visit(segnet::concat(name, ".", number + 1, ".0"), layer.norm);
    };
    for (const int i : {0, 1}) part("f_pixel", 2 * i, self.f_pixel[static_cast<std::size_t>(i)]);
    for (const int i : {0, 1}) part("f_object", 2 * i, self.f_object[static_cast<std::size_t>(i)]);
    part("f_down", 0, self.f_down);
    part("f_up", 0, self.f_up);
  }
};

struct OcrOptions {
  index_t channels = 512, keys = 256;
  double dropout = 0.05;
};

/// Features [N, H, W, in] and coarse logits [N, H, W, classes] -> better logits [N, H, W, classes]. Train the coarse ones, too, with a loss
/// of weight 0.4; gradients reach them through the regions as well.
template <class T = float, class D = Cpu>
struct Ocr {
  ConvBnRelu<T, D> pixels;  // 3x3
  ObjectAttention<T, D> attention;
  ConvBnRelu<T, D> augment;  // of context and pixel, equation (5)
  nn::Dropout2d dropout;
  nn::Conv2d<T, D> score;

  Ocr(index_t in, index_t classes, const OcrOptions& o = {})
      : pixels(in, o.channels, {.bias = nn::Bias::yes}),
        attention(o.channels, o.keys),
        augment(2 * o.channels, o.channels, {.kernel = 1}),
        dropout{o.dropout},
        score(o.channels, classes, 1) {}

  Tensor<T, D> operator()(const Tensor<T, D>& features, const Tensor<T, D>& scores) const {
    const Tensor<T, D> x = pixels(features), context = attention(x, object_regions(x, scores));
    return score(dropout(augment(concat({context, x}, -1))));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("conv3x3_ocr", self.pixels);
    visit("ocr_distri_head.object_context_block", self.attention);
    visit("ocr_distri_head.conv_bn_dropout.0", self.augment.conv);
    visit("ocr_distri_head.conv_bn_dropout.1.0", self.augment.norm);
    visit("ocr_distri_head.conv_bn_dropout.2", self.dropout);
    visit("cls_head", self.score);
  }
};

}  // namespace segnet::models
