// Reading images at displaced taps, and the transposes of that. A thread computes packs of channels, pixel by pixel, and works out where a
// tap reads once for all of them. Gradients of offsets and scalars are sums over channels, shared by the threads of a team; what goes to
// the image is sorted by its pixels (scatter_rows.cuh), so that no atomics are needed and the bits are always the same.
#pragma once

#include "grid_sample.cuh"
#include "segnet/kernels/deformable_geometry.hpp"

namespace segnet::cuda {

/// Where the taps of a deformable operator read.
template <class T>
struct DeformedPoints {
  using M = Master<T>;
  kernels::DeformableGeometry g;
  const T *offset, *mask;  ///< mask may be null: ones

  /// Of output pixel p, counted over the batch.
  struct Pixel {
    index_t image, oh, ow;
    const T *offset, *mask;
  };
  __device__ Pixel pixel(index_t p, index_t group) const {
    const index_t row = p / g.OW;
    return {row / g.OH, row % g.OH, p - row * g.OW, offset + p * g.offset_pixel + group * g.offset_group,
            mask ? mask + p * g.mask_pixel + group * g.mask_group : nullptr};
  }
  __device__ kernels::BilinearPoint<M> point(const Pixel& at, index_t k, index_t row, index_t column) const {
    return g.point(at.oh, at.ow, row, column, static_cast<M>(at.offset[2 * k]), static_cast<M>(at.offset[2 * k + 1]));
  }
  __device__ M scalar(const Pixel& at, index_t k) const { return at.mask ? static_cast<M>(at.mask[k]) : M(1); }
};

/// sum[i] += scalar * the image at the point, whose channels begin at `image`.
template <int V, class T>
__device__ void add_point(const T* image, index_t W, index_t C, const kernels::BilinearPoint<Master<T>>& point, Master<T> scalar,
                          Master<T> (&sum)[V]) {
  if (!point.reaches()) return;
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    Master<T> value[V];
    load_as<V>(image + point.pixel(corner, W) * C, value);
    const Master<T> w = scalar * point.weight(corner);
#pragma unroll
    for (int i = 0; i < V; ++i) sum[i] += w * value[i];
  }
}

/// y = the sum over the taps; see kernels::aggregate_taps.
template <class T, int V>
struct AggregateTaps {
  DeformedPoints<T> where;
  const T* x;
  T* y;

  __device__ void operator()(index_t n, index_t oh, index_t ow, index_t c) const {
    const kernels::DeformableGeometry& g = where.g;
    const index_t p = (n * g.OH + oh) * g.OW + ow;
    const auto at = where.pixel(p, c / g.group_channels());
    const T* const image = x + n * g.H * g.W * g.C + c;
    Master<T> sum[V] = {};
    g.for_each_tap([&](index_t k, index_t row, index_t column) {
      add_point<V>(image, g.W, g.C, where.point(at, k, row, column), where.scalar(at, k), sum);
    });
    store_as<V>(y + p * g.C + c, sum);
  }
};

/// What each tap reads, as a row of its own, for output pixels from `first` on; see kernels::sample_taps.
template <class T, int V>
struct SampleTaps {
  DeformedPoints<T> where;
  const T* x;
  kernels::TapRows<T> rows;
  index_t first;

  __device__ void operator()(index_t, index_t, index_t i, index_t c) const {
    const kernels::DeformableGeometry& g = where.g;
    const auto at = where.pixel(first + i, c / g.group_channels());
    const T* const image = x + at.image * g.H * g.W * g.C + c;
    T* const to = rows.at(i, 0, c);
    g.for_each_tap([&](index_t k, index_t row, index_t column) {
      Master<T> sum[V] = {};
      add_point<V>(image, g.W, g.C, where.point(at, k, row, column), where.scalar(at, k), sum);
      store_as<V>(to + k * rows.tap, sum);
    });
  }
};

/// Where rows of `unit` channels send their gradients: to 4 rows of an image whose pixels are C / unit of them, or nowhere. Row r belongs
/// to a tap of an output pixel: `order` says to which. For output pixels from `first` on, of images from `first_image` on.
template <class T, class Order>
struct TapTargets {
  DeformedPoints<T> where;
  Order order;
  index_t first, first_image, images, unit;
  std::uint64_t* to;
  Master<T>* weight;

