// Attention that never holds a whole matrix of scores: Dao et al., "FlashAttention", arXiv:2205.14135, algorithms 1 and 4; the softmax over
// blocks of keys is Milakov & Gimelshein's, arXiv:1805.02867.
//
// A head is walked in blocks of queries times blocks of keys. Keys and values are packed once, as right operands of products
// (gemm_tile.hpp), and every block of queries runs past them; heads are read and written where they are, side by side in the channels. The
// backward pass computes the scores again, and the probabilities from them and the logarithm of each row's sum.
#pragma once

#include "segnet/kernels/gemm.hpp"
#include "segnet/kernels/softmax.hpp"

namespace segnet::kernels {

/// q [N, L, heads * D], k [N, S, heads * D], v [N, S, heads * V] -> y [N, L, heads * V]
struct AttentionGeometry {
  index_t N, heads, L, S, D, V;
  double scale;  ///< of the scores

  /// Whether a product's depth is within one packed block: else `attention` does not take it.
  bool fits() const { return std::max(D, V) <= detail::GemmPlan<float>::depth_block; }
  Shape y_shape() const { return {N, L, heads * V}; }
};

/// `scale` 0: 1 / sqrt(D). @throws ShapeError, ValueError
[[nodiscard]] inline AttentionGeometry attention_geometry(std::string_view op, const Shape& q, const Shape& k, const Shape& v,
                                                          index_t heads, double scale) {
  if (heads < 1) throw ValueError(op, "heads", "at least 1", concat(heads));
  if (!(scale >= 0)) throw ValueError(op, "scale", "a positive number, or 0 for 1 / sqrt(channels of a head)", concat(scale));
  if (q.rank() != 3 || q[2] < 1 || q[2] % heads != 0)
    throw ShapeError(op, "q", heads == 1 ? "[N, L, C]" : concat("[N, L, C], C a multiple of ", heads, " heads"), q);
  if (k.rank() != 3 || k[0] != q[0] || k[1] < 1 || k[2] != q[2])
    throw ShapeError(op, "k", concat("[", q[0], ", S, ", q[2], "], S at least 1, for q ", q), k);
  if (v.rank() != 3 || v[0] != k[0] || v[1] != k[1] || v[2] < 1 || v[2] % heads != 0)
    throw ShapeError(op, "v", concat("[", k[0], ", ", k[1], ", C], C a multiple of the number of heads, ", heads), v);
  const index_t D = q[2] / heads;
  return {q[0], heads, q[1], k[1], D, v[2] / heads, scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(D))};
}

namespace detail::inline SEGNET_LAYOUT {

constexpr index_t query_block = 96, key_block = 256;  // their scores stay in the second-level cache, with what they are made of

/// Rows of a head [rows, width], packed block by block as right operands: as they are, [block, width], or as [width, block].
template <class T>
struct PackedBlocks {
  index_t rows, width, block;
  bool transposed;

  index_t size() const { return transposed ? width * PackedPanels<T>::rounded(rows) : rows * PackedPanels<T>::rounded(width); }
  /// Where the block that begins at that row is.
  index_t offset(index_t first) const { return first * (transposed ? width : PackedPanels<T>::rounded(width)); }
  /// Packs that block of x, whose rows are `stride` apart, times `scale`, into `to`, where all blocks are.
  void pack(const T* x, index_t stride, index_t first, T* to, T scale = T(1)) const {
    const index_t count = std::min(block, rows - first), depth = transposed ? width : count, columns = transposed ? count : width;
    const Matrix<T> m{x + first * stride, stride, transposed};
    const index_t panels = (columns + PackedPanels<T>::width() - 1) / PackedPanels<T>::width();
    to += offset(first);
    for (index_t p = 0; p < panels; ++p) gemm_pack_panel(m, 0, 0, depth, columns, p, to);
    if (scale == T(1)) return;
    const index_t n = depth * PackedPanels<T>::rounded(columns);
    for (index_t i = 0; i < n; ++i) to[i] *= scale;
  }
};

/// Products of blocks, and the scratch memory of all workers for them.
template <class T>
class BlockProducts {
 public:
  BlockProducts(index_t workers, index_t depth)
      : copy_size_(most_rows() * (depth + 64 / static_cast<index_t>(sizeof(T)))),
        copy_(workers * copy_size_),
        rows_(workers * 2 * most_rows()),
        outs_(workers * 2 * most_rows()) {}

