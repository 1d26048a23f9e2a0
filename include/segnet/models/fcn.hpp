// Fully convolutional networks: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
// arXiv:1411.4038 (journal version arXiv:1605.06211), figures 2 and 3. FCN-32s, FCN-16s and FCN-8s upon VGG-16, as the authors' Caffe
// definitions have them.
#pragma once

#include "segnet/models/caffe_vgg16.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet::models {

/// Learned upsampling, which begins as (and in the released networks stays) bilinear interpolation.
enum class FcnUpsampling {
  dense,     ///< weights [C, k, k, C], as in the released files: only their diagonal is not zero at first
  per_class  ///< a kernel for each class, [C, k, k, 1]
};

struct FcnOptions {
  index_t in_channels = 3;
  index_t classes = 21;
  int stride = 8;                 ///< of the scores before the last upsampling: 32, 16 or 8
  index_t width = 64;             ///< channels of the first block; 8 times as many in the last
  index_t hidden = 4096;          ///< channels of fc6 and fc7
  double dropout = 0.5;           ///< behind fc6 and fc7
  bool aligned = false;           ///< padding 1 and 3 instead of 100 and 0: no crops and two thirds of the work, for sides that 32 divides
  bool at_once = false;           ///< trained in one stage: pool4 times 0.01 and pool3 times 0.0001 before they are scored
  bool learn_upsampling = false;  ///< the released networks keep the interpolation
  FcnUpsampling upsampling = FcnUpsampling::dense;
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes]. Any H and W, or with `aligned` multiples of 32 (see `AnySize`).
///
/// The first padding, 100, leaves something for fc6, a 7x7 convolution at stride 32, of every image. What is added and what comes out
/// is cut where pixels lie over each other: with c0 the input coordinate of a map's first pixel and S its spacing, conv1_1 has c0 = -99,
/// S = 1; a pooling adds S / 2, fc6 3 * 32; an upsampling by s with kernel k makes S = S / s and takes (k - 1) / 2 * S off c0. Maps of
/// the same S differ in c0 by 5 pixels at pool4 and 9 at pool3, and the last one begins 19, 27 or 31 pixels before the image.
template <class T = float, class D = Cpu>
struct Fcn {
  FcnOptions options;
  CaffeVgg16<T, D> vgg;
  nn::Conv2d<T, D> fc6, fc7, score_fr;
  std::optional<nn::ConvTranspose2d<T, D>> upscore2, upscore_pool4;
  std::optional<nn::Conv2d<T, D>> score_pool4, score_pool3;
  nn::ConvTranspose2d<T, D> upscore;
  nn::Dropout drop;

  explicit Fcn(const FcnOptions& o = {})
      : options(o),
        vgg(o.in_channels, o.width,
            [&](std::size_t b, std::size_t i) { return Conv2dOptions{.padding = b == 0 && i == 0 && !o.aligned ? 100 : 1}; }),
        fc6(vgg16_channels(4, o.width), o.hidden, 7, {.padding = o.aligned ? 3 : 0}),
        fc7(o.hidden, o.hidden, 1),
        score_fr(score(o.hidden)),
        drop{o.dropout} {
    if (o.stride != 32 && o.stride != 16 && o.stride != 8) throw ValueError("Fcn", "stride", "32, 16 or 8", concat(o.stride));
    detail::he_normal(fc6);
    detail::he_normal(fc7);
    zero(score_fr);
    if (o.stride <= 16) upscore2 = up(2), score_pool4 = score(vgg16_channels(3, o.width)), zero(*score_pool4);
    if (o.stride == 8) upscore_pool4 = up(2), score_pool3 = score(vgg16_channels(2, o.width)), zero(*score_pool3);
    upscore = up(o.stride);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto pool = [](const Tensor<T, D>& y) { return max_pool2d(y, {.kernel = 2, .ceil_mode = true}).output; };
    Tensor<T, D> y = pool(vgg(0, x));  // a statement each: what is between them is freed
    y = pool(vgg(1, y));
    const Tensor<T, D> pool3 = pool(vgg(2, y)), pool4 = pool(vgg(3, pool3));
    y = pool(vgg(4, pool4));
    y = drop(nn::conv_norm_act(fc6, Activation::relu, y));
    y = drop(nn::conv_norm_act(fc7, Activation::relu, y));
    y = score_fr(y);
    if (upscore2) y = (*upscore2)(y), y = y + cut((*score_pool4)(options.at_once ? pool4 * Master<T>(0.01) : pool4), 5, y);
    if (upscore_pool4) y = (*upscore_pool4)(y), y = y + cut((*score_pool3)(options.at_once ? pool3 * Master<T>(0.0001) : pool3), 9, y);
    return cut(upscore(y), options.stride == 32 ? 19 : options.stride == 16 ? 27 : 31, x);
  }