  __device__ void operator()(index_t r) const {
    const kernels::DeformableGeometry& g = where.g;
    const auto [i, k, c] = order(r);
    const auto at = where.pixel(first + i, c / g.group_channels());
    const auto point = where.point(at, k, g.tap_row(k), g.tap_column(k));
    const Master<T> scalar = where.scalar(at, k);
    const index_t units = g.C / unit, image = (at.image - first_image) * g.H * g.W, nowhere = images * g.H * g.W * units;
    for (int corner = 0; corner < 4; ++corner) {
      to[4 * r + corner] = static_cast<std::uint64_t>(point.reaches() ? (image + point.pixel(corner, g.W)) * units + c / unit : nowhere);
      weight[4 * r + corner] = scalar * point.weight(corner);
    }
  }
};
struct TapOfRow {
  index_t pixel, tap, channel;  ///< pixel from the first one on; the first channel
};
/// Rows [pixel][group][tap] of groups of channels.
struct TapsOfGroups {
  index_t groups, taps, channels;
  __device__ TapOfRow operator()(index_t r) const { return {r / (taps * groups), r % taps, r / taps % groups * channels}; }
};
/// Rows [set][pixel][tap][unit] of units of channels: the columns of a product.
struct TapsOfColumns {
  index_t pixels, taps, channels, unit;  ///< channels of a set
  __device__ TapOfRow operator()(index_t r) const {
    const index_t units = channels / unit, column = r / units;
    return {column / taps % pixels, column % taps, column / (taps * pixels) * channels + r % units * unit};
  }
};

/// Gradients of the offset and the scalar of each (pixel, group, tap), for output pixels from `first` on; see kernels::grad_taps.
template <class T, class Q, int V>
struct TapGradients {
  using M = Master<T>;
  DeformedPoints<T> where;
  const T* x;
  kernels::TapRows<const Q> q;
  index_t first, pixels;
  T *doffset, *dmask;

  __device__ void operator()(index_t i, int lane, int lanes) const {
    const kernels::DeformableGeometry& g = where.g;
    const index_t taps = g.taps(), k = i % taps, group = i / taps % g.groups, p = i / (taps * g.groups), channels = g.group_channels();
    const bool mine = p < pixels;
    M value = 0, along_y = 0, along_x = 0, scalar = 0;
    if (mine) {
      const auto at = where.pixel(first + p, group);
      const auto point = where.point(at, k, g.tap_row(k), g.tap_column(k));
      scalar = where.scalar(at, k);
      const T* const image = x + at.image * g.H * g.W * g.C;
      M dot[4] = {};
      for (index_t c = group * channels + static_cast<index_t>(lane) * V; point.reaches() && c < (group + 1) * channels;
           c += static_cast<index_t>(lanes) * V) {
        M gradient[V];
        load_as<V>(q.at(p, k, c), gradient);
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
          M read[V];
          load_as<V>(image + point.pixel(corner, g.W) * g.C + c, read);
#pragma unroll
          for (int j = 0; j < V; ++j) dot[corner] += gradient[j] * read[j];
        }
      }
      for (int corner = 0; point.reaches() && corner < 4; ++corner) {
        value += point.weight(corner) * dot[corner];
        along_y += point.slope_y(corner) * dot[corner];
        along_x += point.slope_x(corner) * dot[corner];
      }
    }
    value = team_sum(value, lanes);
    along_y = team_sum(along_y, lanes);
    along_x = team_sum(along_x, lanes);
    if (!mine || lane != 0) return;
    const index_t o = (first + p) * g.offset_pixel + group * g.offset_group + 2 * k;
    const M factor = static_cast<M>(g.scale) * scalar;
    if (doffset) {
      doffset[o + g.vertical()] = static_cast<T>(factor * along_y);
      doffset[o + 1 - g.vertical()] = static_cast<T>(factor * along_x);
    }
    if (dmask) dmask[(first + p) * g.mask_pixel + group * g.mask_group + k] = static_cast<T>(value);
  }
};

/// Runs TapGradients for `pixels` output pixels from `first` on. Packs of channels end within `unit` channels.
template <class T, class Q>
void grad_taps(const DeformedPoints<T>& where, const T* x, const kernels::TapRows<const Q>& q, index_t unit, index_t first, index_t pixels,
               T* doffset, T* dmask) {
  const kernels::DeformableGeometry& g = where.g;
  with_packs<T>(unit, {x, q.data}, [&](auto V) {
    for_each_team(pixels * g.groups * g.taps(), team_lanes(g.group_channels() / V()),
                  TapGradients<T, Q, V()>{where, x, q, first, pixels, doffset, dmask});
  });
}

/// dx of `images` images from `first_image` on: rows of `unit` channels `q`, in that order, sent to where their taps read. `taps`: how many
/// rows of weights belong to one row of q.
template <class T, class Q, class Order>
void scatter_taps(const DeformedPoints<T>& where, const Order& order, const Q* q, index_t rows, index_t taps, index_t unit,
                  index_t first_image, index_t images, Q* dx) {
  const kernels::DeformableGeometry& g = where.g;
  const index_t count = rows * taps;
  const Scratch<std::uint64_t> to(4 * count);
  const Scratch<Master<T>> weight(4 * count);
  for_each(count, TapTargets<T, Order>{where, order, first_image * g.OH * g.OW, first_image, images, unit, to.data(), weight.data()});
  scatter_rows<Q>(to.data(), weight.data(), 4 * taps, q, rows, dx, images * g.H * g.W * (g.C / unit), unit);
}

}  // namespace segnet::cuda
