// Deformable convolutions as layers. Those of bfloat16 keep float parameters (`Master<T>`).
#pragma once

#include <optional>

#include "segnet/nn/conv.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/nn/norm.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/dcnv3.hpp"
#include "segnet/ops/deform_conv2d.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet::nn {

/// Deformable convolution with offsets, and for the second version a mask, from elsewhere: torchvision's ops.DeformConv2d. See
/// `deform_conv2d`. weight [out, kh, kw, in / groups] (PyTorch: [out, in / groups, kh, kw]), bias [out].
template <class T = float, class D = Cpu>
struct DeformConv2d {
  DeformConv2dOptions options;
  Parameter<Master<T>, D> weight, bias;

  DeformConv2d() = default;
  DeformConv2d(index_t in, index_t out, Extent2 kernel, const DeformConv2dOptions& conv_options = {}, Bias with_bias = Bias::yes)
      : options(conv_options) {
    if (options.groups < 1 || in % options.groups != 0)
      throw ValueError("nn::DeformConv2d", "groups", concat("a divisor of the ", in, " input channels"), concat(options.groups));
    weight = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out, kernel.h, kernel.w, in / options.groups}), WeightLayout::convolution);
    if (with_bias == Bias::yes) bias = Parameter<Master<T>, D>(Tensor<Master<T>, D>({out}));
    init::weight_and_bias<Master<T>, D>(weight, bias, kernel.h * kernel.w * (in / options.groups));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x, const Tensor<T, D>& offset, const Tensor<T, D>& mask = {}) const {
    const auto g =
        kernels::deform_conv2d_geometry("deform_conv2d", x.shape(), offset.shape(), weight.shape(), bias.shape(), mask.shape(), options);
    const Tensor<T, D> y =
        shapes_only() ? Tensor<T, D>(g.conv.y_shape()) : deform_conv2d(x, offset, cast<T>(weight), cast<T>(bias), mask, options);
    const index_t read = g.taps.pixels() * g.conv.taps() * g.conv.C;  // 4 multiply-adds to interpolate, and 1 for the mask
    return detail::observed(this, "DeformConv2d", x, y, y.numel() * g.depth() + read * (mask ? 5 : 4));
  }
  SEGNET_FIELDS(weight, bias)
};

enum class Modulation : bool { no, yes };

/// The same with an ordinary convolution that makes the offsets from x, and by default the mask (through a sigmoid): the second version,
/// in the place of a Conv2d. Names as mmcv's DeformConv2dPack and ModulatedDeformConv2dPack. That convolution starts at zero: a regular
/// grid, and a mask of 1/2.
template <class T = float, class D = Cpu>
struct DeformConv2dPack {
  DeformConv2d<T, D> conv;
  Conv2d<T, D> conv_offset;  ///< 2 numbers a tap and offset group, then 1 with a mask
  Modulation modulation = Modulation::yes;

  DeformConv2dPack() = default;
  DeformConv2dPack(index_t in, index_t out, Extent2 kernel, const DeformConv2dOptions& options = {}, Bias with_bias = Bias::yes,
                   Modulation with_mask = Modulation::yes, index_t offset_groups = 1)
      : conv(in, out, kernel, options, with_bias),
        conv_offset(in, (with_mask == Modulation::yes ? 3 : 2) * offset_groups * kernel.h * kernel.w, kernel,
                    {.stride = options.stride, .padding = options.padding, .dilation = options.dilation}),
        modulation(with_mask) {
    if (offset_groups < 1 || in % offset_groups != 0)
      throw ValueError("nn::DeformConv2dPack", "offset_groups", concat("a divisor of the ", in, " input channels"), concat(offset_groups));
    conv_offset.weight.fill(0);
    conv_offset.bias.fill(0);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> numbers = conv_offset(x);
    if (modulation == Modulation::no) return conv(x, numbers);
    const index_t scalars = numbers.dim(3) / 3;
    return conv(x, narrow(numbers, 3, 0, 2 * scalars), sigmoid(narrow(numbers, 3, 2 * scalars, scalars)));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("weight", self.conv.weight);
    visit("bias", self.conv.bias);
    visit("conv_offset", self.conv_offset);
  }
};

