// Mix Transformer encoders, MiT-B0 to B5: Xie et al., "SegFormer", arXiv:2105.15203, section 3.1 and table 6, under NVlabs' names.
//
//   stage                    1      2      3      4
//   map, of the image       1/4    1/8   1/16   1/32
//   keys and values fewer   64      16      4      1   times
#pragma once

#include <array>

#include "segnet/nn/activation.hpp"
#include "segnet/nn/attention.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/nn/norm.hpp"

namespace segnet::models {

struct MixTransformerOptions {
  index_t in_channels = 3;
  std::array<index_t, 4> channels{32, 64, 160, 256};
  std::array<int, 4> depths{2, 2, 2, 2};
  std::array<index_t, 4> heads{1, 2, 5, 8};
  std::array<index_t, 4> reductions{8, 4, 2, 1};  ///< of the sides of the map that keys and values come from
  index_t expansion = 4;                          ///< of the channels within a feed-forward network
  double drop_path = 0.1;                         ///< of the last block; grows from 0 block by block

  /// The table's B0 ... B5. @throws ValueError
  [[nodiscard]] static MixTransformerOptions b(int size) {
    constexpr std::array<int, 4> depths[] = {{2, 2, 2, 2}, {2, 2, 2, 2}, {3, 4, 6, 3}, {3, 4, 18, 3}, {3, 8, 27, 3}, {3, 6, 40, 3}};
    if (size < 0 || size > 5) throw ValueError("MixTransformerOptions::b", "size", "0 to 5", concat(size));
    MixTransformerOptions o;
    o.depths = depths[size];
    if (size > 0) o.channels = {64, 128, 320, 512};
    return o;
  }
};

namespace detail {
template <class T, class D>
void init_transformer(nn::Linear<T, D>& linear) {
  nn::init::normal<Master<T>, D>(linear.weight, default_generator(), 0, 0.02);
  linear.bias.fill(0);
}
template <class T, class D>
void init_transformer(nn::Conv2d<T, D>& conv) {
  const double fan_out = static_cast<double>(nn::init::fan(conv.weight.shape()).out / conv.options.groups);
  nn::init::normal<Master<T>, D>(conv.weight, default_generator(), 0, std::sqrt(2 / fan_out));
  conv.bias.fill(0);
}
}  // namespace detail

/// Every pixel attends to a smaller map, made by a strided convolution. [N, H, W, C] -> the same shape
template <class T = float, class D = Cpu>
struct EfficientSelfAttention {
  nn::Linear<T, D> q, kv, proj;
  std::optional<nn::Conv2d<T, D>> sr;
  std::optional<nn::LayerNorm<T, D>> norm;
  nn::Attention attention;

  EfficientSelfAttention(index_t channels, index_t heads, index_t reduction)
      : q(channels, channels), kv(channels, 2 * channels), proj(channels, channels), attention{{.heads = heads}} {
    for (auto* linear : {&q, &kv, &proj}) detail::init_transformer(*linear);
    if (reduction == 1) return;
    sr.emplace(channels, channels, reduction, Conv2dOptions{.stride = reduction});
    norm.emplace(channels);
    detail::init_transformer(*sr);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const index_t C = x.dim(3);
    const auto keys_values = flatten(kv(sr ? (*norm)((*sr)(x)) : x), 1, 2);
    const auto y = attention(flatten(q(x), 1, 2), narrow(keys_values, -1, 0, C), narrow(keys_values, -1, C, C));
    return proj(reshape(y, x.shape()));
  }
  SEGNET_FIELDS(q, kv, proj, sr, norm, attention)
};

/// A feed-forward network with a 3x3 depth-wise convolution, whose padding tells pixels where they are: no other position code is needed.
/// [N, H, W, C] -> the same shape
template <class T = float, class D = Cpu>
struct MixFeedForward {
  nn::Linear<T, D> fc1, fc2;
  nn::Conv2d<T, D> dwconv;

