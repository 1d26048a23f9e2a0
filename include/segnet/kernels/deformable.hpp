// Reading images at displaced taps, and the transposes of that: what deformable convolutions are made of.
//
// Where the taps of an output pixel read, and with what weights, is worked out in vectors over taps and put into a table; then rows of
// channels are read in vectors over channels. Nothing of the size of the sampled image exists, which is 9 times the feature map.
#pragma once

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/deformable_geometry.hpp"
#include "segnet/kernels/gemm_tile.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::kernels {

/// Where each tap of the output pixels reads. Scalars `mask` may be null: ones.
template <class T>
struct DeformedTaps {
  DeformableGeometry g;
  const T *offset, *mask;
};

namespace detail {

/// An output pixel: its number in the batch, and where it is.
struct OutputPixel {
  index_t number, image, row, column;

  OutputPixel(const DeformableGeometry& g, index_t p) : number(p), image(p / (g.OH * g.OW)), row(p / g.OW % g.OH), column(p % g.OW) {}
  /// The next one, without a division.
  SEGNET_INLINE void advance(const DeformableGeometry& g) {
    ++number;
    if (++column < g.OW) return;
    column = 0;
    if (++row < g.OH) return;
    row = 0;
    ++image;
  }
};

/// Where the taps of an output pixel read: arrays over [group][tap].
template <class T>
struct TapTable {
  T *y, *x, *scalar;           ///< the points
  T* weight;                   ///< of the corners, times the scalar: of corner k at [k * length + tap]
  std::int32_t* first;         ///< where the first corner is in the image; negative if the others are not all beside and below it, and then
  std::int32_t *right, *down;  ///< ~first, and the way from there to the others; right is negative if nothing is read
  index_t length;              ///< between arrays

  /// f(p0, p1, p2, p3) with the corners of tap i in an image of C channels and rows of `row` elements; false if it reads nothing.
  template <class E, class F>
  SEGNET_INLINE bool corners(index_t i, E* image, index_t C, index_t row, const F& f) const {
    if (first[i] >= 0) {
      E* const p = image + first[i];
      f(p, p + C, p + row, p + (row + C));
      return true;
    }
    if (right[i] < 0) return false;
    E* const p = image + ~first[i];
    f(p, p + right[i], p + down[i], p + down[i] + right[i]);
    return true;
  }
  /// The table of another pixel, whose entries begin there.
  [[nodiscard]] SEGNET_INLINE TapTable from(index_t i) const {
    return {y + i, x + i, scalar + i, weight + i, first + i, right + i, down + i, length};
  }
};

/// Tables, one for each worker, of several output pixels at a time: enough to fill vectors.
template <class T>
class TapTables {
 public:
  static constexpr index_t line = 64 / sizeof(T);
  [[nodiscard]] static constexpr index_t whole_lines(index_t n) { return (n + line - 1) / line * line; }

  explicit TapTables(const DeformedTaps<T>& where)
      : t(where),
        count(t.g.groups * t.g.taps()),
        pixels(std::max<index_t>(1, 9 * line / count)),
        length_(whole_lines(pixels * count) + whole_lines(count)),  // who reads a pixel's entries in whole lines may read behind the last
        grid_(2 * count),
        numbers_(num_threads() * 7 * length_),
        places_(num_threads() * 3 * length_) {
    for (index_t i = 0; i < count; ++i) {
      grid_.data()[i] = static_cast<T>(t.g.tap_row(i % t.g.taps()));
      grid_.data()[count + i] = static_cast<T>(t.g.tap_column(i % t.g.taps()));
    }
    std::fill_n(numbers_.data(), num_threads() * 7 * length_, T(1));
  }

  [[nodiscard]] TapTable<T> of(int worker) const {
    const auto number = [&](index_t array) { return numbers_.data() + (worker * 7 + array) * length_; };
    const auto place = [&](index_t array) { return places_.data() + (worker * 3 + array) * length_; };
    return {number(0), number(1), number(2), number(3), place(0), place(1), place(2), length_};
  }

