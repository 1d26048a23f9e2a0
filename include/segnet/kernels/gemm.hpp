// Matrix products: C = op(A) op(B) + bias, or added to C, row-major.
//
// Our own and not Eigen's, because Eigen's vectors are fixed when the user's file is compiled: without -march that is 1/8 of
// the speed of a processor with AVX-512. Here the instruction set is chosen at run time. B is packed into panels, and a register
// tile of C takes its rows straight out of A (out of a packed copy where A is transposed); see gemm_tile.hpp.
// Every element of C sums over k in the same order, whatever the number of threads.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels {

/// A row-major matrix in memory, rows `stride` elements apart, read as it is or as its transpose.
template <class T>
struct Matrix {
  const T* data;
  index_t stride;
  bool transposed = false;
};

namespace detail::inline SEGNET_LAYOUT {

/// Sizes of the packed copies that a product needs.
template <class T>
struct GemmPlan {
  static constexpr index_t depth_block = 1024, column_block = 2048;  // a packed block of B: at most 8 MiB in float
  static constexpr index_t team = 8;                                 // tiles of rows that share a trip through the panels
  index_t m, n, k;
  bool transposed_a;
  index_t a_stride;

  /// Rows of A that lie whole pages apart compete for the same few lines of the first-level cache: a copy does not.
  bool copied_a() const { return !transposed_a && a_stride * static_cast<index_t>(sizeof(T)) % 4096 == 0 && n >= 128 && m > 1; }
  bool narrow() const { return !transposed_a && n <= PackedPanels<T>::lanes(); }
  index_t height() const { return tile_rows(current_isa()) * (narrow() ? 2 : 1); }
  index_t depth() const { return std::min(k, depth_block); }
  index_t b_size() const { return depth() * PackedPanels<T>::rounded(std::min(n, column_block)); }
  index_t a_pitch() const { return depth() + 64 / static_cast<index_t>(sizeof(T)); }
  index_t a_size() const { return transposed_a || copied_a() ? team * height() * a_pitch() : 0; }  // per worker
  index_t teams() const { return (m + team * height() - 1) / (team * height()); }
};

/// Scratch memory of a product, allocated before any loop over threads.
template <class T>
struct GemmScratch {
  Scratch<T> b, a;
  Scratch<const T*> rows;
  Scratch<T*> outs;
  explicit GemmScratch(const GemmPlan<T>& p, index_t products, index_t workers)
      : b(products * p.b_size()), a(workers * p.a_size()), rows(workers * p.team * p.height()), outs(workers * p.team * p.height()) {}
};

/// A product of a block of B with the rows [team * height * index, ...) of A, panels [first, last).
template <class T>
void gemm_team(const GemmPlan<T>& plan, index_t index, const Matrix<T>& a, index_t k0, const PackedPanels<T>& panels, index_t first,
               index_t last, T* c, index_t c_stride, bool add, T* a_copy, const T** rows, T** outs) {
  const index_t height = plan.height(), depth = panels.depth, begin = index * plan.team * height;
  const index_t count = std::min(plan.team, (plan.m - begin + height - 1) / height);
  Tile<T> tiles[GemmPlan<T>::team];
  for (index_t t = 0; t < count; ++t) {
    const index_t i0 = begin + t * height, valid = std::min(height, plan.m - i0);
    const T** row = rows + t * height;
    T* copy = a_copy + t * plan.a_pitch() * height;
    for (index_t i = 0; i < height; ++i) {
      const index_t source = i0 + std::min(i, valid - 1);  // rows beyond the last one are computed and not written
      row[i] = plan.transposed_a ? copy + i : a.data + source * a.stride + k0;
      if (plan.copied_a()) row[i] = std::copy_n(row[i], depth, copy + i * plan.a_pitch()) - depth;
      outs[t * height + i] = c + source * c_stride;
    }
    if (plan.transposed_a) pack_panel(a.data + k0 * a.stride + i0, a.stride, depth, valid, height, copy);
    tiles[t] = {row, outs + t * height, 1, depth, valid};
  }
  if (plan.transposed_a) multiply_packed_tiles(tiles, count, panels, first, last, add);
  else multiply_tiles(tiles, count, panels, first, last, add);
}

/// Panel `p` of the block of op(B) that begins at (k0, n0).
template <class T>
void gemm_pack_panel(const Matrix<T>& b, index_t k0, index_t n0, index_t depth, index_t columns, index_t p, T* to) {
  const index_t width = PackedPanels<T>::width(), column = p * width, count = std::min(width, columns - column);
  const index_t padded = std::min(width, PackedPanels<T>::rounded(columns) - column);
  if (b.transposed) pack_panel_transposed(b.data + (n0 + column) * b.stride + k0, b.stride, depth, count, padded, to + column * depth);
  else pack_panel(b.data + k0 * b.stride + n0 + column, b.stride, depth, count, padded, to + column * depth);
}

/// Calls f(n0, columns, k0, depth) for the blocks of B; depths of one block of columns in order, at least one.
template <class T, class F>
void gemm_for_blocks(const GemmPlan<T>& plan, const F& f) {
  for (index_t n0 = 0; n0 < plan.n; n0 += plan.column_block)
    for (index_t k0 = 0; k0 == 0 || k0 < plan.k; k0 += plan.depth_block)
      f(n0, std::min(plan.column_block, plan.n - n0), k0, std::min(plan.depth_block, plan.k - k0));
}

/// A product with one row, a [k]: c [n] (+)= a * op(b) + bias. Every element of b is read once, so packing it would be most of the work.
template <class T>
void multiply_row(index_t n, index_t k, const T* a, const Matrix<T>& b, T* c, bool add, const T* bias) {
  const auto begins_with = [&](index_t j) { return (add ? c[j] : T(0)) + (bias ? bias[j] : T(0)); };
  parallel_for(n, std::max<index_t>(64, (1 << 16) / (k + 1)), [&](index_t begin, index_t end) {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      using S = Simd<T, decltype(isa)::value>;
      constexpr index_t lanes = S::lanes, steps = 4;
      if (b.transposed) {
        for (index_t j = begin; j < end; ++j) {
          const T* row = b.data + j * b.stride;
          typename S::Vector sums[steps] = {};
          index_t i = 0;
          for (; i + steps * lanes <= k; i += steps * lanes)
            SEGNET_UNROLL for (index_t s = 0; s < steps; ++s) sums[s] += S::load(a + i + s * lanes) * S::load(row + i + s * lanes);
          const typename S::Vector sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
          T total = begins_with(j);
          for (index_t s = 0; s < lanes; ++s) total += sum[s];
          for (; i < k; ++i) total += a[i] * row[i];
          c[j] = total;
        }
        return;
      }
      for (index_t j = begin; j < end; ++j) c[j] = begins_with(j);
      for (index_t i = 0, count; i < k; i += count) {
        count = i + steps <= k ? steps : 1;
        const T* row = b.data + i * b.stride;
        index_t j = begin;
        for (; count == steps && j + lanes <= end; j += lanes) {
          typename S::Vector sum = S::load(c + j);
          SEGNET_UNROLL for (index_t s = 0; s < steps; ++s) sum += a[i + s] * S::load(row + s * b.stride + j);
          S::at(c + j) = sum;
        }
        for (; j < end; ++j)
          for (index_t s = 0; s < count; ++s) c[j] += a[i + s] * row[s * b.stride + j];
      }
    });
  });
}

