// The parts that the passes of Winograd convolution share: where tiles lie, their transformation, and the matrix products between.
#pragma once

#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/kernels/conv2d_winograd_transform.hpp"
#include "segnet/kernels/gemm_tile.hpp"

namespace segnet::kernels::winograd::inline SEGNET_LAYOUT {

[[nodiscard]] constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }
[[nodiscard]] constexpr index_t round_up(index_t a, index_t b) { return divide_up(a, b) * b; }

/// Images [N, H, W, pixel], from the first channel that is meant.
template <class T>
struct Images {
  const T* data;
  index_t H, W, pixel;
};

/// The tiles of m x m pixels that cover the result of a 3 x 3 convolution with stride 1. A dilated one is dilation.h * dilation.w
/// dense ones, of the rows and columns of equal phase: a tile takes every dilation-th pixel.
class Tiling {
 public:
  /// m rows, or columns: out, out + dilation, ... of which `count` exist. Their taps read from in, in + dilation, ...
  struct Part {
    index_t out, in, count;
  };

  Tiling(index_t N, index_t OH, index_t OW, Extent2 padding, Extent2 dilation, index_t m)
      : rows_(parts(OH, padding.h, dilation.h, m)), columns_(parts(OW, padding.w, dilation.w, m)), N_(N) {}

  index_t size() const { return N_ * static_cast<index_t>(rows_.size() * columns_.size()); }

  /// A tile, and with ++ the one behind it: divisions for each would take as long as the transform of some channels.
  class Place {
   public:
    Place(const Tiling& tiling, index_t tile) : tiling_(tiling) {
      const auto rows = static_cast<index_t>(tiling.rows_.size()), columns = static_cast<index_t>(tiling.columns_.size());
      image_ = tile / (rows * columns);
      row_ = tiling.rows_.data() + tile / columns % rows;
      column_ = tiling.columns_.data() + tile % columns;
    }
    index_t image() const { return image_; }
    const Part& row() const { return *row_; }
    const Part& column() const { return *column_; }
    Place& operator++() {
      if (++column_ != tiling_.columns_.data() + tiling_.columns_.size()) return *this;
      column_ = tiling_.columns_.data();
      if (++row_ != tiling_.rows_.data() + tiling_.rows_.size()) return *this;
      row_ = tiling_.rows_.data();
      ++image_;
      return *this;
    }

   private:
    const Tiling& tiling_;
    index_t image_;
    const Part *row_, *column_;
  };

 private:
  static std::vector<Part> parts(index_t size, index_t padding, index_t dilation, index_t m) {
    std::vector<Part> all;
    for (index_t phase = 0; phase < std::min(dilation, size); ++phase)
      for (index_t out = phase; out < size; out += m * dilation)
        all.push_back({out, out - padding, std::min(m, divide_up(size - out, dilation))});
    return all;
  }
  std::vector<Part> rows_, columns_;
  index_t N_;
};

/// Whether a convolution has the shape that this algorithm is about.
[[nodiscard]] inline bool takes(const ConvGeometry& g) { return g.kh == 3 && g.kw == 3 && g.stride == Extent2(1); }

/// m = 4 or 2: the tiles that need fewer multiplications, those that stick out of the image counted. Small images, and the phases of
/// large dilations, fill tiles of 2 x 2 better.
[[nodiscard]] inline int tile_size(const ConvGeometry& g, ConvPass pass) {
  const bool back = pass == ConvPass::grad_input;
  const auto multiplications = [&](index_t m) {
    const Tiling tiling(g.N, back ? g.H : g.OH, back ? g.W : g.OW, 0, g.dilation, m);
    return static_cast<double>(tiling.size() * (m + 2) * (m + 2));
  };
  return multiplications(4) < multiplications(2) ? 4 : 2;
}

/// f(m as a compile-time constant): what transforms need, and only they.
template <class F>
void with_tile(index_t m, const F& f) {
  if (m == 4) f(std::integral_constant<int, 4>{});
  else f(std::integral_constant<int, 2>{});
}

/// A cache line: added to strides, which as multiples of a page would put all positions into the same few sets of the cache.
template <class T>
constexpr index_t line = 64 / sizeof(T);