  /// c [m, n] = or += a [m, k] b [k, n], b packed.
  void operator()(int worker, index_t m, index_t n, index_t k, const Matrix<T>& a, const T* b, T* c, index_t c_stride, bool add) const {
    const GemmPlan<T> plan{m, n, k, a.transposed, a.stride};
    const PackedPanels<T> panels{b, nullptr, k, n, plan.narrow()};
    for (index_t team = 0; team < plan.teams(); ++team)
      gemm_team(plan, team, a, 0, panels, 0, panels.count(), c, c_stride, add, copy_.data() + worker * copy_size_,
                rows_.data() + worker * 2 * most_rows(), outs_.data() + worker * 2 * most_rows());
  }

 private:
  static index_t most_rows() { return GemmPlan<T>::team * tile_rows(current_isa()); }
  index_t copy_size_;
  Scratch<T> copy_;
  Scratch<const T*> rows_;
  Scratch<T*> outs_;
};

/// Of `rows` rows of scores [rows, keys]: their exponentials, less the largest score that a row had so far. top and sum [rows] go on from
/// the blocks of keys before, and so do the weighted values y [rows, V], `stride` apart, which are brought to the new largest score.
template <class T>
void exp_block(index_t rows, index_t keys, bool first, T* scores, T* top, T* sum, index_t V, index_t stride, T* y) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    RowBlocks<T> blocks(keys);
    for (index_t r = 0; r < rows; r += row_tile_width, scores += row_tile_width * keys) {
      const index_t n = std::min(row_tile_width, rows - r);
      T block_top[row_tile_width], block_sum[row_tile_width];
      blocks.load(scores, n);
      max_of_rows<isa.value>(scores, blocks, n, block_top);
      if (!first)
        for (index_t i = 0; i < n; ++i) block_top[i] = larger(top[r + i], block_top[i]);
      exp_sum_of_rows<isa.value>(scores, blocks, n, block_top, block_sum, scores);
      blocks.store(scores, n);
      for (index_t i = 0; i < n; ++i) {
        if (!first) {
          const T factor = math::exp(top[r + i] - block_top[i]);
          block_sum[i] += sum[r + i] * factor;
          T* values = y + (r + i) * stride;
          if (factor != T(1))
            for (index_t c = 0; c < V; ++c) values[c] *= factor;
        }
        top[r + i] = block_top[i];
        sum[r + i] = block_sum[i];
      }
    }
  });
}

/// p = exp(scores - log_sum), ds = p (dp - delta) scale: the probabilities and the gradients of scores that were not scaled, [keys, rows],
/// in the place of the scores and of the gradients of the probabilities; log_sum and delta [rows].
template <class T>
void softmax_block_backward(index_t keys, index_t rows, const T* log_sum, const T* delta, T scale, T* scores, T* dp) {
  vectorized([&]() SEGNET_INLINE_LAMBDA {
    for (index_t j = 0; j < keys; ++j, scores += rows, dp += rows) {
      SEGNET_SIMD
      for (index_t r = 0; r < rows; ++r) {
        const T p = math::exp(scores[r] - log_sum[r]);
        scores[r] = p;
        dp[r] = p * (dp[r] - delta[r]) * scale;
      }
    }
  });
}

/// delta[r] = sum of dy * y over row r.
template <class T>
void dot_rows(index_t rows, index_t V, index_t stride, const T* dy, const T* y, T* delta) {
  for (index_t r = 0; r < rows; ++r) {
    T sum = 0;
    for (index_t c = 0; c < V; ++c) sum += dy[r * stride + c] * y[r * stride + c];
    delta[r] = sum;
  }
}

[[nodiscard]] constexpr index_t blocks_of(index_t n, index_t block) { return (n + block - 1) / block; }

}  // namespace detail::inline SEGNET_LAYOUT