  /// The table of n output pixels from `at` on, for groups [begin, end): entries [pixel][group][tap].
  SEGNET_INLINE void fill(OutputPixel at, index_t n, index_t begin, index_t end, const TapTable<T>& table) const {
    const DeformableGeometry& g = t.g;
    const index_t taps = g.taps(), run = g.offset_group == 2 * taps ? end - begin : 1;  // groups whose offsets lie together
    const T s = static_cast<T>(g.scale);
    const T *const rows = grid_.data(), *const columns = rows + count;
    T *y = table.y, *x = table.x, *scalar = table.scalar;
    for (index_t pixel = 0; pixel < n; ++pixel, at.advance(g)) {
      const T y0 = static_cast<T>(g.centre_row(at.row)), x0 = static_cast<T>(g.centre_column(at.column));
      for (index_t group = begin; group < end; group += run, y += run * taps, x += run * taps, scalar += run * taps) {
        const T *const v = t.offset + at.number * g.offset_pixel + group * g.offset_group + g.vertical(), *const u =
                                                                                                              v + 1 - 2 * g.vertical();
        SEGNET_SIMD
        for (index_t i = 0; i < run * taps; ++i) {
          y[i] = y0 + s * (rows[i] + v[2 * i]);
          x[i] = x0 + s * (columns[i] + u[2 * i]);
        }
        if (t.mask) std::copy_n(t.mask + at.number * g.mask_pixel + group * g.mask_group, run * taps, scalar);
      }
    }
    corners(whole_lines(n * (end - begin) * taps), table);
  }

  const DeformedTaps<T> t;
  const index_t count;   ///< taps of a pixel, all groups together
  const index_t pixels;  ///< of a table

 private:
  /// Corners and weights of n points, whole lines of them.
  SEGNET_INLINE void corners(index_t n, const TapTable<T>& table) const {
    const auto H = static_cast<std::int32_t>(t.g.H), W = static_cast<std::int32_t>(t.g.W), C = static_cast<std::int32_t>(t.g.C);
    const T *const y = table.y, *const x = table.x, *const scalar = table.scalar;
    std::int32_t *const first = table.first, *const right = table.right, *const down = table.down;
    T *const w0 = table.weight, *const w1 = w0 + length_, *const w2 = w1 + length_, *const w3 = w2 + length_;
    const auto entry = [=](index_t i) SEGNET_INLINE_LAMBDA {
      const BilinearPoint<T> point(y[i], x[i], H, W);
      const std::int32_t beside = point.x.index[1] - point.x.index[0], below = point.y.index[1] - point.y.index[0];
      const bool reaches = point.reaches();
      first[i] = (point.y.index[0] * W + point.x.index[0]) * C ^ (static_cast<std::int32_t>(reaches & (beside > 0) & (below > 0)) - 1);
      right[i] = (beside * C) | (static_cast<std::int32_t>(reaches) - 1);
      down[i] = below * (W * C);
      w0[i] = scalar[i] * point.weight(0);
      w1[i] = scalar[i] * point.weight(1);
      w2[i] = scalar[i] * point.weight(2);
      w3[i] = scalar[i] * point.weight(3);
    };
    SEGNET_SIMD
    for (index_t i = 0; i < n; ++i) entry(i);
  }

  index_t length_;
  Scratch<T> grid_, numbers_;  // grid: rows and columns of the taps
  Scratch<std::int32_t> places_;
};

/// f(output pixel, table, worker, isa) for output pixels [first, last), with the taps of all groups.
template <class T, class F>
void for_tap_tables(const TapTables<T>& tables, index_t first, index_t last, const F& f) {
  const DeformableGeometry& g = tables.t.g;
  const index_t grain = std::max<index_t>(1, (1 << 14) / (g.C * g.taps() * tables.pixels)) * tables.pixels;
  parallel_workers((last - first + grain - 1) / grain, [&](index_t chunk, int worker) {
    const TapTable<T> table = tables.of(worker);
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      OutputPixel at(g, first + chunk * grain);
      for (const index_t end = std::min(last, at.number + grain); at.number < end;) {
        const index_t n = std::min(tables.pixels, end - at.number);
        tables.fill(at, n, 0, g.groups, table);
        for (index_t i = 0; i < n; ++i, at.advance(g)) f(at, table.from(i * tables.count), worker, isa);
      }
    });
  });
}

/// A vector of one number, where channels are too few for any other.
template <class T>
struct OneLane {
  static constexpr int lanes = 1;
  using Vector = T;
  SEGNET_INLINE static const T& load(const T* p) { return *p; }
  SEGNET_INLINE static T& at(T* p) { return *p; }
};

/// f(c, n) for the parts [c, c + n) of channels [begin, end) that lie together in `rows`.
template <class E, class F>
SEGNET_INLINE void for_sets(const TapRows<E>& rows, index_t begin, index_t end, const F& f) {
  for (index_t c = begin, next; c < end; c = next) {
    next = rows.channels ? std::min(end, (c / rows.channels + 1) * rows.channels) : end;
    f(c, next - c);
  }
}

