// Scaled dot-product attention: Vaswani et al., "Attention is all you need", arXiv:1706.03762, section 3.2.
#pragma once

#include "segnet/kernels/attention.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/matmul.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet {

struct AttentionOptions {
  index_t heads = 1;  ///< equal parts that the channels are cut into, each attended to by itself
  double scale = 0;   ///< of the scores; 0: 1 / sqrt(channels of a head)
};

/// [N, L, heads * D] -> [N, heads, L, D]. @throws ShapeError
template <class T, class D>
[[nodiscard]] Tensor<T, D> split_heads(const Tensor<T, D>& x, index_t heads) {
  if (x.rank() != 3 || heads < 1 || x.dim(2) % heads != 0)
    throw ShapeError("split_heads", "x", concat("[N, L, C], C a multiple of ", heads, " heads"), x.shape());
  if (heads == 1) return reshape(x, {x.dim(0), 1, x.dim(1), x.dim(2)});
  return permute(reshape(x, {x.dim(0), x.dim(1), heads, x.dim(2) / heads}), {0, 2, 1, 3});
}
/// [N, heads, L, D] -> [N, L, heads * D]. @throws ShapeError
template <class T, class D>
[[nodiscard]] Tensor<T, D> join_heads(const Tensor<T, D>& x) {
  if (x.rank() != 4) throw ShapeError("join_heads", "x", "[N, heads, L, D]", x.shape());
  return reshape(x.dim(1) == 1 ? x : permute(x, {0, 2, 1, 3}), {x.dim(0), x.dim(2), x.dim(1) * x.dim(3)});
}

namespace detail {
inline void check_broadcasts(const char* op, const char* argument, const Shape& x, const Shape& to) {
  bool fits = x.rank() <= to.rank();
  for (int d = 1; fits && d <= x.rank(); ++d) fits = x[-d] == to[-d] || x[-d] == 1;
  if (!fits) throw ShapeError(op, argument, concat("a shape that broadcasts to ", to), x);
}
}  // namespace detail

/// What each query takes of each key: softmax(scale q k^T + mask) over the keys, for each head.
///
/// @param q [N, L, C]   @param k [N, S, C]
/// @param mask  added to the scores; broadcasts to [N, heads, L, S]; undefined for none. -inf (`additive_mask`) keeps a key out; a query
/// that
///              has no key left becomes NaN
/// @return [N, heads, L, S]
/// @throws ShapeError, ValueError
/// Gradients to q, k and mask.
template <class T, class D>
[[nodiscard]] Tensor<T, D> attention_weights(const Tensor<T, D>& q, const Tensor<T, D>& k, const AttentionOptions& options = {},
                                             const std::type_identity_t<Tensor<T, D>>& mask = {}) {
  const auto g = kernels::attention_geometry("attention_weights", q.shape(), k.shape(), k.shape(), options.heads, options.scale);
  auto scores = matmul(split_heads(q * static_cast<Master<T>>(g.scale), g.heads), split_heads(k, g.heads), {.transpose_b = true});
  if (mask) {
    detail::check_broadcasts("attention_weights", "mask", mask.shape(), scores.shape());
    scores = scores + mask;
  }
  return softmax(scores, -1);
}
/// The values, weighted. @param weights [N, heads, L, S]   @param v [N, S, C]   @return [N, L, C]
template <class T, class D>
[[nodiscard]] Tensor<T, D> attend(const Tensor<T, D>& weights, const Tensor<T, D>& v) {
  return join_heads(matmul(weights, split_heads(v, weights.dim(1))));
}

/// softmax(scale q k^T + mask) v for each head, whose channels lie side by side: channels [i C / heads, (i + 1) C / heads) of q and k
/// make the scores of head i, and the same part of v's channels is what it weights.
///
/// @param q [N, L, C]   @param k [N, S, C]   @param v [N, S, CV]
/// @param mask  as in `attention_weights`
/// @return [N, L, CV]
/// @throws ShapeError, ValueError
/// Gradients to q, k, v and mask. Same bits for any number of threads.
/// Memory: on the CPU without a mask, in both directions, a block of scores for each thread, and L numbers of each head are kept for the
/// backward pass, which computes the scores again (heads of at most 1024 channels). Else all probabilities, N * heads * L * S, are kept.
template <class T, class D>
[[nodiscard]] Tensor<T, D> scaled_dot_product_attention(const Tensor<T, D>& q, const Tensor<T, D>& k, const Tensor<T, D>& v,
                                                        const AttentionOptions& options = {},
                                                        const std::type_identity_t<Tensor<T, D>>& mask = {}) {
  const char* op = "scaled_dot_product_attention";
  const auto g = kernels::attention_geometry(op, q.shape(), k.shape(), v.shape(), options.heads, options.scale);
  if constexpr (std::is_same_v<D, Cpu>)
    if (!mask && g.fits()) {
      const Tensor<T, D> y(g.y_shape()), log_sums({g.N, g.heads, g.L});
      kernels::attention(g, q.view(), k.view(), v.view(), y.view(), log_sums.view());
      return record(
          op, y, {q, k, v},
          [g, q = q.detach(), k = k.detach(), v = v.detach(), y = y.detach(), log_sums](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
            const auto wanted = [&](std::size_t i) { return grad.wanted(i) ? grad[i].view() : View<T, D>{}; };
            kernels::attention_backward(g, q.view(), k.view(), v.view(), y.view(), log_sums.view(), dy.view(), wanted(0), wanted(1),
                                        wanted(2));
          });
    }
  return attend(attention_weights(q, k, options, mask), v);
}

/// The mask for scores that lets through where `keys` is true, or false if that is what `allowed` is: 0 there, -inf elsewhere.
template <class T, class D>
[[nodiscard]] Tensor<T, D> additive_mask(const Tensor<bool, D>& keys, bool allowed = true) {
  const auto through = zeros<T, D>({}), out = full<T, D>({}, static_cast<T>(-INFINITY));
  return allowed ? where(keys, through, out) : where(keys, out, through);
}

}  // namespace segnet
