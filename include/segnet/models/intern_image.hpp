// InternImage: Wang et al., "InternImage: exploring large-scale vision foundation models with deformable convolutions", arXiv:2211.05778,
// figure 3 and table 1. Under the names of the authors' code.
//
//   map, of the image     1/4        1/8        1/16        1/32
//   channels               C         2 C         4 C         8 C          (C = 64, "T", to 320, "H")
#pragma once

#include <algorithm>
#include <array>

#include "segnet/models/upernet.hpp"
#include "segnet/nn/activation.hpp"
#include "segnet/nn/deform_conv.hpp"
#include "segnet/nn/dropout.hpp"

namespace segnet::models {

/// Where a block's norms are.
enum class InternImageNorm {
  pre,      ///< x + f(norm(x))
  post,     ///< x + norm(f(x)): of the branch, never of the sum
  res_post  ///< x + norm'(f(norm(x)))
};

struct InternImageOptions {
  index_t channels = 64;
  std::array<int, 4> depths{4, 4, 18, 4};
  std::array<index_t, 4> groups{4, 8, 16, 32};
  InternImageNorm norm = InternImageNorm::pre;
  double layer_scale = 1;  ///< start of the factors of each branch's channels; 0: no such factors
  double offset_scale = 1;
  double drop_path = 0.2;  ///< of the last block; grows from 0 block by block
  // InternImage-H alone:
  index_t dw_kernel = 3;
  bool center_feature_scale = false;
  std::vector<int> post_norms = {};  ///< blocks of the third stage behind which the sum is normalised, too

  /// "T", "S", "B", "L", "XL", "H", as their authors segment with them. @throws ValueError
  [[nodiscard]] static InternImageOptions named(std::string_view size);

  /// Channels of the maps.
  [[nodiscard]] std::array<index_t, 4> maps() const { return {channels, 2 * channels, 4 * channels, 8 * channels}; }
};

inline InternImageOptions InternImageOptions::named(std::string_view size) {
  using enum InternImageNorm;
  if (size == "T") return {};
  if (size == "S") return {80, {4, 4, 21, 4}, {5, 10, 20, 40}, post, 1, 1, 0.3};
  if (size == "B") return {112, {4, 4, 21, 4}, {7, 14, 28, 56}, post, 1, 1, 0.4};
  if (size == "L") return {160, {5, 5, 22, 5}, {10, 20, 40, 80}, post, 1, 2, 0.4};
  if (size == "XL") return {192, {5, 5, 24, 5}, {12, 24, 48, 96}, post, 1, 2, 0.4};
  if (size == "H") return {320, {6, 6, 32, 6}, {10, 20, 40, 80}, res_post, 0, 1, 0.5, 5, true, {5, 11, 17, 23, 29}};
  throw ValueError("InternImageOptions::named", "size", "T, S, B, L, XL or H", std::string(size));
}

/// Two linear layers with GELU between. [..., C] -> the same shape
template <class T = float, class D = Cpu>
struct InternImageMlp {
  nn::Linear<T, D> fc1, fc2;

  InternImageMlp(index_t channels, index_t hidden) : fc1(channels, hidden), fc2(hidden, channels) {
    for (auto* layer : {&fc1, &fc2}) {
      nn::init::normal<Master<T>, D>(layer->weight, default_generator(), 0, 0.02);
      layer->bias.fill(0);
    }
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return fc2(nn::GELU{}(fc1(x))); }
  SEGNET_FIELDS(fc1, fc2)
};

/// Figure 3's basic block: deformable convolution, then a feed-forward network, each on a branch. [N, H, W, C] -> the same shape
template <class T = float, class D = Cpu>
struct InternImageBlock {
  InternImageNorm norm;
  nn::Parameter<Master<T>, D> gamma1, gamma2;
  nn::LayerNorm<T, D> norm1, norm2;
  nn::DCNv3<T, D> dcn;
  InternImageMlp<T, D> mlp;
  std::optional<nn::LayerNorm<T, D>> res_post_norm1, res_post_norm2;
  nn::DropPath drop_path;

  InternImageBlock(const InternImageOptions& o, index_t channels, index_t groups, double drop)
      : norm(o.norm),
        norm1(channels, 1e-6),
        norm2(channels, 1e-6),
        dcn(channels,
            {.groups = groups, .dw_kernel = o.dw_kernel, .offset_scale = o.offset_scale, .center_feature_scale = o.center_feature_scale}),
        mlp(channels, 4 * channels),
        drop_path{drop} {
    if (o.layer_scale != 0)
      for (auto* gamma : {&gamma1, &gamma2})
        *gamma = nn::Parameter<Master<T>, D>(full<Master<T>, D>({channels}, static_cast<Master<T>>(o.layer_scale)));
    if (norm == InternImageNorm::res_post)
      for (auto* after : {&res_post_norm1, &res_post_norm2}) after->emplace(channels, 1e-6);
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    const auto y = add(x, dcn, norm1, res_post_norm1, gamma1);
    return add(y, mlp, norm2, res_post_norm2, gamma2);
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("gamma1", self.gamma1);
    visit("gamma2", self.gamma2);
    visit("norm1.0", self.norm1);
    visit("dcn", self.dcn);
    visit("norm2.0", self.norm2);
    visit("mlp", self.mlp);
    visit("res_post_norm1.0", self.res_post_norm1);
    visit("res_post_norm2.0", self.res_post_norm2);
    visit("drop_path", self.drop_path);
  }

