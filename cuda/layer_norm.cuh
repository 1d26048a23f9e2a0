// Layer norm: a row belongs to a team, of the lanes of a warp that its packs keep busy, or for long rows of a block. The row is read from
// memory once and from the L1 cache after that. The sums for weight and bias are taken like those of batch norm, in passes of their own.
#pragma once

#include "channel_tiles.cuh"
#include "segnet/kernels/layer_norm.hpp"

namespace segnet {

namespace cuda {

/// The threads that share a row. Every thread of a block takes part in every sum, whether or not it has a row.
struct RowTeam {
  int size;  ///< a power of two up to 32, or 256: all of the block
  [[nodiscard]] static RowTeam of(index_t packs) {
    if (packs > 32 * 8) return {tile_threads};
    int size = 1;
    while (size < 32 && size < packs) size *= 2;
    return {size};
  }
  [[nodiscard]] unsigned grid(index_t rows) const { return grid_for(rows * size, tile_threads); }
  __device__ index_t row() const { return (static_cast<index_t>(blockIdx.x) * tile_threads + threadIdx.x) / size; }
  __device__ index_t rows_at_once() const { return static_cast<index_t>(gridDim.x) * tile_threads / size; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) % size; }

  template <class M>
  __device__ M sum(M value) const {
    if (size == tile_threads) return block_reduce(value, M(0), Plus{});
    for (int offset = size / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
  }
};

template <int V, class T>
__global__ void __launch_bounds__(tile_threads)
    layer_norm_kernel(RowTeam team, const T* x, index_t rows, index_t n, const Master<T>* weight, const Master<T>* bias, Master<T> eps,
                      Master<T>* statistics, T* y) {
  using M = Master<T>;
  const index_t first = static_cast<index_t>(team.lane()) * V, step = static_cast<index_t>(team.size) * V;
  // Teams that have no row any more stay as long as their neighbours have: the sums need them.
  for (index_t group = blockIdx.x * static_cast<index_t>(tile_threads) / team.size; group < rows; group += team.rows_at_once()) {
    const index_t row = group + static_cast<index_t>(threadIdx.x) / team.size;
    const bool mine = row < rows;
    const T* in = x + row * n;
    M sum = 0, squares = 0;
    if (mine)
      for (index_t i = first; i < n; i += step) {
        M v[V];
        load_as<V>(in + i, v);
#pragma unroll
        for (int k = 0; k < V; ++k) sum += v[k];
      }
    const M mean = team.sum(sum) / static_cast<M>(n);
    if (mine)
      for (index_t i = first; i < n; i += step) {
        M v[V];
        load_as<V>(in + i, v);
#pragma unroll
        for (int k = 0; k < V; ++k) squares += (v[k] - mean) * (v[k] - mean);
      }
    const M rstd = M(1) / sqrt(team.sum(squares) / static_cast<M>(n) + eps);
    if (!mine) continue;
    for (index_t i = first; i < n; i += step) {
      M v[V], w[V], b[V];
      load_as<V>(in + i, v);
      if (weight) load_as<V>(weight + i, w);
      if (bias) load_as<V>(bias + i, b);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        v[k] = (v[k] - mean) * rstd;
        if (weight) v[k] *= w[k];
        if (bias) v[k] += b[k];
      }
      store_as<V>(y + row * n + i, v);
    }
    if (team.lane() == 0) {
      statistics[2 * row] = mean;
      statistics[2 * row + 1] = rstd;
    }
  }
}

template <int V, class T>
__global__ void __launch_bounds__(tile_threads) layer_norm_dx_kernel(RowTeam team, const T* dy, const T* x, index_t rows, index_t n,
                                                                     const Master<T>* statistics, const Master<T>* weight, T* dx) {
  using M = Master<T>;
  const index_t first = static_cast<index_t>(team.lane()) * V, step = static_cast<index_t>(team.size) * V;
  for (index_t group = blockIdx.x * static_cast<index_t>(tile_threads) / team.size; group < rows; group += team.rows_at_once()) {
    const index_t row = group + static_cast<index_t>(threadIdx.x) / team.size;
    const bool mine = row < rows;
    const M mean = mine ? statistics[2 * row] : M(0), rstd = mine ? statistics[2 * row + 1] : M(0);
    const auto load = [&](index_t i, M(&u)[V], M(&xhat)[V]) {
      load_as<V>(dy + row * n + i, u);
      load_as<V>(x + row * n + i, xhat);
      M w[V];
      if (weight) load_as<V>(weight + i, w);
#pragma unroll
      for (int k = 0; k < V; ++k) {
        if (weight) u[k] *= w[k];
        xhat[k] = (xhat[k] - mean) * rstd;
      }
    };
    M u[V], xhat[V], sum = 0, sum_x = 0;
    if (mine)
      for (index_t i = first; i < n; i += step) {
        load(i, u, xhat);
#pragma unroll
        for (int k = 0; k < V; ++k) {
          sum += u[k];
          sum_x += u[k] * xhat[k];
        }
      }
    const M mean_u = team.sum(sum) / static_cast<M>(n), mean_ux = team.sum(sum_x) / static_cast<M>(n);
    if (mine)
      for (index_t i = first; i < n; i += step) {
        load(i, u, xhat);
#pragma unroll
        for (int k = 0; k < V; ++k) u[k] = rstd * (u[k] - mean_u - xhat[k] * mean_ux);
        store_as<V>(dx + row * n + i, u);
      }
  }
}

/// partial[chunk, 0..1, i] = sum of dy * xhat, sum of dy, over the rows of a chunk.
template <int V, class T>
__global__ void __launch_bounds__(tile_threads)
    layer_norm_sums_kernel(RowChunks cut, const T* dy, const T* x, const Master<T>* statistics, Master<T>* partial) {
  using M = Master<T>;
  struct Row {
    Pack<T, V> dy, x;
    M mean, rstd;
  };
  const index_t C = cut.C, c = cut.tile.channel<V>(), start = cut.first(blockIdx.x);
  const int line = cut.tile.line();
  M sums[2 * V] = {};
  if (line < cut.tile.lines && c < C)
    each_row(
        start + line, cut.tile.lines, start + cut.count(blockIdx.x),
        [&](index_t r) {
          return Row{Pack<T, V>::load(dy + r * C + c), Pack<T, V>::load(x + r * C + c), statistics[2 * r], statistics[2 * r + 1]};
        },
        [&](index_t, const Row& row) {
#pragma unroll
          for (int i = 0; i < V; ++i) {
            const M u = static_cast<M>(row.dy.values[i]);
            sums[i] += u * ((static_cast<M>(row.x.values[i]) - row.mean) * row.rstd);
            sums[V + i] += u;
          }
        });
  sum_over_lines(cut.tile, sums);
  if (line > 0 || c >= C) return;
  M* to = partial + static_cast<index_t>(blockIdx.x) * 2 * C + c;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    to[i] = sums[i];
    to[C + i] = sums[V + i];
  }
}