struct DCNv3LayerOptions {
  index_t groups = 4;
  index_t kernel = 3, dilation = 1;  ///< padded so that sizes stay: an odd kernel
  index_t dw_kernel = 0;             ///< of the depth-wise convolution, odd; 0: as `kernel`
  double offset_scale = 1;
  bool center_feature_scale = false;  ///< InternImage-H and -G: a gate between the result and the projected input
  bool remove_center = false;
};

/// DCNv3 with its projections (Wang et al., arXiv:2211.05778, section 3.1), [N, H, W, C] -> [N, H, W, C], under the names of the official
/// implementation:
///
///   v = input_proj(x),   u = gelu(norm(depthwise(x))),   y = dcnv3(v, offset(u), softmax over the taps of mask(u))
///   output_proj(y)       or output_proj(y (1 - z) + v z) with z = sigmoid(center_feature_scale_proj(u)), one number a group
///
/// At the start offsets are 0 and all taps weigh the same: y is the 3 x 3 mean of v.
template <class T = float, class D = Cpu>
struct DCNv3 {
  /// Depth-wise convolution, layer norm and GELU. In a state dict the norm is "1.1": layer 1 turned channels to the end first.
  struct Depthwise {
    Conv2d<T, D> conv;
    LayerNorm<T, D> norm;
    Tensor<T, D> operator()(const Tensor<T, D>& x) const { return gelu(norm(conv(x))); }

    template <class Self, class Visit>
    static void for_each_field(Self& self, Visit&& visit) {
      visit("0", self.conv);
      visit("1.1", self.norm);
    }
  };

  DCNv3Options options;
  Parameter<Master<T>, D> center_feature_scale_proj_weight, center_feature_scale_proj_bias;
  Depthwise dw_conv;
  Linear<T, D> offset, mask, input_proj, output_proj;

  DCNv3() = default;
  explicit DCNv3(index_t channels, const DCNv3LayerOptions& o = {}) {
    const index_t dw_kernel = o.dw_kernel ? o.dw_kernel : o.kernel;
    if (o.groups < 1 || channels % o.groups)
      throw ValueError("nn::DCNv3", "groups", concat("a divisor of the ", channels, " channels"), concat(o.groups));
    for (const index_t k : {o.kernel, dw_kernel})
      if (k < 1 || k % 2 == 0) throw ValueError("nn::DCNv3", "kernel", "an odd number", concat(k));
    options = {.kernel = o.kernel,
               .padding = o.dilation * (o.kernel - 1) / 2,
               .dilation = o.dilation,
               .groups = o.groups,
               .offset_scale = o.offset_scale,
               .remove_center = o.remove_center};
    const index_t taps = o.groups * (o.kernel * o.kernel - o.remove_center);
    if (o.center_feature_scale) {
      center_feature_scale_proj_weight = Parameter<Master<T>, D>(zeros<Master<T>, D>({o.groups, channels}));
      center_feature_scale_proj_bias = Parameter<Master<T>, D>(zeros<Master<T>, D>({o.groups}));
    }
    dw_conv = {Conv2d<T, D>(channels, channels, dw_kernel, {.padding = dw_kernel / 2, .groups = channels}),
               LayerNorm<T, D>(channels, 1e-6)};
    offset = Linear<T, D>(channels, 2 * taps);
    mask = Linear<T, D>(channels, taps);
    input_proj = Linear<T, D>(channels, channels);
    output_proj = Linear<T, D>(channels, channels);
    init_weights();
  }

