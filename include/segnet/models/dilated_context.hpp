// Dilated convolutions for dense prediction: Yu, Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016,
// arXiv:1511.07122. The front end (section 4) is VGG-16 without its last two poolings, whose convolutions are dilated instead; the
// context module (section 3, table 1) widens the view of each score, 67 x 67 scores, at full resolution.
#pragma once

#include "segnet/models/caffe_vgg16.hpp"
#include "segnet/nn/dropout.hpp"
#include "segnet/ops/resize.hpp"

namespace segnet::models {

struct DilatedFrontEndOptions {
  index_t in_channels = 3;
  index_t classes = 21;
  index_t width = 64;     ///< channels of the first block; 8 times as many in the last
  index_t hidden = 4096;  ///< channels of fc6 and fc7
  double dropout = 0.5;   ///< behind fc6 and fc7
};

/// [N, H, W, in_channels] -> logits at stride 8, [N, (H - 372) / 8, (W - 372) / 8, classes]. Nothing is padded: each logit has all of its
/// 380 x 380 pixels. conv1_1 to conv4_3 as VGG-16; conv5_1 to conv5_3 with dilation 2; fc6 7x7 with dilation 4.
template <class T = float, class D = Cpu>
struct DilatedFrontEnd {
  CaffeVgg16<T, D> vgg;
  nn::Conv2d<T, D> fc6, fc7, final;
  nn::Dropout drop;
  DilatedFrontEndOptions options;

  explicit DilatedFrontEnd(const DilatedFrontEndOptions& o = {})
      : vgg(o.in_channels, o.width, [](std::size_t b, std::size_t) { return Conv2dOptions{.dilation = b == 4 ? 2 : 1}; }),
        fc6(vgg16_channels(4, o.width), o.hidden, 7, {.dilation = 4}),
        fc7(o.hidden, o.hidden, 1),
        final(o.hidden, o.classes, 1),
        drop{o.dropout},
        options(o) {
    detail::he_normal(fc6);
    detail::he_normal(fc7);
    nn::init::normal(final.weight, default_generator(), 0, 0.001);
    final.bias.fill(0);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto pool = [](const Tensor<T, D>& y) { return max_pool2d(y, {.kernel = 2}).output; };
    Tensor<T, D> y = x;
    for (std::size_t b = 0; b < 3; ++b) y = pool(vgg(b, y));
    y = vgg(4, vgg(3, y));
    y = drop(nn::conv_norm_act(fc6, Activation::relu, y));
    y = drop(nn::conv_norm_act(fc7, Activation::relu, y));
    return final(y);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    CaffeVgg16<T, D>::for_each_field(self.vgg, visit);
    visit("fc6", self.fc6);
    visit("fc7", self.fc7);
    visit("drop", self.drop);
    visit("final", self.final);
  }
};

/// How many channels the context module has on the way: table 1 of the paper.
enum class ContextForm {
  basic,  ///< C throughout
  large   ///< 2C, 2C, 4C, 8C, 16C, 32C, 32C, C
};

struct ContextOptions {
  index_t classes = 21;
  ContextForm form = ContextForm::basic;
  std::vector<index_t> dilations = {1, 1, 2, 4, 8, 16, 1};  ///< of the 3x3 convolutions; a 1x1 convolution follows
  bool pad_once = false;  ///< zeros around the module's input instead of each layer's: the released network for VOC, which is large
  double noise = 0.01;    ///< standard deviation of the weights that are not the identity's
};

/// Dilations of the released networks: KITTI (7 layers), VOC and CamVid (8), Cityscapes (10, with a view of 259 x 259).
inline const std::vector<index_t> context_dilations_7{1, 1, 2, 4, 8, 1}, context_dilations_8{1, 1, 2, 4, 8, 16, 1},
    context_dilations_10{1, 1, 2, 4, 8, 16, 32, 64, 1};

/// Weights under which a convolution from c_in to c_out channels, both multiples of `classes` (or equal to it), passes groups of channels
/// on: at the centre classes / c_out where input channel a and output channel b belong to the same class, floor(a * classes / c_in) =
/// floor(b * classes / c_out); everything else N(0, noise^2). Equations 4 and 5 of the paper. weight is [c_out, kh, kw, c_in].
template <class T, class D>
void identity_init(const Tensor<T, D>& weight, index_t classes, double noise, Generator& random) {
  if (nn::shapes_only()) return;
  const index_t out = weight.dim(0), rows = weight.dim(1), columns = weight.dim(2), in = weight.dim(3);
  Tensor<T> host(weight.shape());
  fill_normal(host, random, 0, noise);
  for (index_t b = 0; b < out; ++b)
    for (index_t a = 0; a < in; ++a)
      if (a * classes / in == b * classes / out)
        host.at(b, rows / 2, columns / 2, a) = static_cast<T>(static_cast<double>(classes) / static_cast<double>(out));
  Tensor<T, D>(weight).copy_from(host);
}

/// Scores [N, H, W, classes] -> scores of the same shape. Names: ctx_conv1_1, ctx_conv1_2, ctx_conv2_1, ..., ctx_fc1, ctx_final. It begins
/// as the identity of scores that are not negative (noise aside): random weights do not train well here (section 3).
template <class T = float, class D = Cpu>
struct ContextModule {
  std::vector<nn::Conv2d<T, D>> convs;  // 3x3
  nn::Conv2d<T, D> final;               // 1x1
  ContextOptions options;