/// y = softmax(scale q k^T) v for each head, and log_sums [N, heads, L], the logarithms of the softmaxes' sums. g.fits().
template <class T>
void attention(const AttentionGeometry& g, ConstView<T> q, ConstView<T> k, ConstView<T> v, View<T> y, View<T> log_sums) {
  using namespace detail;
  const index_t heads = g.N * g.heads, C = g.heads * g.D, CV = g.heads * g.V, workers = num_threads();
  const PackedBlocks<T> keys{g.S, g.D, key_block, true}, values{g.S, g.V, key_block, false};
  const Scratch<T> packed_keys(heads * keys.size()), packed_values(heads * values.size()), scores(workers * query_block * key_block);
  const BlockProducts<T> multiply(workers, std::max(g.D, key_block));
  const index_t key_blocks = blocks_of(g.S, key_block), query_blocks = blocks_of(g.L, query_block);

  parallel_for(heads * key_blocks, std::max<index_t>(1, 8192 / (std::min(g.S, key_block) * (g.D + g.V))), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t head = i / key_blocks, first = i % key_blocks * key_block, n = head / g.heads, h = head % g.heads;
      keys.pack(k.data + n * g.S * C + h * g.D, C, first, packed_keys.data() + head * keys.size(), static_cast<T>(g.scale));
      values.pack(v.data + n * g.S * CV + h * g.V, CV, first, packed_values.data() + head * values.size());
    }
  });
  parallel_workers(heads * query_blocks, [&](index_t task, int worker) {
    const index_t head = task / query_blocks, row = task % query_blocks * query_block, rows = std::min(query_block, g.L - row);
    const index_t n = head / g.heads, h = head % g.heads;
    const Matrix<T> queries{q.data + (n * g.L + row) * C + h * g.D, C};
    T *out = y.data + (n * g.L + row) * CV + h * g.V, *s = scores.data() + worker * query_block * key_block;
    T top[query_block], sum[query_block];
    for (index_t first = 0; first < g.S; first += key_block) {
      const index_t count = std::min(key_block, g.S - first);
      multiply(worker, rows, count, g.D, queries, packed_keys.data() + head * keys.size() + keys.offset(first), s, count, false);
      exp_block(rows, count, first == 0, s, top, sum, g.V, CV, out);
      multiply(worker, rows, g.V, count, {s, count}, packed_values.data() + head * values.size() + values.offset(first), out, CV,
               first > 0);
    }
    for (index_t r = 0; r < rows; ++r, out += CV) {
      const T factor = T(1) / sum[r];
      for (index_t c = 0; c < g.V; ++c) out[c] *= factor;
      log_sums[head * g.L + row + r] = top[r] + math::log(sum[r]);
    }
  });
}