/// See gemm.
template <class T>
void multiply(index_t m, index_t n, index_t k, const Matrix<T>& a, const Matrix<T>& b, T* c, index_t c_stride, bool add, const T* bias) {
  if (m == 0 || n == 0) return;
  if (m == 1 && (!a.transposed || a.stride == 1)) return multiply_row(n, k, a.data, b, c, add, bias);
  const GemmPlan<T> plan{m, n, k, a.transposed, a.stride};
  const index_t threads = num_threads(), teams = plan.teams(), each = plan.team * plan.height();
  const GemmScratch<T> scratch(plan, 1, threads);
  const Scratch<T> padded_bias(bias ? PackedPanels<T>::rounded(n) : 1);  // tiles read whole vectors
  if (bias) std::fill(std::copy_n(bias, n, padded_bias.data()), padded_bias.data() + PackedPanels<T>::rounded(n), T(0));
  gemm_for_blocks(plan, [&](index_t n0, index_t columns, index_t k0, index_t depth) {
    const PackedPanels<T> panels{scratch.b.data(), bias && k0 == 0 ? padded_bias.data() + n0 : nullptr, depth, columns, plan.narrow()};
    parallel_for(panels.count(), std::max<index_t>(1, (1 << 14) / (panels.width() * depth + 1)), [&](index_t begin, index_t end) {
      for (index_t p = begin; p < end; ++p) gemm_pack_panel(b, k0, n0, depth, columns, p, scratch.b.data());
    });
    const index_t splits = std::clamp<index_t>(teams >= 4 * threads ? 1 : 4 * threads / teams, 1, panels.count());
    const index_t panels_each = (panels.count() + splits - 1) / splits;
    parallel_workers(teams * splits, [&](index_t task, int worker) {
      const index_t first = task % splits * panels_each, last = std::min(panels.count(), first + panels_each);
      if (first < last)
        gemm_team(plan, task / splits, a, k0, panels, first, last, c + n0, c_stride, add || k0 > 0,
                  scratch.a.data() + worker * plan.a_size(), scratch.rows.data() + worker * each, scratch.outs.data() + worker * each);
    });
  });
}

}  // namespace detail::inline SEGNET_LAYOUT

