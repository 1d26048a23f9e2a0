// Images read at the points of a grid. A point reads few pixels along each axis, with weights that depend on where between them it is: one
// description of that, for every mode, padding, pass and device.
//
// Gradients to the image go where the points read. On the CPU each thread has pixels and channels of its own, and looks at all points in
// their order: no atomics, and the same sums however the work is shared out.
#pragma once

#include <algorithm>
#include <cmath>

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/bilinear_sample.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/resize.hpp"

namespace segnet {

/// How a value between pixels is made.
enum class GridSampleMode {
  bilinear,  ///< of 2 x 2 neighbours
  nearest,   ///< the nearest pixel, the even one of two; no gradient to the grid
  bicubic    ///< of 4 x 4 neighbours, as `InterpolateMode::bicubic`
};

/// What is outside the image.
enum class GridPadding {
  zeros,
  border,     ///< the nearest pixel of the border
  reflection  ///< the image, mirrored at its outer edges, or (align_corners) at the centres of its border pixels
};

[[nodiscard]] inline const char* to_string(GridSampleMode mode) {
  constexpr const char* names[] = {"bilinear", "nearest", "bicubic"};
  return names[static_cast<int>(mode)];
}
[[nodiscard]] inline const char* to_string(GridPadding padding) {
  constexpr const char* names[] = {"zeros", "border", "reflection"};
  return names[static_cast<int>(padding)];
}

namespace kernels {

/// Pixels that a point reads along an axis.
[[nodiscard]] SEGNET_HOST_DEVICE constexpr int grid_taps(GridSampleMode mode) {
  return mode == GridSampleMode::nearest ? 1 : mode == GridSampleMode::bilinear ? 2 : 4;
}

/// What a point reads along an axis: pixels, their weights, and the derivatives of these by the grid's coordinate. Both are 0 of a pixel
/// outside the image, in the place of which stands the next one inside; the point reads that one too, unless it reaches none.
template <class M, int taps>
struct GridTaps {
  bool reaches;
  std::int32_t index[taps];
  M weight[taps], slope[taps];
};

/// One axis of the image, and how the grid's coordinates in [-1, 1] lie on it.
struct GridAxis {
  std::int32_t size;  ///< >= 1
  GridPadding padding;
  bool align_corners;

  /// In pixels, and how fast that changes with the grid's coordinate.
  template <class M>
  struct Place {
    M at, slope;
  };

  template <class M>
  SEGNET_INLINE SEGNET_HOST_DEVICE Place<M> place(M g) const {
    const M n = static_cast<M>(size);
    if (align_corners) return {(g + 1) / 2 * (n - 1), (n - 1) / 2};
    return {((g + 1) * n - 1) / 2, n / 2};
  }
  /// Brought back into the image, if that is how it is padded. Not a number becomes pixel 0.
  template <class M>
  SEGNET_INLINE SEGNET_HOST_DEVICE Place<M> padded(Place<M> p) const {
    if (padding == GridPadding::zeros) return p;
    const M last = static_cast<M>(size - 1);
    if (padding == GridPadding::reflection && last + !align_corners > 0) {
      const M low = align_corners ? M(0) : M(-0.5), span = last - 2 * low, beyond = p.at - low, distance = std::abs(beyond);
      const M rest = std::fmod(distance, span);
      const bool back = std::fmod(std::floor(distance / span), M(2)) != 0;
      p = {low + (back ? span - rest : rest), (beyond < 0) != back ? -p.slope : p.slope};
    }
    if (!(p.at > 0)) return {0, 0};
    if (p.at >= last) return {last, 0};
    return p;
  }

