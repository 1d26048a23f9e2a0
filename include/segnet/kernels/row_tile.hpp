// Short rows turned over: a loop over a few channels fills no vector, a loop over many pixels does.
//
// A tile holds `row_tile_width` rows of C channels as tile[c][row], so that whatever is computed per row runs in full vectors over
// rows, and no vector is ever summed up across its lanes.
#pragma once

#include <type_traits>
#include <utility>

#include "segnet/kernels/simd.hpp"

namespace segnet::kernels {

constexpr index_t row_tile_width = 32;
/// Longer rows fill vectors by themselves, and their tile would leave the first-level cache.
constexpr index_t row_tile_max_channels = 32;

namespace detail {

/// One step of the transposition for the pair (a, b): quarters of side `step` change places. V = Simd<T, isa>.
template <class V, int step, bool lower, int... i>
SEGNET_INLINE void mix(const typename V::Vector& a, const typename V::Vector& b, typename V::Vector& to, std::integer_sequence<int, i...>) {
#if defined(__CUDACC__) && !defined(__clang__)  // nvcc hands the other builtin on to g++ without the dots of its pack
  using Word = std::conditional_t<sizeof(a[0]) == 4, int, long>;
  typedef Word Mask __attribute__((vector_size(sizeof(a))));
  to = __builtin_shuffle(a, b, Mask{((i & step) ? V::lanes + i - (lower ? 0 : step) : i + (lower ? step : 0))...});
#else
  to = __builtin_shufflevector(a, b, ((i & step) ? V::lanes + i - (lower ? 0 : step) : i + (lower ? step : 0))...);
#endif
}
/// Transposes lanes x lanes elements in registers, in log2(lanes) steps: halves, then quarters, ... (Eklundh, IEEE ToC 21(7), 1972).
template <class V, int step = V::lanes / 2>
SEGNET_INLINE void transpose_registers(typename V::Vector (&v)[V::lanes]) {
  using Lanes = std::make_integer_sequence<int, V::lanes>;
#pragma GCC unroll 16
  for (int i = 0; i < V::lanes; ++i) {
    if (i & step) continue;
    const typename V::Vector upper = v[i], lower = v[i + step];
    mix<V, step, false>(upper, lower, v[i], Lanes{});
    mix<V, step, true>(upper, lower, v[i + step], Lanes{});
  }
  if constexpr (step > 1) transpose_registers<V, step / 2>(v);
}

}  // namespace detail

/// tile[c * row_tile_width + r] = x[r * C + c] for r < rows <= row_tile_width. Elements before `end` may be read, no others.
template <Isa isa, class T>
SEGNET_INLINE void load_row_tile(const T* x, index_t rows, index_t C, const T* end, T* tile) {
  using V = Simd<T, isa>;
  constexpr index_t lanes = V::lanes, W = row_tile_width;
  if (rows < W || (C < lanes && end - x < W * C + lanes)) {
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < C; ++c) tile[c * W + r] = x[r * C + c];
    return;
  }
  for (index_t r = 0; r < W; r += lanes)
    for (index_t block = 0; block < C; block += lanes) {
      const index_t c = C < lanes ? 0 : block + lanes <= C ? block : C - lanes;  // the last block overlaps its neighbour
      typename V::Vector v[lanes];
#pragma GCC unroll 16
      for (index_t i = 0; i < lanes; ++i) v[i] = V::load(x + (r + i) * C + c);
      detail::transpose_registers<V>(v);
      const index_t wanted = C < lanes ? C : lanes;
#pragma GCC unroll 16
      for (index_t i = 0; i < lanes; ++i)
        if (i < wanted) V::at(tile + (c + i) * W + r) = v[i];
    }
}

/// x[r * C + c] = tile[c * row_tile_width + r] for r < rows <= row_tile_width. Writes nothing else.
template <Isa isa, class T>
SEGNET_INLINE void store_row_tile(const T* tile, index_t rows, index_t C, T* x) {
  using V = Simd<T, isa>;
  constexpr index_t lanes = V::lanes, W = row_tile_width;
  if (rows < W) {
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < C; ++c) x[r * C + c] = tile[c * W + r];
    return;
  }
  for (index_t r = 0; r < W; r += lanes)
    for (index_t block = 0; block < C; block += lanes) {
      const index_t c = C < lanes ? 0 : block + lanes <= C ? block : C - lanes;
      typename V::Vector v[lanes];
#pragma GCC unroll 16
      for (index_t i = 0; i < lanes; ++i) v[i] = V::load(tile + (c + i < C ? c + i : C - 1) * W + r);
      detail::transpose_registers<V>(v);
#pragma GCC unroll 16
      for (index_t i = 0; i < lanes; ++i) {
        if (C < lanes) {
          T lane[lanes];
          V::at(lane) = v[i];
          V::store_partial(x + (r + i) * C, lane, C);
        } else {
          V::at(x + (r + i) * C + c) = v[i];
        }
      }
    }
}

}  // namespace segnet::kernels