/// to[position * step + t * row + c] = the transform to n x n positions of `in` x `in` pixels, zeros outside of the image, of tile
/// first + t for t < count and of channel c < channels. `start` says which pixels: Tiling::Part::in or out. `zeros` [channels].
template <int in, int n, class T>
void transform_pixels(const Images<T>& images, const Tiling& tiling, Extent2 dilation, index_t Tiling::Part::* start, index_t first,
                      index_t count, index_t channels, const T* zeros, T* to, index_t step, index_t row) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = Simd<T, decltype(isa)::value>;
    const index_t position = step;  // a copy that no store can change
    T* out = to;
    const T *pixels[in * in], *next[in * in];  // those of the next tile are fetched while this one is transformed
    const auto find = [&](const Tiling::Place& place) {
      const index_t h0 = place.row().*start, w0 = place.column().*start;
      const T* image = images.data + place.image() * images.H * images.W * images.pixel;
      for (index_t i = 0; i < in; ++i)
        for (index_t j = 0; j < in; ++j) {
          const index_t h = h0 + i * dilation.h, w = w0 + j * dilation.w;
          const bool inside = h >= 0 && h < images.H && w >= 0 && w < images.W;
          next[i * in + j] = inside ? image + (h * images.W + w) * images.pixel : zeros;
        }
    };
    Tiling::Place place(tiling, first);
    find(place);
    for (index_t t = 0; t < count; ++t, out += row) {
      std::copy(next, next + in * in, pixels);
      if (t + 1 < count) find(++place);
      T padded[in * in][S::lanes];
      if (channels < S::lanes)
        for (index_t i = 0; i < in * in; ++i) {
          for (index_t c = 0; c < S::lanes; ++c) padded[i][c] = c < channels ? pixels[i][c] : T(0);
          pixels[i] = padded[i];
        }
      for (index_t c = 0;; c = std::min<index_t>(c + S::lanes, channels - S::lanes)) {  // the last ones may overlap
        transform_2d<S, in, n>([](const typename S::Vector(&x)[in], typename S::Vector(&y)[n])
                                   SEGNET_INLINE_LAMBDA { evaluate<S>(matrix_to_positions<in, n>(), x, y); },
                               [&](int i, int j) SEGNET_INLINE_LAMBDA {
                                 __builtin_prefetch(next[i * in + j] + c);
                                 return pixels[i * in + j] + c;
                               },
                               [&](int i, int j, const typename S::Vector& x) SEGNET_INLINE_LAMBDA {
                                 T* at = out + (i * n + j) * position + c;
                                 S::at(at) = x;
                                 if constexpr (decltype(isa)::value == Isa::avx512) __builtin_prefetch(at + S::lanes, 1);
                               });
        if (c + S::lanes >= channels) break;
      }
    }
  });
}

/// A left operand: element (i, k) at data[i * row + k * step].
template <class T>
struct Rows {
  const T* data;
  index_t row, step;
};

/// Vectors of a panel of columns that products take at a time: the more, the fewer loads for as many multiplications.
[[nodiscard]] constexpr int panel_vectors(Isa isa) { return isa == Isa::avx512 ? 4 : 2; }

/// Rows of the steps in which products of NV vectors take theirs: one to three of them make a tile.
[[nodiscard]] constexpr int step_rows(Isa isa, int NV) { return tile_rows(isa) / (NV > 2 ? 6 : 3); }

/// out[i][j] (+)= sum over k < depth of a(i, k) * b[k * b_step + j], for `steps` times step_rows rows i and NV vectors of j, where rows of
/// `out` lie one behind the other. Either a's rows are consecutive in k (`deep`, and b is NV vectors wide), or its columns in i. Rows at
/// equal distances need no pointers of their own, which a tile of gemm_tile.hpp fetches for each multiplication.
template <Isa isa, bool deep, int steps, int NV, class T>
SEGNET_INLINE void multiply_rows(const Rows<T>& a, const T* b, index_t b_step, index_t depth, index_t out_ahead, T* out, bool add) {
  using S = Simd<T, isa>;
  constexpr int R = step_rows(isa, NV), rows = steps * R, unroll = isa == Isa::avx512 ? 2 : 1;
  typename S::Vector acc[rows][NV];
  SEGNET_UNROLL for (int i = 0; i < rows; ++i) SEGNET_UNROLL for (int j = 0; j < NV; ++j) acc[i][j] = typename S::Vector{};
  const index_t a_row = deep ? a.row : 1, a_step = deep ? 1 : a.step, next_b = deep ? NV * S::lanes : b_step;
  const T* row[steps];
  SEGNET_UNROLL for (int g = 0; g < steps; ++g) row[g] = a.data + g * R * a_row;
  // What the next tile reads and adds to is fetched meanwhile: rows of a one behind the other, or the next elements of its columns.
  [[maybe_unused]] const T *next_a = deep ? a.data + rows * a_row : a.data + 2 * rows - 1, *next_out = out + rows * NV * S::lanes;
  const auto take = [&]<int count>(std::integral_constant<int, count>) SEGNET_INLINE_LAMBDA {
    if constexpr (isa == Isa::avx512) {
      __builtin_prefetch(next_a);
      __builtin_prefetch(next_out);
      next_a += unroll * (deep ? rows : a_step), next_out += unroll * out_ahead;
    }
    SEGNET_UNROLL for (int k = 0; k < count; ++k) {
      typename S::Vector x[NV];
      SEGNET_UNROLL for (int j = 0; j < NV; ++j) x[j] = S::load(b + k * next_b + j * S::lanes);
      SEGNET_UNROLL for (int g = 0; g < steps; ++g) SEGNET_UNROLL for (int i = 0; i < R; ++i) SEGNET_UNROLL for (int j = 0; j < NV; ++j)
          acc[g * R + i][j] += row[g][i * a_row + k * a_step] * x[j];
    }
    SEGNET_UNROLL for (int g = 0; g < steps; ++g) row[g] += count * a_step;
    b += count * next_b;
  };
  index_t k = 0;
  for (; k + unroll <= depth; k += unroll) take(std::integral_constant<int, unroll>{});
  if constexpr (unroll > 1)
    if (k < depth) take(std::integral_constant<int, 1>{});
  SEGNET_UNROLL for (int i = 0; i < rows; ++i) SEGNET_UNROLL for (int j = 0; j < NV; ++j) {
    T* to = out + (i * NV + j) * S::lanes;
    S::at(to) = add ? S::load(to) + acc[i][j] : acc[i][j];
  }
}