/// Sums of the elements of V::lanes registers: lane i of v[0] becomes that of v[i]. Halves of pairs are exchanged and added, and so on.
template <class V, int step = V::lanes / 2>
SEGNET_INLINE void add_lanes(typename V::Vector (&v)[V::lanes]) {
  using Lanes = std::make_integer_sequence<int, V::lanes>;
#pragma GCC unroll 16
  for (int i = 0; i < step; ++i) {
    typename V::Vector upper, lower;
    mix<V, step, false>(v[i], v[i + step], upper, Lanes{});
    mix<V, step, true>(v[i], v[i + step], lower, Lanes{});
    v[i] = upper + lower;
  }
  if constexpr (step > 1) add_lanes<V, step / 2>(v);
}
/// sums[r] = the sum of the `width` elements of row r of x. Rows and width are multiples of a cache line's elements.
template <Isa isa, class T>
SEGNET_INLINE void add_rows(const T* x, index_t rows, index_t width, T* sums) {
  using V = Simd<T, isa>;
  for (index_t r = 0; r < rows; r += V::lanes) {
    typename V::Vector v[V::lanes];
    for (int i = 0; i < V::lanes; ++i) {
      v[i] = V::load(x + (r + i) * width);
      for (index_t j = V::lanes; j < width; j += V::lanes) v[i] += V::load(x + (r + i) * width + j);
    }
    add_lanes<V>(v);
    V::at(sums + r) = v[0];
  }
}

}  // namespace detail

/// rows(pixel - first, tap, c) = mask * x at the point of that tap of c's group, for output pixels [first, last).
template <class T>
void sample_taps(const DeformedTaps<T>& where, const T* x, index_t first, index_t last, const TapRows<T>& rows) {
  const DeformableGeometry& g = where.g;
  const detail::TapTables<T> tables(where);
  const index_t taps = g.taps(), channels = g.group_channels(), row = g.W * g.C;
  detail::for_tap_tables(
      tables, first, last, [&](const detail::OutputPixel& pixel, const detail::TapTable<T>& table, int, auto) SEGNET_INLINE_LAMBDA {
        const T* const image = x + pixel.image * g.H * row;
        for (index_t group = 0; group < g.groups; ++group)
          detail::for_sets(rows, group * channels, (group + 1) * channels, [&](index_t at, index_t n) SEGNET_INLINE_LAMBDA {
            T* to = rows.at(pixel.number - first, 0, at);
            for (index_t i = group * taps; i < (group + 1) * taps; ++i, to += rows.tap) {
              const auto read = [&](const T* p0, const T* p1, const T* p2, const T* p3) SEGNET_INLINE_LAMBDA {
                const T* const w = table.weight + i;
                const T w0 = w[0], w1 = w[table.length], w2 = w[2 * table.length], w3 = w[3 * table.length];
                for_channels<T>(n, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
                  assign<count()>(to + c, [&](index_t j) SEGNET_INLINE_LAMBDA {
                    return (w0 * p0[c + j] + w1 * p1[c + j]) + (w2 * p2[c + j] + w3 * p3[c + j]);
                  });
                });
              };
              if (!table.corners(i, image + at, g.C, row, read)) std::fill_n(to, n, T(0));
            }
          });
      });
}

