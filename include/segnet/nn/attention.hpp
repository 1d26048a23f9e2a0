// Attention as layers.
#pragma once

#include "segnet/nn/dropout.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/nn/shapes_only.hpp"
#include "segnet/ops/attention.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet::nn {

/// `scaled_dot_product_attention` without parameters, for networks that project their queries, keys and values themselves: `summary` counts
/// its products.
struct Attention {
  AttentionOptions options;

  /// q [N, L, C], k [N, S, C], v [N, S, CV] -> [N, L, CV]
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v) const {
    const auto g = kernels::attention_geometry("attention", q.shape(), k.shape(), v.shape(), options.heads, options.scale);
    const Tensor<T, D> y = shapes_only() ? Tensor<T, D>(g.y_shape()) : scaled_dot_product_attention(q, k, v, options);
    return detail::observed(this, "Attention", q, y, g.N * g.heads * g.L * g.S * (g.D + g.V));
  }
  SEGNET_FIELDS()
};

struct MultiheadAttentionOptions {
  index_t heads = 1;
  Bias bias = Bias::yes;  ///< of all projections
  double dropout = 0;     ///< of the probabilities, in training
};

/// Multi-head attention (arXiv:1706.03762, section 3.2.2) under PyTorch's names: queries, keys and values pass linear layers, whose
/// weights are one, [3 C, C], and so does the result. Sequences are [N, L, C] (PyTorch: batch_first).
template <class T = float, class D = Cpu>
struct MultiheadAttention {
  Parameter<Master<T>, D> in_proj_weight, in_proj_bias;
  Linear<T, D> out_proj;
  index_t heads = 1;
  Dropout dropout{0};

  MultiheadAttention() = default;
  explicit MultiheadAttention(index_t channels, const MultiheadAttentionOptions& o = {})
      : in_proj_weight(Tensor<Master<T>, D>({3 * channels, channels})),
        out_proj(channels, channels, o.bias),
        heads(o.heads),
        dropout{o.dropout} {
    if (heads < 1 || channels % heads != 0)
      throw ValueError("nn::MultiheadAttention", "heads", segnet::concat("a divisor of the ", channels, " channels"),
                       segnet::concat(heads));
    init::xavier_uniform<Master<T>, D>(in_proj_weight, default_generator());
    if (o.bias == Bias::no) return;
    in_proj_bias = Parameter<Master<T>, D>(zeros<Master<T>, D>({3 * channels}));
    out_proj.bias.fill(0);
  }

  /// Of a sequence to itself.
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return (*this)(x, x, x); }

  /// @param query [N, L, C]   @param key [N, S, C]   @param value [N, S, C]   @return [N, L, C]
  /// @param mask  added to the scores, see `attention_weights`   @param padding [N, S], true where a key is to be ignored
  Tensor<T, D> operator()(const Tensor<T, D>& query, const Tensor<T, D>& key, const Tensor<T, D>& value, const Tensor<T, D>& mask = {},
                          const Tensor<bool, D>& padding = {}) const {
    const auto q = project(query, 0), k = project(key, 1), v = project(value, 2);
    const auto g = kernels::attention_geometry("MultiheadAttention", q.shape(), k.shape(), v.shape(), heads, 0);
    const auto both = joint_mask(mask, padding);
    const Tensor<T, D> y = shapes_only()                       ? Tensor<T, D>(g.y_shape())
                           : dropout.p > 0 && dropout.training ? attend(dropout(attention_weights(q, k, {.heads = heads}, both)), v)
                                                               : scaled_dot_product_attention(q, k, v, {.heads = heads}, both);
    const index_t projections = (q.numel() + k.numel() + v.numel()) * in_proj_weight.dim(1);
    return out_proj(detail::observed(this, "MultiheadAttention", query, y, projections + g.N * heads * g.L * g.S * (g.D + g.V)));
  }

  /// The probabilities, [N, heads, L, S].
  [[nodiscard]] Tensor<T, D> weights(const Tensor<T, D>& query, const Tensor<T, D>& key, const Tensor<T, D>& mask = {},
                                     const Tensor<bool, D>& padding = {}) const {
    return attention_weights(project(query, 0), project(key, 1), {.heads = heads}, joint_mask(mask, padding));
  }

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("in_proj_weight", self.in_proj_weight);
    visit("in_proj_bias", self.in_proj_bias);
    visit("out_proj", self.out_proj);
    visit("dropout", self.dropout);
  }

 private:
  Tensor<T, D> project(const Tensor<T, D>& x, index_t part) const {
    const index_t C = in_proj_weight.dim(1);
    const auto of = [&](const Parameter<Master<T>, D>& p) { return p ? cast<T>(narrow<Master<T>, D>(p, 0, part * C, C)) : Tensor<T, D>{}; };
    if (shapes_only()) return Tensor<T, D>(kernels::linear_geometry("linear", x.shape(), {C, C}, {C}).y_shape);
    return linear<T, D>(x, of(in_proj_weight), of(in_proj_bias));
  }
  static Tensor<T, D> joint_mask(const Tensor<T, D>& mask, const Tensor<bool, D>& padding) {
    if (!padding) return mask;
    const auto ignored = additive_mask<T>(reshape(padding, {padding.dim(0), 1, 1, padding.dim(1)}), false);
    return mask ? mask + ignored : ignored;
  }
};

}  // namespace segnet::nn
