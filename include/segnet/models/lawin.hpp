// Lawin transformer: Yan, Zhang, Wu, "Lawin transformer: improving semantic segmentation transformer with multi-scale representations via
// large window attention", arXiv:2201.01615, figures 2 to 4, under the authors' names.
#pragma once

#include "segnet/models/segformer.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/unfold.hpp"

namespace segnet::models {

/// Pixels of a window's side: of the query, and of what its context is pooled to.
constexpr index_t lawin_window = 8;

struct LawinOptions {
  index_t classes = 150;
  MixTransformerOptions backbone = {};
  index_t embed = 512;        ///< channels of maps 2 to 4 before they are mixed
  index_t channels = 512;     ///< of the decoder; a multiple of 128
  index_t low_channels = 48;  ///< of map 1 in the decoder
  double dropout = 0.1;

  /// Lawin on MiT-B0 ... B5, of the published sizes. @throws ValueError
  [[nodiscard]] static LawinOptions b(int size) {
    LawinOptions o{.backbone = MixTransformerOptions::b(size)};
    if (size < 2) o.embed = 256, o.channels = 128;
    return o;
  }
};

/// A map cut into windows of 8 x 8. [N, H, W, C] -> [N H W / 64, 8, 8, C], row by row. @throws ShapeError: sides that are no multiples of 8
template <class T, class D>
[[nodiscard]] Tensor<T, D> cut_windows(const Tensor<T, D>& x) {
  constexpr index_t P = lawin_window;
  if (x.rank() != 4 || x.dim(1) % P != 0 || x.dim(2) % P != 0) throw ShapeError("cut_windows", "x", "[N, 8 i, 8 j, C]", x.shape());
  const index_t N = x.dim(0), rows = x.dim(1) / P, columns = x.dim(2) / P, C = x.dim(3);
  return reshape(permute(reshape(x, {N, rows, P, columns, P, C}), {0, 1, 3, 2, 4, 5}), {N * rows * columns, P, P, C});
}
/// The same backwards, for a map of that shape.
template <class T, class D>
[[nodiscard]] Tensor<T, D> join_windows(const Tensor<T, D>& x, const Shape& map) {
  constexpr index_t P = lawin_window;
  return reshape(permute(reshape(x, {map[0], map[1] / P, map[2] / P, P, P, map[3]}), {0, 1, 3, 2, 4, 5}), map);
}

/// What surrounds each window: 8 `ratio` x 8 `ratio` pixels with the window in the middle, zeros outside of the map, pooled to 8 x 8 by
/// half the sum of maximum and mean, and normalised. [N, H, W, C] -> [N H W / 64, 8, 8, C]
///
/// Windows are 8 pixels apart and so meet the same cells of `ratio` pixels: the map is pooled once, and the windows cut from that. x must
/// not be negative, or zeros outside would have to count for the maximum.
template <class T = float, class D = Cpu>
struct PooledContext {
  nn::LayerNorm<T, D> norm;
  index_t ratio;

  PooledContext(index_t channels, index_t context_ratio) : norm(channels), ratio(context_ratio) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    constexpr index_t P = lawin_window;
    const index_t outside = (ratio - 1) * P / 2, cut = outside % ratio, around = outside / ratio;  // pixels; of a first cell; whole cells
    const Extent2 size = ratio;
    auto cells = (max_pool2d(x, {.kernel = size, .padding = cut}).output + avg_pool2d(x, {.kernel = size, .padding = cut})) * 0.5;
    cells = norm(pad(cells, {0, 0, around, around, around, around}));
    const auto windows = unfold(cells, P, {.stride = P / ratio});
    return reshape(windows, {windows.dim(0) * windows.dim(1), P, P, x.dim(3)});
  }
  SEGNET_FIELDS(norm)
};

/// Large window attention: a window asks its context, in ratio^2 heads. Each head first mixes the positions of its part of the context's
/// channels (a linear layer over the 64 positions), then it is a non-local block (Wang et al., arXiv:1711.07971) on half the channels.
/// query, context [B, 8, 8, C] -> [B, 8, 8, C]
template <class T = float, class D = Cpu>
struct LargeWindowAttention {
  ConvModule<T, D> g, conv_out, theta, phi;
  nn::ModuleList<nn::Linear<T, D>> position_mixing;
  nn::Attention attention;

  LargeWindowAttention(index_t channels, index_t ratio)
      : g(channels, channels / 2, false, Activation::none),
        conv_out(channels / 2, channels, true, Activation::none),
        theta(channels, channels / 2, false, Activation::none),
        phi(channels, channels / 2, false, Activation::none),
        attention{{.heads = ratio * ratio}} {
    constexpr index_t positions = lawin_window * lawin_window;
    if (channels % (2 * attention.options.heads) != 0)
      throw ValueError("LargeWindowAttention", "channels", segnet::concat("a multiple of 2 ratio^2 = ", 2 * attention.options.heads),
                       segnet::concat(channels));
    for (index_t i = 0; i < attention.options.heads; ++i) position_mixing.push_back({positions, positions});
  }

  Tensor<T, D> operator()(const Tensor<T, D>& query, const Tensor<T, D>& context) const {
    const auto sequence = [](const Tensor<T, D>& x) { return flatten(x, 1, 2); };
    const auto mixed = mix_positions(context);
    const auto y = attention(sequence(theta(query)), sequence(phi(mixed)), sequence(g(mixed)));
    return conv_out(reshape(y, {query.dim(0), query.dim(1), query.dim(2), y.dim(2)}), query);
  }
  SEGNET_FIELDS(g, conv_out, theta, phi, position_mixing, attention)