/// With p the probabilities and dp = dy v^T, for each head:
///
///   dv = p^T dy,   ds = p (dp - sum of dy y over the row),   dq = scale ds k,   dk = scale ds^T q
///
/// Outputs without data are not wanted. All blocks are transposed, [keys, queries]: two of the products that read them want them so.
/// Runs of queries, as many as the shapes say, add up dk and dv each for itself.
template <class T>
void attention_backward(const AttentionGeometry& g, ConstView<T> q, ConstView<T> k, ConstView<T> v, ConstView<T> y, ConstView<T> log_sums,
                        ConstView<T> dy, View<T> dq, View<T> dk, View<T> dv) {
  using namespace detail;
  if (g.L == 0) {
    if (dk) std::fill_n(dk.data, dk.size(), T(0));
    if (dv) std::fill_n(dv.data, dv.size(), T(0));
    return;
  }
  const index_t heads = g.N * g.heads, C = g.heads * g.D, CV = g.heads * g.V, workers = num_threads();
  const index_t key_blocks = blocks_of(g.S, key_block), query_blocks = blocks_of(g.L, query_block);
  // Enough to share, and their sums no more memory than a few of q and y.
  const index_t runs = std::clamp<index_t>(std::min(64 / std::max<index_t>(heads, 1), 4 * g.L / g.S + 1), 1, query_blocks);
  const PackedBlocks<T> keys{g.S, g.D, key_block, false};
  const Scratch<T> packed_keys(dq ? heads * keys.size() : 0);
  const Scratch<T> partial(heads * (runs - 1) * g.S * (g.D + g.V));  // of the runs but the first, which has dk and dv themselves
  const auto queries = [&](index_t rows, bool transposed) { return PackedBlocks<T>{rows, g.D, query_block, transposed}; };
  const auto gradients = [&](index_t rows, bool transposed) { return PackedBlocks<T>{rows, g.V, query_block, transposed}; };
  const index_t q_size = queries(query_block, false).size(), qt_size = queries(query_block, true).size(),
                dy_size = gradients(query_block, false).size(), dyt_size = gradients(query_block, true).size(),
                scratch_size = 2 * query_block * key_block + q_size + qt_size + dy_size + dyt_size;
  const Scratch<T> scratch(workers * scratch_size);
  const BlockProducts<T> multiply(workers, std::max({g.D, g.V, key_block}));

  if (dq)
    parallel_for(heads * key_blocks, std::max<index_t>(1, 8192 / (std::min(g.S, key_block) * g.D)), [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t head = i / key_blocks, first = i % key_blocks * key_block;
        keys.pack(k.data + head / g.heads * g.S * C + head % g.heads * g.D, C, first, packed_keys.data() + head * keys.size());
      }
    });
  parallel_workers(heads * runs, [&](index_t task, int worker) {
    const index_t head = task / runs, run = task % runs, n = head / g.heads, h = head % g.heads;
    T *s = scratch.data() + worker * scratch_size, *ds = s + query_block * key_block, *packed_q = ds + query_block * key_block,
      *packed_qt = packed_q + q_size, *packed_dy = packed_qt + qt_size, *packed_dyt = packed_dy + dy_size;
    T* const sums = run ? partial.data() + (head * (runs - 1) + run - 1) * g.S * (g.D + g.V) : nullptr;
    const index_t k_stride = run ? g.D : C, v_stride = run ? g.V : CV;
    T* const to_k = run ? sums : dk ? dk.data + n * g.S * C + h * g.D : nullptr;
    T* const to_v = run ? sums + g.S * g.D : dv ? dv.data + n * g.S * CV + h * g.V : nullptr;
    const index_t begin = query_blocks * run / runs, end = query_blocks * (run + 1) / runs;
    for (index_t block = begin; block < end; ++block) {
      const index_t row = block * query_block, rows = std::min(query_block, g.L - row), at = n * g.L + row;
      const T *q_rows = q.data + at * C + h * g.D, *dy_rows = dy.data + at * CV + h * g.V;
      T delta[query_block];
      dot_rows(rows, g.V, CV, dy_rows, y.data + at * CV + h * g.V, delta);
      queries(rows, true).pack(q_rows, C, 0, packed_qt, static_cast<T>(g.scale));
      gradients(rows, true).pack(dy_rows, CV, 0, packed_dyt);
      if (dk) queries(rows, false).pack(q_rows, C, 0, packed_q);
      if (dv) gradients(rows, false).pack(dy_rows, CV, 0, packed_dy);
      for (index_t first = 0; first < g.S; first += key_block) {
        const index_t count = std::min(key_block, g.S - first), key = n * g.S + first;
        multiply(worker, count, rows, g.D, {k.data + key * C + h * g.D, C}, packed_qt, s, rows, false);
        multiply(worker, count, rows, g.V, {v.data + key * CV + h * g.V, CV}, packed_dyt, ds, rows, false);
        softmax_block_backward(count, rows, log_sums.data + head * g.L + row, delta, static_cast<T>(g.scale), s, ds);
        if (dv) multiply(worker, count, g.V, rows, {s, rows}, packed_dy, to_v + first * v_stride, v_stride, block > begin);
        if (dk) multiply(worker, count, g.D, rows, {ds, rows}, packed_q, to_k + first * k_stride, k_stride, block > begin);
        if (dq)
          multiply(worker, rows, g.D, count, {ds, rows, true}, packed_keys.data() + head * keys.size() + keys.offset(first),
                   dq.data + at * C + h * g.D, C, first > 0);
      }
    }
  });
  if (runs == 1) return;
  parallel_for(heads * g.S, std::max<index_t>(1, 8192 / (g.D + g.V)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t head = i / g.S, key = i % g.S, at = head / g.heads * g.S + key, h = head % g.heads;
      for (index_t run = 0; run + 1 < runs; ++run) {
        const T* sums = partial.data() + (head * (runs - 1) + run) * g.S * (g.D + g.V);
        if (dk)
          for (index_t c = 0; c < g.D; ++c) dk[at * C + h * g.D + c] += sums[key * g.D + c];
        if (dv)
          for (index_t c = 0; c < g.V; ++c) dv[at * CV + h * g.V + c] += sums[g.S * g.D + key * g.V + c];
      }
    }
  });
}

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_ATTENTION(TEMPLATE, T)                                                                                      \
  TEMPLATE void attention(const AttentionGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, View<T>, View<T>);                   \
  TEMPLATE void attention_backward(const AttentionGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, \
                                   ConstView<T>, View<T>, View<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_ATTENTION)

}  // namespace segnet::kernels
