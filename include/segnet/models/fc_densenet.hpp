// FC-DenseNet: Jegou, Drozdzal, Vazquez, Romero, Bengio, "The one hundred layers tiramisu: Fully convolutional DenseNets for semantic
// segmentation", CVPRW 2017, arXiv:1611.09326, figure 1 and tables 1 and 2.
#pragma once

#include "segnet/models/center_crop.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/nn/norm.hpp"
#include "segnet/ops/dense_layer.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::models {

struct FcDenseNetOptions {
  index_t in_channels = 3;
  index_t classes = 11;
  index_t first = 48;                                                ///< channels of the first convolution
  index_t growth = 16;                                               ///< maps that each layer adds
  std::vector<int> layers = {4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4};  ///< of each block: n down, the bottleneck, n up
  double dropout = 0.2;
  /// The paper's networks normalise by the statistics of the batch at test time too, `.track_running_stats = false`, with eps = 1e-4.
  /// Here running statistics are the default, so that an image's result does not depend on what else is in its batch.
  nn::BatchNormOptions norm = {};
};

/// The paper's networks, by the number of their layers.
inline const FcDenseNetOptions fc_densenet56{.growth = 12, .layers = std::vector<int>(11, 4)};
inline const FcDenseNetOptions fc_densenet67{.growth = 16, .layers = std::vector<int>(11, 5)};
inline const FcDenseNetOptions fc_densenet103{};

/// Batch norm, ReLU, convolution, dropout, of all maps of a stack (table 1, "Layer"): what is in between is not kept, see `dense_layer`.
template <class T = float, class D = Cpu>
struct DenseLayer {
  nn::BatchNorm2d<T, D> bn;
  nn::Conv2d<T, D> conv;
  nn::Dropout drop;

  DenseLayer(index_t in, index_t out, index_t kernel, const FcDenseNetOptions& o)
      : bn(in, o.norm), conv(in, out, kernel, {.padding = kernel / 2}), drop{o.dropout} {
    nn::init::kaiming_uniform(conv.weight, default_generator());
    conv.bias.fill(0);
  }

  Tensor<T, D> operator()(const FeatureStack<T, D>& x) const {
    if (nn::shapes_only()) return conv(Tensor<T, D>(x.shape()));
    const Tensor<T, D> y = dense_layer(x,
                                       {.weight = bn.weight,
                                        .bias = bn.bias,
                                        .running_mean = bn.running_mean,
                                        .running_var = bn.running_var,
                                        .training = bn.training || !bn.options.track_running_stats,
                                        .momentum = bn.options.momentum,
                                        .eps = bn.options.eps},
                                       cast<T>(conv.weight), cast<T>(conv.bias), conv.options);
    return drop(nn::detail::observed(&conv, "Conv2d", x.parts()[0], y, y.numel() * (conv.weight.numel() / conv.weight.dim(0))));
  }
  SEGNET_FIELDS(bn, conv, drop)
};

/// Adds its layers' maps to a stack, each layer reading all that is there (figure 2).
template <class T = float, class D = Cpu>
struct DenseBlock {
  nn::ModuleList<DenseLayer<T, D>> layers;

  DenseBlock(index_t in, int count, const FcDenseNetOptions& o) {
    for (int i = 0; i < count; ++i) layers.push_back({in + i * o.growth, o.growth, 3, o});
  }

  /// The new maps alone; `stack` has them at its end.
  FeatureStack<T, D> operator()(FeatureStack<T, D>& stack) const {
    FeatureStack<T, D> added;
    for (const auto& layer : layers) {
      const Tensor<T, D> maps = layer(stack);
      stack.push_back(maps);
      added.push_back(maps);
    }
    return added;
  }
  SEGNET_FIELDS(layers)
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes], any H and W of at least 2^n for n blocks down: poolings round down, and what comes
/// up is cropped to its skip. Maps are joined into one tensor before each transposed convolution (the new ones of a block alone) and
/// before the classifier, nowhere else. Weights are He-uniform, biases 0.
/// @throws ValueError: an even number of blocks;  ShapeError
template <class T = float, class D = Cpu>
struct FcDenseNet {
  nn::Conv2d<T, D> first;
  nn::ModuleList<DenseBlock<T, D>> down;
  nn::ModuleList<DenseLayer<T, D>> td;  // transitions down: 1x1, then 2x2 pooling
  DenseBlock<T, D> bottleneck;
  nn::ModuleList<nn::ConvTranspose2d<T, D>> tu;  // transitions up
  nn::ModuleList<DenseBlock<T, D>> up;
  nn::Conv2d<T, D> head;
  FcDenseNetOptions options;

  explicit FcDenseNet(const FcDenseNetOptions& o = {}) : bottleneck(0, 0, o), options(o) {
    if (o.layers.size() % 2 == 0 || *std::min_element(o.layers.begin(), o.layers.end()) < 1)
      throw ValueError("FcDenseNet", "layers", "an odd number of blocks, each of at least one layer", concat(o.layers.size(), " blocks"));
    const std::size_t n = o.layers.size() / 2;
    first = {o.in_channels, o.first, 3, {.padding = 1}};
    start(first);
    index_t channels = o.first;
    std::vector<index_t> skips;
    for (std::size_t i = 0; i < n; ++i) {
      down.push_back({channels, o.layers[i], o});
      channels += o.layers[i] * o.growth;
      skips.push_back(channels);
      td.push_back({channels, channels, 1, o});
    }
    bottleneck = {channels, o.layers[n], o};
    for (std::size_t i = 0; i < n; ++i) {
      const index_t added = o.layers[n + i] * o.growth;
      tu.push_back({added, added, 3, {.stride = 2}});
      start(tu.back());
      channels = added + skips[n - 1 - i];
      up.push_back({channels, o.layers[n + 1 + i], o});
      channels += o.layers[n + 1 + i] * o.growth;
    }
    head = {channels, o.classes, 1};
    start(head);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    FeatureStack<T, D> stack(first(x));
    std::vector<FeatureStack<T, D>> skips;
    for (std::size_t i = 0; i < down.size(); ++i) {
      (void)down[i](stack);
      skips.push_back(stack);
      stack = FeatureStack<T, D>(max_pool2d(td[i](stack), {.kernel = 2}).output);
    }
    FeatureStack<T, D> added = bottleneck(stack);
    for (std::size_t i = 0; i < up.size(); ++i) {
      const Shape size = skips.back().shape();
      stack = FeatureStack<T, D>(center_crop(tu[i](added.joined()), size[1], size[2]));
      stack.push_back(skips.back());
      skips.pop_back();
      added = up[i](stack);
    }
    return head(stack.joined());
  }

  SEGNET_FIELDS(first, down, td, bottleneck, tu, up, head)

 private:
  template <class Conv>
  static void start(Conv& conv) {
    nn::init::kaiming_uniform(conv.weight, default_generator());
    conv.bias.fill(0);
  }
};

}  // namespace segnet::models