 private:
  /// x[b, p, c] + bias[h][p] + sum over q of weight[h][p, q] x[b, q, c], h being the head of channel c: a product for each head.
  Tensor<T, D> mix_positions(const Tensor<T, D>& x) const {
    const index_t B = x.dim(0), P = x.dim(1) * x.dim(2), C = x.dim(3), heads = attention.options.heads;
    std::vector<Tensor<Master<T>, D>> weights, biases;
    for (const auto& layer : position_mixing) weights.push_back(layer.weight), biases.push_back(layer.bias);
    Tensor<T, D> y(x.shape());
    if (!nn::shapes_only()) {
      const auto parts = reshape(permute(reshape(x, {B, P, heads, C / heads}), {2, 1, 0, 3}), {heads, P, B * (C / heads)});
      const auto sums = matmul(cast<T>(stack(weights)), parts) + cast<T>(reshape(stack(biases), {heads, P, 1}));
      y = x + reshape(permute(reshape(sums, {heads, P, B, C / heads}), {2, 1, 0, 3}), x.shape());
    }
    return nn::detail::observed(&position_mixing, "PositionMixing", x, y, B * C * P * P);
  }
};

/// The mean of all pixels, as a map of one pixel, through a convolution.
template <class T = float, class D = Cpu>
struct ImagePool {
  ConvModule<T, D> conv;
  explicit ImagePool(index_t channels) : conv(channels, channels) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return conv(adaptive_avg_pool2d(x, 1)); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("1", self.conv);  // after a torch.nn.AdaptiveAvgPool2d
  }
};

/// Maps 2 to 4 mixed at 1/8; spatial pyramid pooling of it by large window attention of three ratios beside a short path and the image's
/// mean; map 1 mixed in at 1/4. c1 ... c4 -> logits [N, H / 4, W / 4, classes]
template <class T = float, class D = Cpu>
struct LawinHead {
  static constexpr index_t ratios[] = {8, 4, 2};
  nn::Conv2d<T, D> conv_seg;
  nn::ModuleList<LargeWindowAttention<T, D>> lawin;
  nn::ModuleList<PooledContext<T, D>> ds;
  ImagePool<T, D> image_pool;
  PixelLinear<T, D> linear_c4, linear_c3, linear_c2, linear_c1;
  ConvModule<T, D> linear_fuse, short_path, cat, low_level_fuse;
  nn::Dropout dropout;

  explicit LawinHead(const LawinOptions& o)
      : conv_seg(o.channels, o.classes, 1),
        image_pool(o.channels),
        linear_c4(o.backbone.channels[3], o.embed),
        linear_c3(o.backbone.channels[2], o.embed),
        linear_c2(o.backbone.channels[1], o.embed),
        linear_c1(o.backbone.channels[0], o.low_channels),
        linear_fuse(3 * o.embed, o.channels),
        short_path(o.channels, o.channels),
        cat(5 * o.channels, o.channels),
        low_level_fuse(o.channels + o.low_channels, o.channels),
        dropout{o.dropout} {
    for (const index_t ratio : ratios) {
      lawin.push_back({o.channels, ratio});
      ds.push_back({o.channels, ratio});
    }
  }

  Tensor<T, D> operator()(const std::array<Tensor<T, D>, 4>& c) const {
    const Extent2 fine{c[0].dim(1), c[0].dim(2)}, size{c[1].dim(1), c[1].dim(2)};
    const auto f = linear_fuse(concat({resize(linear_c4(c[3]), size), resize(linear_c3(c[2]), size), linear_c2(c[1])}, -1));
    std::vector<Tensor<T, D>> pyramid{short_path(f), resize(image_pool(f), size)};
    const auto query = cut_windows(f);
    for (std::size_t i = 0; i < lawin.size(); ++i) pyramid.push_back(join_windows(lawin[i](query, ds[i](f)), f.shape()));
    const auto y = low_level_fuse(concat({resize(cat(concat(pyramid, -1)), fine), linear_c1(c[0])}, -1));
    return conv_seg(dropout(y));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("conv_seg", self.conv_seg);
    for (std::size_t i = 0; i < self.lawin.size(); ++i) visit(segnet::concat("lawin_", ratios[i]), self.lawin[i]);
    visit("image_pool", self.image_pool);
    visit("linear_c4", self.linear_c4);
    visit("linear_c3", self.linear_c3);
    visit("linear_c2", self.linear_c2);
    visit("linear_c1", self.linear_c1);
    visit("linear_fuse", self.linear_fuse);
    visit("short_path", self.short_path);
    visit("cat", self.cat);
    visit("low_level_fuse", self.low_level_fuse);
    for (std::size_t i = 0; i < self.ds.size(); ++i) visit(segnet::concat("ds_", ratios[i]), self.ds[i]);
    visit("dropout", self.dropout);
  }
};

/// [N, H, W, in_channels] -> logits [N, H, W, classes], those of 1/4 of the size resized. H and W are multiples of 64 (or see `AnySize`).
/// Training needs batches of at least 2.
template <class T = float, class D = Cpu>
struct Lawin {
  MixTransformer<T, D> backbone;
  LawinHead<T, D> decode_head;

  explicit Lawin(const LawinOptions& o = {}) : backbone(o.backbone), decode_head(o) {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return resize(decode_head(backbone(x)), {x.dim(1), x.dim(2)}); }
  [[nodiscard]] index_t padded_size(index_t n) const { return (n + 63) / 64 * 64; }
  [[nodiscard]] index_t margin() const { return 0; }
  SEGNET_FIELDS(backbone, decode_head)
};

}  // namespace segnet::models