/// What the number of rows of a product is rounded up to.
[[nodiscard]] inline index_t rows_step() { return step_rows(current_isa(), 1); }

/// A product for each of `positions`: operands and results of one position lie a_next, b_next, out_next behind those of the one before.
template <class T>
struct Products {
  index_t positions, rows, depth, columns;  // rows are rounded up to rows_step(), columns are whole vectors
  Rows<T> a;                                // one of its steps is 1, see multiply()
  const T* b;
  index_t b_step;  // from one row of b to the next; not used if `deep`: then b is like `out`, of `depth` rows
  T* out;          // panels of panel_vectors() (the last may be narrower), one behind the other, of out_rows rows
  index_t out_rows, a_next, b_next, out_next;
};

/// Where in panels of `rows` rows element (row, column) lies, the first of a vector; `columns` in all, rounded up to whole vectors.
template <Isa isa, class T>
SEGNET_INLINE index_t in_panels(index_t row, index_t column, index_t rows, index_t columns) {
  constexpr index_t wide = panel_vectors(isa) * Simd<T, isa>::lanes;
  const index_t panel = column / wide * wide;
  return panel * rows + row * std::min<index_t>(wide, columns - panel) + column - panel;
}

/// Computes them, or adds them to what is there. `deep`: a.step is 1, else a.row is.
template <bool deep, class T>
void multiply(const Products<T>& p, bool add) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    constexpr Isa set = decltype(isa)::value;
    constexpr index_t lanes = Simd<T, set>::lanes;
    const index_t out_ahead = divide_up(tile_rows(set) * 2 * lanes, std::max<index_t>(p.depth, 1));
    for (index_t position = 0; position < p.positions; ++position) {
      const T *a = p.a.data + position * p.a_next, *b = p.b + position * p.b_next;
      T* out = p.out + position * p.out_next;
      const auto panel = [&]<int NV>(std::integral_constant<int, NV>, index_t j) SEGNET_INLINE_LAMBDA {
        constexpr index_t R = step_rows(set, NV);
        index_t i = 0;
        const auto tile = [&]<int steps>(std::integral_constant<int, steps>) SEGNET_INLINE_LAMBDA {
          multiply_rows<set, deep, steps, NV>(Rows<T>{a + i * p.a.row, p.a.row, p.a.step}, b + j * (deep ? p.depth : 1), p.b_step, p.depth,
                                              out_ahead, out + j * p.out_rows + i * NV * lanes, add);
        };
        for (; i + 2 * R < p.rows; i += 3 * R) tile(std::integral_constant<int, 3>{});
        if (i + R < p.rows) tile(std::integral_constant<int, 2>{});
        else if (i < p.rows) tile(std::integral_constant<int, 1>{});
      };
      index_t j = 0;
      if constexpr (panel_vectors(set) == 4) {
        for (; j + 3 * lanes < p.columns; j += 4 * lanes) panel(std::integral_constant<int, 4>{}, j);
        if (j + 2 * lanes < p.columns) {
          panel(std::integral_constant<int, 3>{}, j);
          j += 3 * lanes;
        }
      }
      for (; j + lanes < p.columns; j += 2 * lanes) panel(std::integral_constant<int, 2>{}, j);
      if (j < p.columns) panel(std::integral_constant<int, 1>{}, j);
    }
  });
}

}  // namespace segnet::kernels::winograd::inline SEGNET_LAYOUT