/// y [N, OH, OW, C] = sum over the taps of what `sample_taps` gives.
template <class T>
void aggregate_taps(const DeformedTaps<T>& where, const T* x, T* y) {
  const DeformableGeometry& g = where.g;
  const detail::TapTables<T> tables(where);
  const index_t taps = g.taps(), channels = g.group_channels(), row = g.W * g.C;
  const auto rows = [&](const detail::OutputPixel& pixel, const detail::TapTable<T>& table, int, auto isa) SEGNET_INLINE_LAMBDA {
    for (index_t group = 0; group < g.groups; ++group) {
      const T* const from = x + pixel.image * g.H * row + group * channels;
      T* const to = y + pixel.number * g.C + group * channels;
      // All channels in vectors of that width, one for each corner, which stay in registers; the last one overlaps the one before.
      const auto sum = [&](auto width) SEGNET_INLINE_LAMBDA {
        using V = decltype(width);
        if (channels < V::lanes) return false;
        for (index_t block = 0; block < channels; block += V::lanes) {
          const index_t c = std::min(block, channels - V::lanes);
          typename V::Vector s0{}, s1{}, s2{}, s3{};
          const T* w = table.weight + group * taps;
          for (index_t i = group * taps; i < (group + 1) * taps; ++i, ++w)
            table.corners(i, from + c, g.C, row, [&](const T* p0, const T* p1, const T* p2, const T* p3) SEGNET_INLINE_LAMBDA {
              s0 += w[0] * V::load(p0);
              s1 += w[table.length] * V::load(p1);
              s2 += w[2 * table.length] * V::load(p2);
              s3 += w[3 * table.length] * V::load(p3);
            });
          V::at(to + c) = (s0 + s1) + (s2 + s3);
        }
        return true;
      };
      if constexpr (decltype(isa)::value >= Isa::avx512)
        if (sum(Simd<T, Isa::avx512>{})) continue;
      if constexpr (decltype(isa)::value >= Isa::avx2)
        if (sum(Simd<T, Isa::avx2>{})) continue;
      sum(Simd<T, Isa::baseline>{}) || sum(detail::OneLane<T>{});
    }
  };
  detail::for_tap_tables(tables, 0, g.pixels(), rows);
}

/// The transpose in x: dx += q(pixel - first, tap, c) * mask, spread over the corners of each point, for output pixels [first, last).
/// A thread has channels of an image to itself, and goes through the pixels in order: the same bits for any number of threads.
template <class T>
void scatter_taps(const DeformedTaps<T>& where, const TapRows<const T>& q, index_t first, index_t last, T* dx) {
  if (first >= last) return;
  const DeformableGeometry& g = where.g;
  const detail::TapTables<T> tables(where);
  constexpr index_t block = 64 / sizeof(T);
  const index_t taps = g.taps(), channels = g.group_channels(), row = g.W * g.C, pixels = g.OH * g.OW;
  const index_t blocks = (channels + block - 1) / block, all = g.groups * blocks;  // blocks of channels, none in two groups
  const index_t image0 = first / pixels, images = (last - 1) / pixels + 1 - image0;
  const index_t parts = std::min<index_t>(all, (num_threads() + images - 1) / images);
  parallel_workers(images * parts, [&](index_t chunk, int worker) {
    const index_t image = image0 + chunk / parts, begin = chunk % parts * all / parts, end = (chunk % parts + 1) * all / parts;
    const detail::TapTable<T> table = tables.of(worker);
    T* const to = dx + image * g.H * g.W * g.C;
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      detail::OutputPixel pixel(g, std::max(first, image * pixels));
      for (; pixel.number < std::min(last, (image + 1) * pixels); pixel.advance(g)) {
        tables.fill(pixel, 1, begin / blocks, (end - 1) / blocks + 1, table);
        for (index_t group = begin / blocks; group * blocks < end; ++group) {
          const index_t c0 = group * channels + std::max<index_t>(0, begin - group * blocks) * block;
          const index_t c1 = group * channels + std::min(channels, (end - group * blocks) * block);
          detail::for_sets(q, c0, c1, [&](index_t at, index_t n) SEGNET_INLINE_LAMBDA {
            for_channels_once<T>(n, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
              const T* const gradient = q.at(pixel.number - first, 0, at) + c;
              const index_t entry = (group - begin / blocks) * taps;
              for (index_t k = 0; k < taps; ++k)
                table.corners(entry + k, to + at + c, g.C, row, [&](T* p0, T* p1, T* p2, T* p3) SEGNET_INLINE_LAMBDA {
                  T* const corner[4] = {p0, p1, p2, p3};
                  for (int i = 0; i < 4; ++i) {
                    const T w = table.weight[i * table.length + entry + k];
                    assign<count()>(corner[i], [&](index_t j) SEGNET_INLINE_LAMBDA { return corner[i][j] + w * gradient[k * q.tap + j]; });
                  }
                });
            });
          });
        }
      }
    });
  });
}

