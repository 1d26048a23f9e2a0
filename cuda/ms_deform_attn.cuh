// Multi-scale deformable attention: a thread computes packs of channels of one head of a query. The gradients to points are sums over
// channels, shared by the threads of a team; the gradient to the values is sorted by pixels (scatter_rows.cuh).
#pragma once

#include "grid_sample.cuh"
#include "segnet/kernels/ms_deform_attn.hpp"

namespace segnet {

namespace cuda {

template <class T, int V>
struct MsDeformAttn {
  using M = Master<T>;
  kernels::MsDeformGeometry g;
  const T* value;
  const M* locations;
  const T* attention;
  T* y;

  __device__ void operator()(index_t, index_t n, index_t row, index_t c) const {  // row: query and head
    const index_t i = n * g.Lq * g.M + row, pitch = g.M * g.D;
    const T* const from = value + (n * g.S * g.M + row % g.M) * g.D + c;
    M sum[V] = {};
    index_t s = i * g.L * g.P;
    for (index_t l = 0; l < g.L; ++l) {
      const auto& level = g.levels[l];
      for (index_t end = s + g.P; s < end; ++s) {
        const auto p = g.point(level, locations + 2 * s);
        const M a = static_cast<M>(attention[s]);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (!kernels::has_corner(p, k)) continue;
          const M w = a * p.weight(k);
          M v[V];
          load_as<V>(from + (level.first + p.pixel(k, level.W)) * pitch, v);
#pragma unroll
          for (int j = 0; j < V; ++j) sum[j] += w * v[j];
        }
      }
    }
    store_as<V>(y + i * g.D + c, sum);
  }
};

template <class T, int V>
struct MsDeformPoints {
  using M = Master<T>;
  kernels::MsDeformGeometry g;
  const T *dy, *value;
  const M* locations;
  const T* attention;
  M* dlocations;
  T* dattention;

  __device__ void operator()(index_t s, int lane, int lanes) const {
    const bool mine = s < g.samples();
    const index_t samples = g.L * g.P;
    M sampled = 0, along_x = 0, along_y = 0;
    if (mine) {
      const index_t i = s / samples, m = i % g.M, n = i / (g.M * g.Lq);
      const auto& level = g.levels[s % samples / g.P];
      const auto p = g.point(level, locations + 2 * s);
      for (int k = 0; k < 4; ++k) {
        if (!kernels::has_corner(p, k)) continue;
        const T* corner = value + ((n * g.S + level.first + p.pixel(k, level.W)) * g.M + m) * g.D;
        const M dot = team_dot<V>(dy + i * g.D, corner, g.D, lane, lanes);
        sampled += p.weight(k) * dot;
        along_x += p.slope_x(k) * dot;
        along_y += p.slope_y(k) * dot;
      }
      const M a = static_cast<M>(attention[s]);
      along_x *= a * static_cast<M>(level.W);
      along_y *= a * static_cast<M>(level.H);
    }
    sampled = team_sum(sampled, lanes);
    along_x = team_sum(along_x, lanes);
    along_y = team_sum(along_y, lanes);
    if (!mine || lane != 0) return;
    dattention[s] = static_cast<T>(sampled);
    dlocations[2 * s] = along_x;
    dlocations[2 * s + 1] = along_y;
  }
};

/// Where each sample sends its gradient: rows of D channels, a pixel's head each.
template <class T>
struct MsDeformTargets {
  using M = Master<T>;
  kernels::MsDeformGeometry g;
  const M* locations;
  const T* attention;
  std::uint64_t* to;
  M* weight;

  __device__ void operator()(index_t s) const {
    const index_t samples = g.L * g.P, i = s / samples, m = i % g.M, n = i / (g.M * g.Lq);
    const auto& level = g.levels[s % samples / g.P];
    const auto p = g.point(level, locations + 2 * s);
    for (int k = 0; k < 4; ++k) {
      const bool sent = kernels::has_corner(p, k);
      const index_t row = sent ? (n * g.S + level.first + p.pixel(k, level.W)) * g.M + m : g.N * g.S * g.M;
      to[4 * s + k] = static_cast<std::uint64_t>(row);
      weight[4 * s + k] = sent ? static_cast<M>(attention[s]) * p.weight(k) : M(0);
    }
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void ms_deform_attn(const MsDeformGeometry& g, ConstView<T, Cuda> value, View<const Master<T>, Cuda> locations,
                    ConstView<T, Cuda> attention, View<T, Cuda> y) {
  if (y.size() == 0) return;
  cuda::with_packs<T>(g.D, {value.data, y.data}, [&](auto V) {
    cuda::for_pixels<V()>(1, g.N, g.Lq * g.M, g.D, cuda::MsDeformAttn<T, V()>{g, value.data, locations.data, attention.data, y.data});
  });
}

template <class T>
void ms_deform_attn_backward_points(const MsDeformGeometry& g, ConstView<T, Cuda> dy, View<const T, Cuda> value,
                                    View<const Master<T>, Cuda> locations, ConstView<T, Cuda> attention, View<Master<T>, Cuda> dlocations,
                                    View<T, Cuda> dattention) {
  cuda::with_packs<T>(g.D, {dy.data, value.data}, [&](auto V) {
    cuda::for_each_team(
        g.samples(), cuda::team_lanes(g.D / V()),
        cuda::MsDeformPoints<T, V()>{g, dy.data, value.data, locations.data, attention.data, dlocations.data, dattention.data});
  });
}

template <class T>
void ms_deform_attn_backward_value(const MsDeformGeometry& g, ConstView<T, Cuda> dy, View<const Master<T>, Cuda> locations,
                                   ConstView<T, Cuda> attention, View<T, Cuda> dvalue) {
  const index_t taps = 4 * g.L * g.P;
  const cuda::Scratch<std::uint64_t> to(4 * g.samples());
  const cuda::Scratch<Master<T>> weight(4 * g.samples());
  cuda::for_each(g.samples(), cuda::MsDeformTargets<T>{g, locations.data, attention.data, to.data(), weight.data()});
  cuda::scatter_rows<T>(to.data(), weight.data(), taps, dy.data, g.N * g.Lq * g.M, dvalue.data, g.N * g.S * g.M, g.D);
}

}  // namespace kernels
}  // namespace segnet