  /// For `AnySize`: the side that an image of side n is padded to.
  [[nodiscard]] index_t padded_size(index_t n) const { return options.aligned ? (n + 31) / 32 * 32 : n; }
  [[nodiscard]] index_t margin() const { return 0; }

  /// Fields in the order of the Caffe definition, the last upsampling as `upscore`, `upscore16` or `upscore8`.
  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    CaffeVgg16<T, D>::for_each_field(self.vgg, visit);
    visit("fc6", self.fc6);
    visit("fc7", self.fc7);
    visit("drop", self.drop);
    visit("score_fr", self.score_fr);
    visit("upscore2", self.upscore2);
    visit("score_pool4", self.score_pool4);
    visit("upscore_pool4", self.upscore_pool4);
    visit("score_pool3", self.score_pool3);
    visit(self.options.stride == 32 ? std::string("upscore") : concat("upscore", self.options.stride), self.upscore);
  }

 private:
  nn::Conv2d<T, D> score(index_t in) const { return {in, options.classes, 1}; }
  static void zero(nn::Conv2d<T, D>& conv) {
    conv.weight.fill(0);
    conv.bias.fill(0);
  }
  nn::ConvTranspose2d<T, D> up(index_t factor) const {
    const FcnOptions& o = options;
    nn::ConvTranspose2d<T, D> layer(
        o.classes, o.classes, 2 * factor,
        {.stride = factor, .padding = o.aligned ? factor / 2 : 0, .groups = o.upsampling == FcnUpsampling::dense ? 1 : o.classes},
        nn::Bias::no);
    nn::init::bilinear(layer.weight);
    layer.weight.requires_grad(o.learn_upsampling);
    return layer;
  }
  /// The part of y at `offset` that lies over `like`.
  Tensor<T, D> cut(const Tensor<T, D>& y, index_t offset, const Tensor<T, D>& like) const {
    const index_t from = options.aligned ? 0 : offset;
    return narrow(narrow(y, 1, from, like.dim(1)), 2, from, like.dim(2));
  }
};

/// Staged training, 32s -> 16s -> 8s: every tensor that both have, by name, is copied from the stage before. The new score layer is
/// still zero, so the function begins where the stage before ended, but for interpolating in two steps instead of one.
/// @throws ValueError: `next` is not of a smaller stride;  ShapeError: other widths or classes
template <class T, class D>
void continue_stage(const Fcn<T, D>& trained, const Fcn<T, D>& next) {
  if (next.options.stride >= trained.options.stride)
    throw ValueError("continue_stage", "next", concat("a stride below ", trained.options.stride), concat(next.options.stride));
  std::map<std::string, Tensor<Master<T>, D>> from;
  for (const auto& entry : nn::state_dict<Master<T>, D>(trained)) from.emplace(entry.name, entry.tensor);
  for (auto& entry : nn::state_dict<Master<T>, D>(next))
    if (const auto found = from.find(entry.name); found != from.end()) entry.tensor.copy_from(found->second);
}

}  // namespace segnet::models
