// Multi-scale deformable attention: what a query reads, at few points of several maps. Gradients to the maps go where the points read: on
// the CPU each thread has a head of a map of its own, and looks at its points in their order.
#pragma once

#include <vector>

#include "segnet/kernels/grid_sample.hpp"

namespace segnet::kernels {

/// Sizes: N images, M heads of D channels, Lq queries, P points on each of L maps, whose pixels lie one map behind the other in S rows.
struct MsDeformGeometry {
  static constexpr int most_levels = 8;
  struct Level {
    std::int32_t H, W;
    index_t first;  ///< row of its first pixel
  };
  index_t N, S, M, D, Lq, L, P;
  Level levels[most_levels];

  [[nodiscard]] SEGNET_HOST_DEVICE index_t samples() const { return N * Lq * M * L * P; }
  /// Where sample i of [N, Lq, M, L, P] lies; `at` is its (x, y) of [0, 1].
  template <class T>
  [[nodiscard]] SEGNET_HOST_DEVICE BilinearPoint<T> point(const Level& level, const T* at) const {
    return {at[1] * static_cast<T>(level.H) - T(0.5), at[0] * static_cast<T>(level.W) - T(0.5), level.H, level.W};
  }
};

/// Whether a corner lies in the map.
template <class T>
[[nodiscard]] SEGNET_HOST_DEVICE bool has_corner(const BilinearPoint<T>& p, int corner) {
  return p.y.slope[corner / 2] != 0 && p.x.slope[corner % 2] != 0;
}

/// y[n, q, m] = sum over l, p of attention[n, q, m, l, p] * value[n, map l, m] at locations[n, q, m, l, p].
/// value [N, S, M, D], locations [N, Lq, M, L, P, 2], attention [N, Lq, M, L, P], y [N, Lq, M D].
template <class T>
void ms_deform_attn(const MsDeformGeometry& g, ConstView<T> value, View<const T> locations, ConstView<T> attention, View<T> y) {
  const index_t samples = g.L * g.P;
  parallel_for(g.N * g.Lq * g.M, std::max<index_t>(1, 2048 / std::max<index_t>(samples, 1)), [&](index_t begin, index_t end) {
    std::vector<index_t> pixel(static_cast<std::size_t>(4 * samples));
    std::vector<T> weight(static_cast<std::size_t>(4 * samples));
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t i = begin; i < end; ++i) {  // (n, q, m)
        int count = 0;
        for (index_t s = 0; s < samples; ++s) {
          const auto& level = g.levels[s / g.P];
          const auto p = g.point(level, locations.data + 2 * (i * samples + s));
          for (int k = 0; k < 4; ++k)
            if (has_corner(p, k)) {
              pixel[static_cast<std::size_t>(count)] = level.first + p.pixel(k, level.W);
              weight[static_cast<std::size_t>(count++)] = attention[i * samples + s] * p.weight(k);
            }
        }
        const index_t m = i % g.M, n = i / (g.M * g.Lq);
        detail::read_pixels<0>(value.data + (n * g.S * g.M + m) * g.D, g.M * g.D, pixel.data(), weight.data(), count, g.D,
                               y.data + i * g.D);
      }
    });
  });
}

/// dlocations and dattention from dy.
template <class T>
void ms_deform_attn_backward_points(const MsDeformGeometry& g, ConstView<T> dy, View<const T> value, View<const T> locations,
                                    ConstView<T> attention, View<T> dlocations, View<T> dattention) {
  const index_t samples = g.L * g.P;
  parallel_for(g.samples(), 512, [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t s = begin; s < end; ++s) {
        const index_t i = s / samples, m = i % g.M, n = i / (g.M * g.Lq);
        const auto& level = g.levels[s % samples / g.P];
        const auto p = g.point(level, locations.data + 2 * s);
        T sampled = 0, along_x = 0, along_y = 0;
        for (int k = 0; k < 4; ++k) {
          if (!has_corner(p, k)) continue;
          const T* corner = value.data + ((n * g.S + level.first + p.pixel(k, level.W)) * g.M + m) * g.D;
          const T dot = detail::dot_pixels(dy.data + i * g.D, corner, g.D);
          sampled += p.weight(k) * dot;
          along_x += p.slope_x(k) * dot;
          along_y += p.slope_y(k) * dot;
        }
        dattention[s] = sampled;
        dlocations[2 * s] = attention[s] * static_cast<T>(level.W) * along_x;
        dlocations[2 * s + 1] = attention[s] * static_cast<T>(level.H) * along_y;
      }
    });
  });
}

/// dvalue from dy.
template <class T>
void ms_deform_attn_backward_value(const MsDeformGeometry& g, ConstView<T> dy, View<const T> locations, ConstView<T> attention,
                                   View<T> dvalue) {
  parallel_chunks(g.N * g.M * g.L, [&](index_t task) {
    const index_t l = task % g.L, m = task / g.L % g.M, n = task / (g.L * g.M), pitch = g.M * g.D;
    const auto& level = g.levels[l];
    T* const map = dvalue.data + (n * g.S + level.first) * pitch + m * g.D;
    for (index_t i = 0, pixels = static_cast<index_t>(level.H) * level.W; i < pixels; ++i) std::fill_n(map + i * pitch, g.D, T(0));
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t q = 0; q < g.Lq; ++q) {
        const index_t i = (n * g.Lq + q) * g.M + m;
        for (index_t s = (i * g.L + l) * g.P, end = s + g.P; s < end; ++s) {
          const auto p = g.point(level, locations.data + 2 * s);
          for (int k = 0; k < 4; ++k)
            if (has_corner(p, k)) detail::add_pixel(dy.data + i * g.D, attention[s] * p.weight(k), g.D, map + p.pixel(k, level.W) * pitch);
        }
      }
    });
  });
}

// cuda/ms_deform_attn.cuh. Of bfloat16 values, locations are float.
template <class T>
void ms_deform_attn(const MsDeformGeometry& g, ConstView<T, Cuda> value, View<const Master<T>, Cuda> locations,
                    ConstView<T, Cuda> attention, View<T, Cuda> y);
template <class T>
void ms_deform_attn_backward_points(const MsDeformGeometry& g, ConstView<T, Cuda> dy, View<const T, Cuda> value,
                                    View<const Master<T>, Cuda> locations, ConstView<T, Cuda> attention, View<Master<T>, Cuda> dlocations,
                                    View<T, Cuda> dattention);
template <class T>
void ms_deform_attn_backward_value(const MsDeformGeometry& g, ConstView<T, Cuda> dy, View<const Master<T>, Cuda> locations,
                                   ConstView<T, Cuda> attention, View<T, Cuda> dvalue);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_MS_DEFORM_ATTN(TEMPLATE, T)                                                                                         \
  TEMPLATE void ms_deform_attn(const MsDeformGeometry&, ConstView<T>, View<const T>, ConstView<T>, View<T>);                               \
  TEMPLATE void ms_deform_attn_backward_points(const MsDeformGeometry&, ConstView<T>, View<const T>, View<const T>, ConstView<T>, View<T>, \
                                               View<T>);                                                                                   \
  TEMPLATE void ms_deform_attn_backward_value(const MsDeformGeometry&, ConstView<T>, View<const T>, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_MS_DEFORM_ATTN)

}  // namespace segnet::kernels
