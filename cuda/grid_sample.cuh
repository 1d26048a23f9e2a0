// Images read at the points of a grid: a thread computes packs of channels, point by point. The gradient to the grid is a sum over
// channels, shared by the threads of a team; the gradient to the image is sorted by pixels (scatter_rows.cuh).
#pragma once

#include "scatter_rows.cuh"
#include "segnet/kernels/grid_sample.hpp"

namespace segnet {

namespace cuda {

template <class T, int V, GridSampleMode mode>
struct GridSample {
  using M = Master<T>;
  kernels::GridGeometry g;
  const T* x;
  const M* grid;
  T* y;

  __device__ void operator()(index_t, index_t n, index_t point, index_t c) const {
    const index_t i = n * g.points + point;
    const kernels::GridPoint<mode, M> p(g, grid + 2 * i);
    const T* const image = x + n * g.pixels() * g.C + c;
    M sum[V] = {};
#pragma unroll
    for (int k = 0; k < kernels::GridPoint<mode, M>::count; ++k) {
      if (!p.reaches) break;
      M value[V];
      load_as<V>(image + p.pixel[k] * g.C, value);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += p.weight[k] * value[j];
    }
    store_as<V>(y + i * g.C + c, sum);
  }
};

/// Where each point sends its gradient.
template <class M, GridSampleMode mode>
struct GridTargets {
  using Point = kernels::GridPoint<mode, M>;
  kernels::GridGeometry g;
  const M* grid;
  std::uint64_t* to;
  M* weight;

  __device__ void operator()(index_t i) const {
    const Point p(g, grid + 2 * i);
    const index_t first = i / g.points * g.pixels(), nowhere = g.N * g.pixels();
    for (int k = 0; k < Point::count; ++k) {
      to[i * Point::count + k] = static_cast<std::uint64_t>(p.reaches ? first + p.pixel[k] : nowhere);
      weight[i * Point::count + k] = p.weight[k];
    }
  }
};

/// `lanes` threads next to each other, a power of two of at most 32, add up a number each; all threads of a warp call it.
template <class M>
__device__ M team_sum(M value, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}
/// Lanes for a sum over n packs.
[[nodiscard]] inline int team_lanes(index_t n) {
  int lanes = 1;
  while (lanes < 32 && lanes < n) lanes *= 2;
  return lanes;
}
/// This thread's part of the sum of a[c] * b[c], c < C.
template <int V, class T>
__device__ Master<T> team_dot(const T* a, const T* b, index_t C, int lane, int lanes) {
  Master<T> sum = 0;
  for (index_t c = static_cast<index_t>(lane) * V; c < C; c += static_cast<index_t>(lanes) * V) {
    Master<T> x[V], y[V];
    load_as<V>(a + c, x);
    load_as<V>(b + c, y);
#pragma unroll
    for (int j = 0; j < V; ++j) sum += x[j] * y[j];
  }
  return sum;
}
/// f(i, lane, lanes) by each thread of the team of i, for i in [0, n) and, so that whole warps call it, for some beyond.
template <class F>
__global__ void __launch_bounds__(256) for_each_team_kernel(F f, index_t n, int lanes) {
  const index_t teams = 256 / lanes, step = static_cast<index_t>(gridDim.x) * teams;
  for (index_t first = static_cast<index_t>(blockIdx.x) * teams; first < n; first += step)
    f(first + static_cast<int>(threadIdx.x) / lanes, static_cast<int>(threadIdx.x) % lanes, lanes);
}
template <class F>
void for_each_team(index_t n, int lanes, const F& f) {
  launch(for_each_team_kernel<F>, grid_for(n, 256 / lanes), 256, 0, f, n, lanes);
}

template <class T, int V, GridSampleMode mode>
struct GridGradient {
  using M = Master<T>;
  kernels::GridGeometry g;
  const T *dy, *x;
  const M* grid;
  M* dgrid;

  __device__ void operator()(index_t i, int lane, int lanes) const {
    const bool mine = i < g.N * g.points;
    M along_x = 0, along_y = 0;
    if (mine) {
      const kernels::GridPoint<mode, M> p(g, grid + 2 * i);
      const T* const image = x + i / g.points * g.pixels() * g.C;
      for (int k = 0; p.reaches && k < p.count; ++k) {
        const M dot = team_dot<V>(dy + i * g.C, image + p.pixel[k] * g.C, g.C, lane, lanes);
        along_x += p.slope_x[k] * dot;
        along_y += p.slope_y[k] * dot;
      }
    }
    along_x = team_sum(along_x, lanes);
    along_y = team_sum(along_y, lanes);
    if (!mine || lane != 0) return;
    dgrid[2 * i] = along_x;
    dgrid[2 * i + 1] = along_y;
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void grid_sample(const GridGeometry& g, ConstView<T, Cuda> x, View<const Master<T>, Cuda> grid, View<T, Cuda> y) {
  if (y.size() == 0) return;
  with_mode(g.mode, [&](auto mode) {
    cuda::with_packs<T>(g.C, {x.data, y.data}, [&](auto V) {
      cuda::for_pixels<V()>(1, g.N, g.points, g.C, cuda::GridSample<T, V(), mode()>{g, x.data, grid.data, y.data});
    });
  });
}

template <class T>
void grid_sample_backward_grid(const GridGeometry& g, ConstView<T, Cuda> dy, View<const T, Cuda> x, View<const Master<T>, Cuda> grid,
                               View<Master<T>, Cuda> dgrid) {
  with_mode(g.mode, [&](auto mode) {
    cuda::with_packs<T>(g.C, {dy.data, x.data}, [&](auto V) {
      cuda::for_each_team(g.N * g.points, cuda::team_lanes(g.C / V()),
                          cuda::GridGradient<T, V(), mode()>{g, dy.data, x.data, grid.data, dgrid.data});
    });
  });
}

template <class T>
void grid_sample_backward_input(const GridGeometry& g, ConstView<T, Cuda> dy, View<const Master<T>, Cuda> grid, View<T, Cuda> dx) {
  using M = Master<T>;
  const index_t points = g.N * g.points;
  with_mode(g.mode, [&](auto mode) {
    constexpr index_t taps = GridPoint<mode(), M>::count;
    const cuda::Scratch<std::uint64_t> to(points * taps);
    const cuda::Scratch<M> weight(points * taps);
    cuda::for_each(points, cuda::GridTargets<M, mode()>{g, grid.data, to.data(), weight.data()});
    cuda::scatter_rows<T>(to.data(), weight.data(), taps, dy.data, points, dx.data, g.N * g.pixels(), g.C);
  });
}

}  // namespace kernels
}  // namespace segnet
