// The heads of Faster, Mask and Keypoint R-CNN: what looks at the maps, and what looks at single boxes. torchvision's names.
#pragma once

#include <vector>

#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

namespace detail {
template <class Layer>
Layer drawn(Layer layer, double std) {  // weights from a normal distribution, biases 0
  nn::init::normal(layer.weight, default_generator(), 0, std);
  layer.bias.fill(0);
  return layer;
}
template <class Layer>
Layer drawn_by_fan_out(Layer layer) {
  nn::init::kaiming_normal_fan_out(layer.weight, default_generator());
  layer.bias.fill(0);
  return layer;
}

/// Convolutions 3x3 with ReLU, one after the other.
template <class T, class D>
Tensor<T, D> conv_relu_chain(const nn::ModuleList<nn::Conv2d<T, D>>& convs, const Tensor<T, D>& x) {
  Tensor<T, D> y = x;
  for (const auto& conv : convs) y = nn::conv_norm_act(conv, Activation::relu, y);
  return y;
}
}  // namespace detail

/// Proposals (arXiv:1506.01497, figure 3): the same 3x3 convolution and two 1x1 on every map.
template <class T = float, class D = Cpu>
struct RpnHead {
  nn::Conv2d<T, D> conv, cls_logits, bbox_pred;

  struct Output {
    Tensor<T, D> logits, deltas;  ///< [N, H, W, A] and [N, H, W, 4 A]: position by position, A anchors each
  };

  RpnHead(index_t channels, index_t anchors)
      : conv(detail::drawn(nn::Conv2d<T, D>(channels, channels, 3, {.padding = 1}), 0.01)),
        cls_logits(detail::drawn(nn::Conv2d<T, D>(channels, anchors, 1), 0.01)),
        bbox_pred(detail::drawn(nn::Conv2d<T, D>(channels, 4 * anchors, 1), 0.01)) {}

  std::vector<Output> operator()(const std::vector<Tensor<T, D>>& maps) const {
    std::vector<Output> outputs;
    for (const auto& map : maps) {
      const auto y = nn::conv_norm_act(conv, Activation::relu, map);
      outputs.push_back({cls_logits(y), bbox_pred(y)});
    }
    return outputs;
  }
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("conv.0.0", self.conv);
    visit("cls_logits", self.cls_logits);
    visit("bbox_pred", self.bbox_pred);
  }
};

/// Two hidden layers on the features of a box, in PyTorch's order: [R, h, w, C] -> [R, features].
template <class T = float, class D = Cpu>
struct BoxHead {
  nn::Linear<T, D> fc6, fc7;

  BoxHead(index_t in, index_t features) : fc6(in, features), fc7(features, features) {}
  Tensor<T, D> operator()(const Tensor<T, D>& pooled) const { return relu(fc7(relu(fc6(flatten(permute(pooled, {0, 3, 1, 2}), 1))))); }
  SEGNET_FIELDS(fc6, fc7)
};

/// Classes, and a box for each: [R, features] -> [R, classes], [R, 4 * classes].
template <class T = float, class D = Cpu>
struct BoxPredictor {
  nn::Linear<T, D> cls_score, bbox_pred;

  BoxPredictor(index_t features, index_t classes) : cls_score(features, classes), bbox_pred(features, 4 * classes) {}
  SEGNET_FIELDS(cls_score, bbox_pred)
};

/// Mask R-CNN's head (arXiv:1703.06870, figure 4, right) without its last layers: four convolutions. [R, 14, 14, C] -> the same.
template <class T = float, class D = Cpu>
struct MaskHead {
  nn::ModuleList<nn::Conv2d<T, D>> convs;

  explicit MaskHead(index_t channels) {
    for (int i = 0; i < 4; ++i) convs.push_back(detail::drawn_by_fan_out(nn::Conv2d<T, D>(channels, channels, 3, {.padding = 1})));
  }
  Tensor<T, D> operator()(const Tensor<T, D>& pooled) const { return detail::conv_relu_chain(convs, pooled); }
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.convs.size(); ++i) visit(concat(i, ".0"), self.convs[i]);
  }
};

/// Its last layers: twice the size, and a mask for each class. [R, 14, 14, C] -> [R, 28, 28, classes]
template <class T = float, class D = Cpu>
struct MaskPredictor {
  nn::ConvTranspose2d<T, D> conv5_mask;
  nn::Conv2d<T, D> mask_fcn_logits;

  MaskPredictor(index_t channels, index_t classes)
      : conv5_mask(detail::drawn_by_fan_out(nn::ConvTranspose2d<T, D>(channels, channels, 2, {.stride = 2}))),
        mask_fcn_logits(detail::drawn_by_fan_out(nn::Conv2d<T, D>(channels, classes, 1))) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return mask_fcn_logits(nn::conv_norm_act(conv5_mask, Activation::relu, x)); }
  SEGNET_FIELDS(conv5_mask, mask_fcn_logits)
};

/// Eight convolutions (arXiv:1703.06870, section 5): [R, 14, 14, in] -> [R, 14, 14, channels].
template <class T = float, class D = Cpu>
struct KeypointHead {
  nn::ModuleList<nn::Conv2d<T, D>> convs;

  KeypointHead(index_t in, index_t channels) {
    for (int i = 0; i < 8; ++i)
      convs.push_back(detail::drawn_by_fan_out(nn::Conv2d<T, D>(i == 0 ? in : channels, channels, 3, {.padding = 1})));
  }
  Tensor<T, D> operator()(const Tensor<T, D>& pooled) const { return detail::conv_relu_chain(convs, pooled); }
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < self.convs.size(); ++i) visit(std::to_string(2 * i), self.convs[i]);  // ReLUs between
  }
};

/// A map of each keypoint, at four times the size: [R, 14, 14, channels] -> [R, 56, 56, keypoints].
template <class T = float, class D = Cpu>
struct KeypointPredictor {
  nn::ConvTranspose2d<T, D> kps_score_lowres;

  KeypointPredictor(index_t channels, index_t keypoints)
      : kps_score_lowres(detail::drawn_by_fan_out(nn::ConvTranspose2d<T, D>(channels, keypoints, 4, {.stride = 2, .padding = 1}))) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return interpolate(kps_score_lowres(x), {.scale_factor = 2, .mode = InterpolateMode::bilinear});
  }
  SEGNET_FIELDS(kps_score_lowres)
};

}  // namespace segnet::models
