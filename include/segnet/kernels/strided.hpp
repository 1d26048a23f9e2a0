// Copies between arrays whose elements lie apart: one loop for permute, slice, flip, expand, repeat, concat and constant padding.
#pragma once

#include <algorithm>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::kernels {

/// A box of elements, walked with different strides (in elements; zero and negative ones too) at its source and its destination.
struct StridedBox {
  static constexpr int max_rank = 2 * Shape::max_rank;
  int rank = 0;
  index_t size[max_rank], source[max_rank], destination[max_rank];
  index_t source_offset = 0, destination_offset = 0;  ///< of the first element

  /// Appends an inner dimension. One that continues the dimension before it is merged into it.
  void push_back(index_t n, index_t source_stride, index_t destination_stride) {
    if (n == 1) return;
    if (rank > 0 && source[rank - 1] == n * source_stride && destination[rank - 1] == n * destination_stride) --rank, n *= size[rank];
    size[rank] = n;
    source[rank] = source_stride;
    destination[rank++] = destination_stride;
  }
};

namespace detail {
/// Calls f(source offset, destination offset) for the positions [begin, end), in row-major order, of the first `dims` dimensions.
template <class F>
SEGNET_INLINE void walk_box(const StridedBox& box, int dims, index_t begin, index_t end, const F& f) {
  index_t at[StridedBox::max_rank], s = 0, d = 0;
  for (index_t k = dims - 1, rest = begin; k >= 0; --k) {
    at[k] = rest % box.size[k];
    rest /= box.size[k];
    s += at[k] * box.source[k];
    d += at[k] * box.destination[k];
  }
  for (index_t i = begin; i < end; ++i) {
    f(s, d);
    for (int k = dims - 1; k >= 0; --k) {  // the next position, with carry
      s += box.source[k];
      d += box.destination[k];
      if (++at[k] < box.size[k]) break;
      s -= box.source[k] * at[k];
      d -= box.destination[k] * at[k];
      at[k] = 0;
    }
  }
}

/// to[i * to_pitch + j] = from[j * from_pitch + i] for i < m, j < n: in registers where a whole square fits.
template <Isa isa, class T>
SEGNET_INLINE void transpose_block(const T* from, index_t from_pitch, T* to, index_t to_pitch, index_t m, index_t n) {
  if constexpr (sizeof(T) == 4 || sizeof(T) == 8) {
    using Word = std::conditional_t<sizeof(T) == 4, float, double>;  // only moved, never computed with
    using V = Simd<Word, isa>;
    constexpr index_t lanes = V::lanes;
    if (m == lanes && n == lanes) {
      typename V::Vector v[lanes];
#pragma GCC unroll 16
      for (index_t j = 0; j < lanes; ++j) v[j] = V::load(reinterpret_cast<const Word*>(from + j * from_pitch));
      transpose_registers<V>(v);
#pragma GCC unroll 16
      for (index_t i = 0; i < lanes; ++i) V::at(reinterpret_cast<Word*>(to + i * to_pitch)) = v[i];
      return;
    }
  }
  for (index_t i = 0; i < m; ++i)
    for (index_t j = 0; j < n; ++j) to[i * to_pitch + j] = from[j * from_pitch + i];
}
}  // namespace detail

/// Elements between neighbours in each dimension of a contiguous array.
struct Strides {
  index_t of[Shape::max_rank] = {};
  explicit Strides(const Shape& shape) {
    index_t step = 1;
    for (int d = shape.rank(); d-- > 0; step *= shape[d]) of[d] = step;
  }
  SEGNET_HOST_DEVICE index_t operator[](int d) const { return of[d]; }
};

/// y = the elements of x that the box names, elsewhere y stays. x and y do not overlap.
template <class T>
void copy_strided(StridedBox box, ConstView<T, Cuda> x, View<T, Cuda> y);  // cuda/strided.cuh
template <class T>
void copy_strided(StridedBox box, const ConstView<T, Cpu>& x, View<T, Cpu> y) {
  const T* const source = x.data + box.source_offset;
  T* const destination = y.data + box.destination_offset;
  index_t total = 1;
  for (int k = 0; k < box.rank; ++k) total *= box.size[k];
  if (total == 0) return;
  if (box.rank == 0) {
    *destination = *source;
    return;
  }
  constexpr index_t grain = 32768;
  const int last = box.rank - 1;
  const index_t n = box.size[last], sn = box.source[last], dn = box.destination[last];

  if (sn == 1 && dn == 1) {  // rows
    const index_t rows = total / n, segments = (n + grain - 1) / grain;
    if (segments > 1) {
      parallel_for(rows * segments, 1, [&](index_t begin, index_t) {
        const index_t row = begin / segments, first = begin % segments * grain, count = std::min(grain, n - first);
        detail::walk_box(box, last, row, row + 1,
                         [&](index_t s, index_t d) { std::copy(source + s + first, source + s + first + count, destination + d + first); });
      });
      return;
    }
    parallel_for(rows, grain / n, [&](index_t begin, index_t end) {
      detail::walk_box(box, last, begin, end, [&](index_t s, index_t d) {
        if (n < 16)
          for (index_t j = 0; j < n; ++j) destination[d + j] = source[s + j];
        else std::copy(source + s, source + s + n, destination + d);
      });
    });
    return;
  }

  // Neighbours at the source lie along one dimension, neighbours at the destination along another: transposed in small squares,
  // strip by strip of that dimension, so that both sides' cache lines are used up while they are there.
  int other = -1;
  for (int k = 0; k < last && dn == 1; ++k)
    if (box.source[k] == 1) other = k;
  if (other >= 0) {
    constexpr index_t strip = 16;
    const index_t m = box.size[other], pitch = box.destination[other], strips = (m + strip - 1) / strip;
    for (int k = other; k + 1 < last; ++k) {  // the dimensions that remain, in front
      box.size[k] = box.size[k + 1];
      box.source[k] = box.source[k + 1];
      box.destination[k] = box.destination[k + 1];
    }
    box.size[last - 1] = strips;
    box.source[last - 1] = strip;
    box.destination[last - 1] = pitch * strip;
    parallel_for(total / (n * m) * strips, grain / (strip * n), [&](index_t begin, index_t end) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        constexpr index_t side = std::min<index_t>(strip, vector_bytes(isa.value) / static_cast<index_t>(sizeof(T)));
        index_t number = begin;
        detail::walk_box(box, last, begin, end, [&](index_t s, index_t d) SEGNET_INLINE_LAMBDA {
          const index_t height = std::min(strip, m - number++ % strips * strip);
          for (index_t j = 0; j < n; j += side)
            for (index_t i = 0; i < height; i += side)
              detail::transpose_block<isa.value>(source + s + j * sn + i, sn, destination + d + i * pitch + j, pitch,
                                                 std::min(side, height - i), std::min(side, n - j));
        });
      });
    });
    return;
  }

  parallel_for(total / n, grain / n, [&](index_t begin, index_t end) {
    detail::walk_box(box, last, begin, end, [&](index_t s, index_t d) {
      for (index_t j = 0; j < n; ++j) destination[d + j * dn] = source[s + j * sn];
    });
  });
}

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_STRIDED(TEMPLATE, T) TEMPLATE void copy_strided(StridedBox, const ConstView<T>&, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_STRIDED)

}  // namespace segnet::kernels