 private:
  template <class F>
  Tensor<T, D> add(const Tensor<T, D>& x, const F& f, const nn::LayerNorm<T, D>& around, const std::optional<nn::LayerNorm<T, D>>& after,
                   const nn::Parameter<Master<T>, D>& gamma) const {
    Tensor<T, D> branch = norm == InternImageNorm::post ? around(f(x)) : f(around(x));
    if (after) branch = (*after)(branch);
    if (nn::shapes_only()) return branch;
    if (gamma) branch = branch * cast<T>(gamma);
    return x + drop_path(branch);
  }
};

/// [N, H, W, 3] -> maps c1 ... c4 of 1/4 to 1/32 of its size (rounded up), [N, ceil(H / 4), ceil(W / 4), channels], ...
template <class T = float, class D = Cpu>
struct InternImage {
  /// A 3x3 convolution that halves the size, and a norm.
  struct Halving {
    nn::Conv2d<T, D> conv;
    nn::LayerNorm<T, D> norm;

    Halving(index_t in, index_t out, nn::Bias bias) : conv(in, out, 3, {.stride = 2, .padding = 1}, bias), norm(out, 1e-6) {}
    Tensor<T, D> operator()(const Tensor<T, D>& x) const { return norm(conv(x)); }
  };
  struct Level {
    nn::ModuleList<InternImageBlock<T, D>> blocks;
    nn::ModuleList<nn::LayerNorm<T, D>> post_norms;
    std::optional<nn::LayerNorm<T, D>> norm;  ///< of what both the result and the next level are made of
    std::optional<Halving> downsample;        ///< none after the last

    template <class Self, class Visit>
    static void for_each_field(Self& self, Visit&& visit) {
      visit("blocks", self.blocks);
      for (std::size_t i = 0; i < self.post_norms.size(); ++i) visit(segnet::concat("post_norms.", i, ".0"), self.post_norms[i]);
      visit("norm.0", self.norm);
      if (!self.downsample) return;
      visit("downsample.conv", self.downsample->conv);
      visit("downsample.norm.1", self.downsample->norm);
    }
  };

  std::array<Halving, 2> stem;
  nn::ModuleList<Level> levels;
  std::vector<int> post_norms;

  explicit InternImage(const InternImageOptions& o = {})
      : stem{Halving(3, o.channels / 2, nn::Bias::yes), Halving(o.channels / 2, o.channels, nn::Bias::yes)}, post_norms(o.post_norms) {
    int blocks = 0, block = 0;
    for (const int depth : o.depths) blocks += depth;
    for (std::size_t s = 0; s < 4; ++s) {
      const index_t C = o.maps()[s];
      Level level;
      for (int i = 0; i < o.depths[s]; ++i, ++block)
        level.blocks.push_back({o, C, o.groups[s], o.drop_path * block / std::max(blocks - 1, 1)});
      if (s == 2)
        for (std::size_t i = 0; i < post_norms.size(); ++i) level.post_norms.push_back(nn::LayerNorm<T, D>(C, 1e-6));
      if (o.norm != InternImageNorm::post || o.center_feature_scale) level.norm.emplace(C, 1e-6);
      if (s < 3) level.downsample.emplace(C, 2 * C, nn::Bias::no);
      levels.push_back(std::move(level));
    }
  }

  std::array<Tensor<T, D>, 4> operator()(const Tensor<T, D>& image) const {
    std::array<Tensor<T, D>, 4> maps;
    auto x = stem[1](nn::GELU{}(stem[0](image)));
    for (std::size_t s = 0; s < 4; ++s) {
      const Level& level = levels[s];
      std::size_t normed = 0;
      for (std::size_t i = 0; i < level.blocks.size(); ++i) {
        x = level.blocks[i](x);
        if (normed < level.post_norms.size() && post_norms[normed] == static_cast<int>(i)) x = level.post_norms[normed++](x);
      }
      maps[s] = level.norm ? (*level.norm)(x) : x;
      if (level.downsample) x = (*level.downsample)(maps[s]);
    }
    return maps;
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    for (std::size_t i = 0; i < 2; ++i) {
      visit(segnet::concat("patch_embed.conv", i + 1), self.stem[i].conv);
      visit(segnet::concat("patch_embed.norm", i + 1, ".1"), self.stem[i].norm);
    }
    visit("levels", self.levels);
  }
};

struct InternImageUPerNetOptions {
  index_t classes = 150;
  bool aux = true;
  InternImageOptions backbone = {};
  index_t channels = 512;  ///< within the head
};

/// The authors' network for segmentation, [N, H, W, 3] -> logits [N, H, W, classes]. Training needs batches of at least 2.
template <class T = float, class D = Cpu>
struct InternImageUPerNet : UPerNet<InternImage<T, D>, T, D> {
  explicit InternImageUPerNet(const InternImageUPerNetOptions& o = {})
      : UPerNet<InternImage<T, D>, T, D>(InternImage<T, D>(o.backbone),
                                         {.in = o.backbone.maps(), .channels = o.channels, .classes = o.classes}, o.aux) {}
};

}  // namespace segnet::models