  explicit ContextModule(const ContextOptions& o = {}) : options(o) {
    const auto& dilations = o.dilations;
    index_t in = o.classes;
    for (std::size_t i = 0; i < dilations.size(); ++i) {
      index_t factor = 1;  // large: 2, 2, then twice as many with each dilation
      if (o.form == ContextForm::large) factor = i + 1 == dilations.size() ? in / o.classes : index_t{1} << std::max<std::size_t>(i, 1);
      index_t padding = dilations[i];
      if (o.pad_once) padding = i == 0 ? view() / 2 : 0;
      convs.emplace_back(in, factor * o.classes, 3, Conv2dOptions{.padding = padding, .dilation = dilations[i]});
      in = factor * o.classes;
    }
    final = nn::Conv2d<T, D>(in, o.classes, 1);
    for (auto& conv : convs) start(conv);
    start(final);
  }

  /// Scores that one score sees, on each axis: 67 for 8 layers.
  [[nodiscard]] index_t view() const {
    index_t side = 1;
    for (const index_t dilation : options.dilations) side += 2 * dilation;
    return side;
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = x;
    for (const auto& conv : convs) y = nn::conv_norm_act(conv, Activation::relu, y);
    return final(y);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i + 1 < self.convs.size(); ++i)
      visit(i < 2 ? concat("ctx_conv1_", i + 1) : concat("ctx_conv", i, "_1"), self.convs[i]);
    visit("ctx_fc1", self.convs.back());
    visit("ctx_final", self.final);
  }

 private:
  void start(nn::Conv2d<T, D>& conv) const {
    identity_init(conv.weight, options.classes, options.noise, default_generator());
    conv.bias.fill(0);
  }
};

/// Front end, context module (if any), and bilinear interpolation of the scores: [N, H, W, in_channels] -> logits [N, H - 372, W - 372,
/// classes] of the image without a border of 186 pixels, H - 372 a multiple of 8. `AnySize` adds that border, mirrored, and takes any size.
template <class T = float, class D = Cpu>
struct DilatedNet {
  DilatedFrontEnd<T, D> front_end;
  std::optional<ContextModule<T, D>> context;

  explicit DilatedNet(const DilatedFrontEndOptions& front, const std::optional<ContextOptions>& around = {}) : front_end(front) {
    if (!around) return;
    if (front.classes != around->classes) throw ValueError("DilatedNet", "classes", concat(front.classes), concat(around->classes));
    context.emplace(*around);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (x.rank() != 4 || x.dim(1) < 380 || x.dim(2) < 380 || x.dim(1) % 8 != 4 || x.dim(2) % 8 != 4)
      throw ShapeError("DilatedNet", "x", "[N, H, W, C] with H and W of 380 or multiples of 8 more", x.shape());
    Tensor<T, D> y = front_end(x);
    if (context) y = (*context)(y);
    return resize(y, {x.dim(1) - 2 * margin(), x.dim(2) - 2 * margin()});
  }

  /// Pixels that are lost on each side.
  [[nodiscard]] index_t margin() const { return 186; }
  /// For `AnySize`: the side that an image of side n is padded to.
  [[nodiscard]] index_t padded_size(index_t n) const { return (n + 7) / 8 * 8 + 2 * margin(); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    DilatedFrontEnd<T, D>::for_each_field(self.front_end, visit);
    if (self.context) ContextModule<T, D>::for_each_field(*self.context, visit);
  }
};

}  // namespace segnet::models
