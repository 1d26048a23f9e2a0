// "Convolutionalization": a classifier of windows, slid over an image, computes the same things again and again where windows
// overlap. With its fully connected layers as convolutions it is the same function of all windows at once, and each is computed
// once. Sermanet et al., "OverFeat", arXiv:1312.6229, section 3.5; Long et al., arXiv:1411.4038, section 3.1 and figure 2.
#pragma once

#include "segnet/core/layout.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet::models {

/// The order in which a fully connected layer sees the features [h, w, C] of a window.
enum class FeatureOrder {
  channels_first,  ///< C, h, w: classifiers of PyTorch and Caffe, and their weights here
  channels_last    ///< h, w, C: `flatten` of our images
};

/// A fully connected layer over windows of features, weight [out, h*w*C], as a convolution: weight [out, h, w, C], same bias, no
/// padding, stride 1. A copy: the layer and the convolution share nothing.
/// @param window {h, w}
/// @throws ShapeError: the layer's input is not a multiple of h*w
template <class T, class D>
[[nodiscard]] nn::Conv2d<T, D> convolutionalized(const nn::Linear<T, D>& fc, Extent2 window,
                                                 FeatureOrder order = FeatureOrder::channels_first) {
  const Shape shape = fc.weight.shape();
  const index_t pixels = window.h * window.w;
  if (pixels < 1 || shape[1] % pixels != 0)
    throw ShapeError("convolutionalized", "fc.weight", concat("[out, n * ", window.h, " * ", window.w, "]"), shape);
  const index_t out = shape[0], channels = shape[1] / pixels;
  const auto weight = fc.weight.detach();
  nn::Conv2d<T, D> conv;
  conv.weight =
      nn::Parameter<Master<T>, D>(order == FeatureOrder::channels_first ? from_nchw(weight.alias({out, channels, window.h, window.w}))
                                                                        : weight.alias({out, window.h, window.w, channels}).clone(),
                                  nn::WeightLayout::convolution);
  if (fc.bias) conv.bias = nn::Parameter<Master<T>, D>(fc.bias.clone());
  return conv;
}

/// The slow way, to compare with: a classifier of windows, [N, h, w, C] -> scores [N, K], called for the window at every position
/// whose corner is a multiple of `stride`. Returns the scores of all windows, [N, OH, OW, K] with OH = (H - h) / stride.h + 1 (floor).
/// @throws ShapeError: the image is smaller than the window
template <class F, class T, class D>
[[nodiscard]] Tensor<T, D> sliding_window(const F& classifier, const Tensor<T, D>& x, Extent2 window, Extent2 stride) {
  if (x.rank() != 4 || x.dim(1) < window.h || x.dim(2) < window.w)
    throw ShapeError("sliding_window", "x", concat("[N, H, W, C] of at least ", window), x.shape());
  const index_t rows = (x.dim(1) - window.h) / stride.h + 1, columns = (x.dim(2) - window.w) / stride.w + 1;
  std::vector<Tensor<T, D>> all;
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      all.push_back(classifier(narrow(narrow(x, 1, i * stride.h, window.h), 2, j * stride.w, window.w)));
  return reshape(stack(all, 1), {x.dim(0), rows, columns, all[0].dim(1)});
}

}  // namespace segnet::models