  template <GridSampleMode mode, class M>
  SEGNET_INLINE SEGNET_HOST_DEVICE GridTaps<M, grid_taps(mode)> taps(M g) const {
    GridTaps<M, grid_taps(mode)> taps;
    const M end = static_cast<M>(size);
    if constexpr (mode == GridSampleMode::bilinear) {
      const Place<M> p = padded(place(g));
      const BilinearAxis<M> axis(p.at, size);
      taps.reaches = p.at > -1 && p.at < end;
      for (int k = 0; k < 2; ++k) {
        taps.index[k] = axis.index[k];
        taps.weight[k] = axis.weight[k];
        taps.slope[k] = axis.slope[k] * p.slope;
      }
    } else if constexpr (mode == GridSampleMode::nearest) {
      const M at = std::rint(padded(place(g)).at);
      taps.reaches = at >= 0 && at < end;
      taps.index[0] = taps.reaches ? static_cast<std::int32_t>(at) : 0;
      taps.weight[0] = 1;
      taps.slope[0] = 0;
    } else {
      const Place<M> p = place(g);
      const bool finite = p.at - p.at == 0;
      const M first = finite ? std::floor(p.at) : M(0), u = finite ? p.at - first : M(0);
      taps.reaches = padding != GridPadding::zeros || (finite && first > -3 && first < end + 1);
      for (int k = -1; k <= 2; ++k) {
        const M i = padded(Place<M>{first + static_cast<M>(k), 0}).at, d = k < 1 ? u - static_cast<M>(k) : static_cast<M>(k) - u;
        const bool inside = i >= 0 && i < end;
        const double slope = cubic_slope(static_cast<double>(d));
        taps.index[k + 1] = inside ? static_cast<std::int32_t>(i) : i < 0 ? 0 : size - 1;
        taps.weight[k + 1] = inside ? static_cast<M>(ResizeAxis::cubic(static_cast<double>(d))) : M(0);
        taps.slope[k + 1] = inside && finite ? static_cast<M>(k < 1 ? slope : -slope) * p.slope : M(0);
      }
    }
    return taps;
  }
  /// Derivative of ResizeAxis::cubic.
  SEGNET_HOST_DEVICE static double cubic_slope(double d) {
    constexpr double A = -0.75;
    return d <= 1 ? (3 * (A + 2) * d - 2 * (A + 3)) * d : (3 * A * d - 10 * A) * d + 8 * A;
  }
};

struct GridGeometry {
  index_t N, C, points;  ///< `points` in the grid of an image
  GridSampleMode mode;
  GridAxis y, x;

  [[nodiscard]] SEGNET_HOST_DEVICE index_t pixels() const { return static_cast<index_t>(y.size) * x.size; }
};

/// All that a point reads: pixels of the image, row by row, their weights, and the derivatives of these by both coordinates. Nothing,
/// unless it reaches the image.
template <GridSampleMode mode, class M>
struct GridPoint {
  static constexpr int side = grid_taps(mode), count = side * side;
  bool reaches;
  index_t pixel[count];
  M weight[count], slope_x[count], slope_y[count];