template <class M>
struct LayerNormParameterGradients {
  index_t n;
  const double* totals;
  M *dweight, *dbias;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    if (dweight) dweight[i] = static_cast<M>(totals[i]);
    if (dbias) dbias[i] = static_cast<M>(totals[n + i]);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void layer_norm(ConstView<T, Cuda> x, index_t n, ConstView<Master<T>, Cuda> weight, ConstView<Master<T>, Cuda> bias, double eps,
                View<Master<T>, Cuda> statistics, View<T, Cuda> y) {
  const index_t rows = statistics.size() / 2;
  cuda::with_packs<T>(n, {x.data, weight.data, bias.data, y.data}, [&](auto V) {
    const auto team = cuda::RowTeam::of(n / V());
    cuda::launch(cuda::layer_norm_kernel<V(), T>, team.grid(rows), cuda::tile_threads, 0, team, x.data, rows, n, weight.data, bias.data,
                 static_cast<Master<T>>(eps), statistics.data, y.data);
  });
}

template <class T>
void layer_norm_backward(ConstView<T, Cuda> dy, ConstView<T, Cuda> x, index_t n, ConstView<Master<T>, Cuda> statistics,
                         ConstView<Master<T>, Cuda> weight, View<T, Cuda> dx, View<Master<T>, Cuda> dweight, View<Master<T>, Cuda> dbias) {
  const index_t rows = statistics.size() / 2;
  cuda::with_packs<T>(n, {dy.data, x.data, weight.data, dx.data}, [&](auto V) {
    if (dx) {
      const auto team = cuda::RowTeam::of(n / V());
      cuda::launch(cuda::layer_norm_dx_kernel<V(), T>, team.grid(rows), cuda::tile_threads, 0, team, dy.data, x.data, rows, n,
                   statistics.data, weight.data, dx.data);
    }
    if (!dweight && !dbias) return;
    const cuda::RowChunks cut(1, rows, n, V(), 4);
    const cuda::Scratch<Master<T>> partial(cut.blocks * 2 * n);
    const cuda::Scratch<double> totals(2 * n);
    cuda::launch(cuda::layer_norm_sums_kernel<V(), T>, cut.grid(), cuda::tile_threads, 0, cut, dy.data, x.data, statistics.data,
                 partial.data());
    cuda::add_chunks(1, cut.chunks, 2 * n, partial.data(), totals.data());
    cuda::for_each(n, cuda::LayerNormParameterGradients<Master<T>>{n, totals.data(), dweight.data, dbias.data});
  });
}

}  // namespace kernels
}  // namespace segnet