  /// The start described above. What draws all linear layers of a network must call this afterwards.
  void init_weights() {
    for (auto* layer : {&offset, &mask}) layer->weight.fill(0), layer->bias.fill(0);
    for (auto* layer : {&input_proj, &output_proj}) {
      init::xavier_uniform<Master<T>, D>(layer->weight, default_generator());
      layer->bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> v = input_proj(x), u = dw_conv(x), at = offset(u), scalars = mask(u);
    const index_t groups = options.groups, taps = scalars.dim(-1) / groups;
    const auto grouped = [&](const Tensor<T, D>& t) { return reshape(t, Shape{t.numel() / t.dim(-1), groups, t.dim(-1) / groups}); };
    Tensor<T, D> y = shapes_only() ? Tensor<T, D>(x.shape()) : dcnv3(v, at, reshape(softmax(grouped(scalars)), scalars.shape()), options);
    y = detail::observed(this, "DCNv3", v, y, 5 * y.numel() * taps);  // 4 to interpolate and 1 to modulate
    if (center_feature_scale_proj_weight) {
      const auto z = linear<T, D>(u, cast<T>(center_feature_scale_proj_weight), cast<T>(center_feature_scale_proj_bias));
      const auto gate = grouped(sigmoid(z)), from = grouped(y);
      y = reshape(from + (grouped(v) - from) * gate, x.shape());
    }
    return output_proj(y);
  }
  SEGNET_FIELDS(center_feature_scale_proj_weight, center_feature_scale_proj_bias, dw_conv, offset, mask, input_proj, output_proj)
};

struct DCNv4LayerOptions {
  index_t groups = 4;
  index_t kernel = 3, dilation = 1;  ///< padded so that sizes stay: an odd kernel
  index_t dw_kernel = 0;             ///< of a depth-wise convolution before offset_mask, odd; 0: none
  double offset_scale = 1;
  bool remove_center = false;
  Bias output_bias = Bias::yes;
};

/// DCNv4 with its projections (Xiong et al., arXiv:2401.06197), [N, H, W, C] -> [N, H, W, C], under the names of the official
/// implementation: output_proj(dcnv4(value_proj(x), offset_mask(x))), x passing offset_mask_dw before offset_mask where that is wanted.
/// Offsets and scalars are 0 at the start, and so is what is aggregated.
template <class T = float, class D = Cpu>
struct DCNv4 {
  DCNv3Options options;
  std::optional<Conv2d<T, D>> offset_mask_dw;
  Linear<T, D> offset_mask, value_proj, output_proj;

  DCNv4() = default;
  explicit DCNv4(index_t channels, const DCNv4LayerOptions& o = {}) {
    if (o.groups < 1 || channels % o.groups)
      throw ValueError("nn::DCNv4", "groups", concat("a divisor of the ", channels, " channels"), concat(o.groups));
    for (const index_t k : {o.kernel, o.dw_kernel ? o.dw_kernel : 1})
      if (k < 1 || k % 2 == 0) throw ValueError("nn::DCNv4", "kernel", "an odd number", concat(k));
    options = {.kernel = o.kernel,
               .padding = o.dilation * (o.kernel - 1) / 2,
               .dilation = o.dilation,
               .groups = o.groups,
               .offset_scale = o.offset_scale,
               .remove_center = o.remove_center};
    if (o.dw_kernel) offset_mask_dw.emplace(channels, channels, o.dw_kernel, Conv2dOptions{.padding = o.dw_kernel / 2, .groups = channels});
    offset_mask = Linear<T, D>(channels, dcnv4_width(o.groups, o.kernel * o.kernel - o.remove_center));
    value_proj = Linear<T, D>(channels, channels);
    output_proj = Linear<T, D>(channels, channels, o.output_bias);
    init_weights();
  }

  /// The start described above. What draws all linear layers of a network must call this afterwards.
  void init_weights() {
    offset_mask.weight.fill(0), offset_mask.bias.fill(0);
    for (auto* layer : {&value_proj, &output_proj}) {
      init::xavier_uniform<Master<T>, D>(layer->weight, default_generator());
      if (layer->bias) layer->bias.fill(0);
    }
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const Tensor<T, D> v = value_proj(x), numbers = offset_mask(offset_mask_dw ? (*offset_mask_dw)(x) : x);
    const Tensor<T, D> y = shapes_only() ? Tensor<T, D>(x.shape()) : dcnv4(v, numbers, options);
    const index_t taps = options.kernel.h * options.kernel.w - options.remove_center;
    return output_proj(detail::observed(this, "DCNv4", v, y, 5 * y.numel() * taps));
  }
  SEGNET_FIELDS(offset_mask_dw, offset_mask, value_proj, output_proj)
};

}  // namespace segnet::nn