  /// at: {x, y} of the grid.
  SEGNET_INLINE SEGNET_HOST_DEVICE GridPoint(const GridGeometry& g, const M* at) {
    const GridTaps<M, side> across = g.x.taps<mode>(at[0]), down = g.y.taps<mode>(at[1]);
    reaches = across.reaches && down.reaches;
    const auto corner = [&](int k) SEGNET_INLINE_LAMBDA {
      const int i = k / side, j = k % side;
      pixel[k] = static_cast<index_t>(down.index[i]) * g.x.size + across.index[j];
      weight[k] = down.weight[i] * across.weight[j];
      slope_x[k] = down.weight[i] * across.slope[j];
      slope_y[k] = down.slope[i] * across.weight[j];
    };
    if constexpr (count == 1) corner(0);
    else SEGNET_UNROLL for (int k = 0; k < count; ++k) corner(k);
  }
};

/// f(integral_constant<GridSampleMode, mode>)
template <class F>
void with_mode(GridSampleMode mode, const F& f) {
  if (mode == GridSampleMode::bilinear) f(std::integral_constant<GridSampleMode, GridSampleMode::bilinear>{});
  else if (mode == GridSampleMode::nearest) f(std::integral_constant<GridSampleMode, GridSampleMode::nearest>{});
  else f(std::integral_constant<GridSampleMode, GridSampleMode::bicubic>{});
}

namespace detail {

/// to[c] = sum over k < count of weight[k] * from[pixel[k] * pitch + c], c < C. `fixed`: count, where that is always the same; else 0.
template <int fixed, class T>
SEGNET_INLINE void read_pixels(const T* from, index_t pitch, const index_t* pixel, const T* weight, int count, index_t C, T* to) {
  for_channels<T>(C, [&](index_t c, auto lanes) SEGNET_INLINE_LAMBDA {
    T sum[lanes()] = {};
    const auto add = [&](int k) SEGNET_INLINE_LAMBDA {
      const T *p = from + pixel[k] * pitch + c, w = weight[k];
      for (int i = 0; i < lanes(); ++i) sum[i] += w * p[i];
    };
    if constexpr (fixed == 4) {
      SEGNET_UNROLL for (int k = 0; k < 4; ++k) add(k);
    } else {
      for (int k = 0; k < count; ++k) add(k);
    }
    for (int i = 0; i < lanes(); ++i) to[c + i] = sum[i];
  });
}

/// to[c] += w * from[c]
template <class T>
SEGNET_INLINE void add_pixel(const T* from, T w, index_t C, T* to) {
  for_channels_once<T>(C, [&](index_t c, auto lanes) SEGNET_INLINE_LAMBDA {
    for (int i = 0; i < lanes(); ++i) to[c + i] += w * from[c + i];
  });
}

/// The sum of `lanes` numbers, in an order of its own.
template <int lanes, class T>
SEGNET_INLINE T sum_lanes(T* lane) {
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

/// Sum of a[c] * b[c], in an order that C alone decides.
template <class T>
SEGNET_INLINE T dot_pixels(const T* a, const T* b, index_t C) {
  constexpr int W = 64 / static_cast<int>(sizeof(T));
  T lane[W] = {};
  index_t c = 0;
  for (; c + W <= C; c += W)
    for (int i = 0; i < W; ++i) lane[i] += a[c + i] * b[c + i];
  for (int i = 0; c < C; ++i, ++c) lane[i] += a[c] * b[c];
  return sum_lanes<W>(lane);
}

/// along = the derivatives by x and y of <dy, what the point reads of the image>, alike.
template <class Point, class T>
SEGNET_INLINE void slopes(const Point& p, const T* dy, const T* image, index_t C, T* along) {
  constexpr int W = 64 / static_cast<int>(sizeof(T));
  T along_x[W] = {}, along_y[W] = {};
  const T* from[Point::count];
  for (int k = 0; k < Point::count; ++k) from[k] = image + p.pixel[k] * C;
  const auto add = [&](index_t c, auto lanes) SEGNET_INLINE_LAMBDA {
    T by_x[lanes()] = {}, by_y[lanes()] = {};
    for (int k = 0; k < Point::count; ++k)
      for (int i = 0; i < lanes(); ++i) {
        by_x[i] += p.slope_x[k] * from[k][c + i];
        by_y[i] += p.slope_y[k] * from[k][c + i];
      }
    for (int i = 0; i < lanes(); ++i) {
      along_x[i] += by_x[i] * dy[c + i];
      along_y[i] += by_y[i] * dy[c + i];
    }
  };
  index_t c = 0;
  for (; c + W <= C; c += W) add(c, std::integral_constant<int, W>{});
  for (; c < C; ++c) add(c, std::integral_constant<int, 1>{});
  along[0] = C < W ? along_x[0] : sum_lanes<W>(along_x);
  along[1] = C < W ? along_y[0] : sum_lanes<W>(along_y);
}

}  // namespace detail

/// y[n, p] = x[n] at grid[n, p]. x [N, H, W, C], grid [N, points, 2], y [N, points, C].
template <class T>
void grid_sample(const GridGeometry& g, ConstView<T> x, View<const T> grid, View<T> y) {
  with_mode(g.mode, [&](auto mode) {
    parallel_for(g.N * g.points, std::max<index_t>(1, 4096 / std::max<index_t>(g.C, 16)), [&](index_t begin, index_t end) {
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        for (index_t i = begin; i < end; ++i) {
          const GridPoint<mode(), T> p(g, grid.data + 2 * i);
          if (p.reaches)
            detail::read_pixels<p.count>(x.data + i / g.points * g.pixels() * g.C, g.C, p.pixel, p.weight, p.count, g.C, y.data + i * g.C);
          else std::fill_n(y.data + i * g.C, g.C, T(0));
        }
      });
    });
  });
}

/// dgrid from dy.
template <class T>
void grid_sample_backward_grid(const GridGeometry& g, ConstView<T> dy, View<const T> x, View<const T> grid, View<T> dgrid) {
  with_mode(g.mode, [&](auto mode) {
    parallel_for(g.N * g.points, std::max<index_t>(1, 4096 / std::max<index_t>(g.C, 16)), [&](index_t begin, index_t end) {
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        for (index_t i = begin; i < end; ++i) {
          T along[2] = {};
          if constexpr (mode() != GridSampleMode::nearest) {
            const GridPoint<mode(), T> p(g, grid.data + 2 * i);
            if (p.reaches) detail::slopes(p, dy.data + i * g.C, x.data + i / g.points * g.pixels() * g.C, g.C, along);
          }
          dgrid[2 * i] = along[0];
          dgrid[2 * i + 1] = along[1];
        }
      });
    });
  });
}