/// Gradients of offsets and scalars: of what `sample_taps` gives, times q, summed over the channels of each tap's group. For output pixels
/// [first, last); doffset and dmask lie as offset and mask do, and may be null.
template <class T>
void grad_taps(const DeformedTaps<T>& where, const T* x, const TapRows<const T>& q, index_t first, index_t last, T* doffset, T* dmask) {
  const DeformableGeometry& g = where.g;
  const detail::TapTables<T> tables(where);
  constexpr index_t line = detail::TapTables<T>::line;
  const index_t taps = g.taps(), channels = g.group_channels(), row = g.W * g.C, size = tables.whole_lines(tables.count), rows = 4 * size;
  const bool whole_lines = channels >= line && (q.channels == 0 || q.channels >= line);  // the first of a group assigns
  const Scratch<T> products(num_threads() * rows * line), sums(num_threads() * (rows + 3 * size));
  std::fill_n(products.data(), num_threads() * rows * line, T(0));
  const auto H = static_cast<std::int32_t>(g.H), W = static_cast<std::int32_t>(g.W);
  const T scale = static_cast<T>(g.scale);
  detail::for_tap_tables(
      tables, first, last,
      [&](const detail::OutputPixel& pixel, const detail::TapTable<T>& table, int worker, auto isa) SEGNET_INLINE_LAMBDA {
        // <q, corner>, a line of partial sums for each corner of each tap. Rows of taps that read nothing keep what they had.
        T* const product = products.data() + worker * rows * line;
        const T* const image = x + pixel.image * g.H * row;
        if (!whole_lines) std::fill_n(product, rows * line, T(0));
        for (index_t group = 0; group < g.groups; ++group)
          detail::for_sets(q, group * channels, (group + 1) * channels, [&](index_t at, index_t n) SEGNET_INLINE_LAMBDA {
            for_channels_once<T>(n, [&](index_t c, auto length) SEGNET_INLINE_LAMBDA {
              const T* gradient = q.at(pixel.number - first, 0, at) + c;
              const bool fresh = whole_lines && at + c == group * channels;
              for (index_t i = group * taps; i < (group + 1) * taps; ++i, gradient += q.tap)
                table.corners(i, image + at + c, g.C, row, [&](const T* p0, const T* p1, const T* p2, const T* p3) SEGNET_INLINE_LAMBDA {
                  const T* const corner[4] = {p0, p1, p2, p3};
                  for (int k = 0; k < 4; ++k) {
                    T* const to = product + (k * size + i) * line;
                    if (fresh) assign<length()>(to, [&](index_t j) SEGNET_INLINE_LAMBDA { return gradient[j] * corner[k][j]; });
                    else assign<length()>(to, [&](index_t j) SEGNET_INLINE_LAMBDA { return to[j] + gradient[j] * corner[k][j]; });
                  }
                });
            });
          });
        T *const d0 = sums.data() + worker * (rows + 3 * size), *const d1 = d0 + size, *const d2 = d1 + size, *const d3 = d2 + size,
                 *const along_y = d0 + rows, *const along_x = along_y + size, *const value = along_x + size;
        detail::add_rows<decltype(isa)::value>(product, rows, line, d0);
        // The rest is arithmetic on a few numbers a tap.
        const T *const y_ = table.y, *const x_ = table.x, *const scalar = table.scalar;
        const auto entry = [=](index_t i) SEGNET_INLINE_LAMBDA {
          const BilinearPoint<T> point(y_[i], x_[i], H, W);
          const T upper = point.x.weight[0] * d0[i] + point.x.weight[1] * d1[i],
                  lower = point.x.weight[0] * d2[i] + point.x.weight[1] * d3[i];
          const T dy = point.y.slope[0] * upper + point.y.slope[1] * lower;
          const T dx = point.y.weight[0] * (point.x.slope[0] * d0[i] + point.x.slope[1] * d1[i]) +
                       point.y.weight[1] * (point.x.slope[0] * d2[i] + point.x.slope[1] * d3[i]);
          const bool reaches = point.reaches();
          along_y[i] = math::select(reaches, scale * scalar[i] * dy, T(0));
          along_x[i] = math::select(reaches, scale * scalar[i] * dx, T(0));
          value[i] = math::select(reaches, point.y.weight[0] * upper + point.y.weight[1] * lower, T(0));
        };
        SEGNET_SIMD
        for (index_t i = 0; i < size; ++i) entry(i);
        for (index_t group = 0; group < g.groups; ++group) {
          const index_t o = pixel.number * g.offset_pixel + group * g.offset_group, m = pixel.number * g.mask_pixel + group * g.mask_group;
          const index_t i = group * taps;
          for (index_t k = 0; doffset && k < taps; ++k) {
            doffset[o + 2 * k + g.vertical()] = along_y[i + k];
            doffset[o + 2 * k + 1 - g.vertical()] = along_x[i + k];
          }
          if (dmask) std::copy_n(value + i, taps, dmask + m);
        }
      });
}

}  // namespace segnet::kernels