  MixFeedForward(index_t channels, index_t hidden)
      : fc1(channels, hidden), fc2(hidden, channels), dwconv(hidden, hidden, 3, {.padding = 1, .groups = hidden}) {
    detail::init_transformer(fc1);
    detail::init_transformer(fc2);
    detail::init_transformer(dwconv);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return fc2(nn::GELU{}(dwconv(fc1(x)))); }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("fc1", self.fc1);
    visit("dwconv.dwconv", self.dwconv);
    visit("fc2", self.fc2);
  }
};

/// x + attention of its norm, then x + feed-forward network of its norm.
template <class T = float, class D = Cpu>
struct MixTransformerBlock {
  nn::LayerNorm<T, D> norm1;
  EfficientSelfAttention<T, D> attn;
  nn::LayerNorm<T, D> norm2;
  MixFeedForward<T, D> mlp;
  nn::DropPath drop_path;

  MixTransformerBlock(index_t channels, index_t heads, index_t reduction, index_t expansion, double drop)
      : norm1(channels, 1e-6),
        attn(channels, heads, reduction),
        norm2(channels, 1e-6),
        mlp(channels, expansion * channels),
        drop_path{drop} {}

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto y = x + drop_path(attn(norm1(x)));
    return y + drop_path(mlp(norm2(y)));
  }
  SEGNET_FIELDS(norm1, attn, norm2, mlp, drop_path)
};

/// A strided convolution whose patches overlap, and a norm.
template <class T = float, class D = Cpu>
struct OverlapPatchEmbed {
  nn::Conv2d<T, D> proj;
  nn::LayerNorm<T, D> norm;

  OverlapPatchEmbed(index_t in, index_t out, index_t kernel, index_t stride)
      : proj(in, out, kernel, {.stride = stride, .padding = kernel / 2}), norm(out) {
    detail::init_transformer(proj);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return norm(proj(x)); }
  SEGNET_FIELDS(proj, norm)
};

/// [N, H, W, in_channels] -> maps c1 ... c4 of 1/4 to 1/32 of its size (rounded up), [N, ceil(H / 4), ceil(W / 4), channels[0]], ...
/// The smallest image has sides of 29 pixels.
template <class T = float, class D = Cpu>
struct MixTransformer {
  struct Stage {
    OverlapPatchEmbed<T, D> patch_embed;
    nn::ModuleList<MixTransformerBlock<T, D>> blocks;
    nn::LayerNorm<T, D> norm;

    Tensor<T, D> operator()(const Tensor<T, D>& x) const {
      Tensor<T, D> y = patch_embed(x);
      for (const auto& block : blocks) y = block(y);
      return norm(y);
    }
  };
  std::vector<Stage> stages;

  explicit MixTransformer(const MixTransformerOptions& o = {}) {
    int blocks = 0, block = 0;
    for (const int depth : o.depths) blocks += depth;
    for (std::size_t s = 0; s < 4; ++s) {
      const index_t channels = o.channels[s], before = s == 0 ? o.in_channels : o.channels[s - 1];
      stages.push_back({{before, channels, s == 0 ? 7 : 3, s == 0 ? 4 : 2}, {}, nn::LayerNorm<T, D>(channels, 1e-6)});
      for (int i = 0; i < o.depths[s]; ++i, ++block)
        stages.back().blocks.push_back({channels, o.heads[s], o.reductions[s], o.expansion, o.drop_path * block / std::max(blocks - 1, 1)});
    }
  }

  std::array<Tensor<T, D>, 4> operator()(const Tensor<T, D>& x) const {
    std::array<Tensor<T, D>, 4> maps;
    for (std::size_t s = 0; s < 4; ++s) maps[s] = stages[s](s == 0 ? x : maps[s - 1]);
    return maps;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t s = 0; s < 4; ++s) visit(segnet::concat("patch_embed", s + 1), self.stages[s].patch_embed);
    for (std::size_t s = 0; s < 4; ++s) {
      visit(segnet::concat("block", s + 1), self.stages[s].blocks);
      visit(segnet::concat("norm", s + 1), self.stages[s].norm);
    }
  }
};

}  // namespace segnet::models