/// dx from dy. The work is cut by images, blocks of channels and, where that is not enough for all threads, bands of pixels, whose points
/// must be worked out for each band again; a pixel adds up its points in their order in any case.
template <class T>
void grid_sample_backward_input(const GridGeometry& g, ConstView<T> dy, View<const T> grid, View<T> dx) {
  constexpr index_t block = 64;
  const index_t pixels = g.pixels(), blocks = (g.C + block - 1) / block, tasks = g.N * blocks;
  if (tasks == 0) return;
  const index_t bands = std::clamp<index_t>((num_threads() + tasks - 1) / tasks, 1, pixels);
  with_mode(g.mode, [&](auto mode) {
    parallel_chunks(tasks * bands, [&](index_t task) {
      const index_t band = task % bands, c0 = task / bands % blocks * block, n = task / bands / blocks, C = std::min(block, g.C - c0);
      const index_t begin = pixels * band / bands, end = pixels * (band + 1) / bands;
      T* const image = dx.data + n * pixels * g.C + c0;
      for (index_t i = begin; i < end; ++i) std::fill_n(image + i * g.C, C, T(0));
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        for (index_t i = n * g.points; i < (n + 1) * g.points; ++i) {
          const GridPoint<mode(), T> p(g, grid.data + 2 * i);
          for (int k = 0; p.reaches && k < p.count; ++k)
            if (p.pixel[k] >= begin && p.pixel[k] < end)
              detail::add_pixel(dy.data + i * g.C + c0, p.weight[k], C, image + p.pixel[k] * g.C);
        }
      });
    });
  });
}

// cuda/grid_sample.cuh. Of bfloat16 images the grid is float.
template <class T>
void grid_sample(const GridGeometry& g, ConstView<T, Cuda> x, View<const Master<T>, Cuda> grid, View<T, Cuda> y);
template <class T>
void grid_sample_backward_grid(const GridGeometry& g, ConstView<T, Cuda> dy, View<const T, Cuda> x, View<const Master<T>, Cuda> grid,
                               View<Master<T>, Cuda> dgrid);
template <class T>
void grid_sample_backward_input(const GridGeometry& g, ConstView<T, Cuda> dy, View<const Master<T>, Cuda> grid, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_GRID_SAMPLE(TEMPLATE, T)                                                                      \
  TEMPLATE void grid_sample(const GridGeometry&, ConstView<T>, View<const T>, View<T>);                              \
  TEMPLATE void grid_sample_backward_grid(const GridGeometry&, ConstView<T>, View<const T>, View<const T>, View<T>); \
  TEMPLATE void grid_sample_backward_input(const GridGeometry&, ConstView<T>, View<const T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_GRID_SAMPLE)

}  // namespace kernels
}  // namespace segnet