/// c [m, n], rows c_stride apart, = op(a) [m, k] op(b) [k, n] + bias [n] in every row, or += that if `add`. `bias` may be null.
template <class T>
void gemm(index_t m, index_t n, index_t k, const Matrix<T>& a, const Matrix<T>& b, T* c, index_t c_stride, bool add = false,
          const std::type_identity_t<T>* bias = nullptr) {
  detail::multiply(m, n, k, a, b, c, c_stride, add, bias);
}

inline namespace SEGNET_LAYOUT {

/// The product of matrix i of a batch, for i < batch: a(i), b(i) are Matrix<T>, c(i) points to [m, n]. Small products are spread
/// over the threads whole, large ones are cut up one after the other.
template <class T, class A, class B, class C>
void gemm_batched(index_t batch, index_t m, index_t n, index_t k, const A& a, const B& b, const C& c, index_t c_stride) {
  if (batch == 0 || m == 0 || n == 0) return;
  if (batch < 2 * num_threads() && m * n * k > (1 << 16)) {
    for (index_t i = 0; i < batch; ++i) gemm<T>(m, n, k, a(i), b(i), c(i), c_stride);
    return;
  }
  const detail::GemmPlan<T> plan{m, n, k, a(0).transposed, a(0).stride};
  const index_t each = plan.team * plan.height();
  const detail::GemmScratch<T> scratch(plan, num_threads(), num_threads());
  parallel_workers(batch, [&](index_t i, int worker) {
    T* packed = scratch.b.data() + worker * plan.b_size();
    detail::gemm_for_blocks(plan, [&](index_t n0, index_t columns, index_t k0, index_t depth) {
      const PackedPanels<T> panels{packed, nullptr, depth, columns, plan.narrow()};
      for (index_t p = 0; p < panels.count(); ++p) detail::gemm_pack_panel(b(i), k0, n0, depth, columns, p, packed);
      for (index_t t = 0; t < plan.teams(); ++t)
        detail::gemm_team(plan, t, a(i), k0, panels, 0, panels.count(), c(i) + n0, c_stride, k0 > 0,
                          scratch.a.data() + worker * plan.a_size(), scratch.rows.data() + worker * each,
                          scratch.outs.data() + worker * each);
    });
  });
}

}  // namespace SEGNET_LAYOUT

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_GEMM(TEMPLATE, T) \
  TEMPLATE void gemm(index_t, index_t, index_t, const Matrix<T>&, const Matrix<T>&, T*, index_t, bool, const T*);
SEGNET_EXTERN(SEGNET_KERNELS_GEMM)

}  // namespace segnet::kernels
