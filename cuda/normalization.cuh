// Batch, group and instance norm. The passes are those of kernels/normalization.hpp: forward 2 reads and a write, backward 4 reads and a
// write, with small kernels in between that never wait for the host.
//
// One read of x suffices for its moments: sums of deviations from a centre near the mean and of their squares, in each chunk of rows
// around its own centre, the mean of four of its rows. The chunks are joined around the common mean, in double. What a centre of k
// standard deviations away costs, (1 + k^2) roundings, is nothing for four rows out of the data themselves.
//
// The second pass runs through the blocks from the last one on: what the first pass read last is still in the L2 cache.
#pragma once

#include "channel_tiles.cuh"
#include "segnet/kernels/normalization.hpp"

namespace segnet {

namespace cuda {

/// Blocks on each multiprocessor of a pass that leaves sums (few, so that they are few) and of one that does not.
inline constexpr int blocks_for_sums = 4, blocks_for_map = 8;

/// partial[chunk, 0..2, c] = centre, sum of deviations from it, sum of their squares.
template <int V, class T>
__global__ void __launch_bounds__(tile_threads) channel_moments_kernel(RowChunks cut, const T* x, Master<T>* partial) {
  using M = Master<T>;
  const index_t C = cut.C, c = cut.tile.channel<V>(), count = cut.count(blockIdx.x);
  const int line = cut.tile.line();
  const T* in = x + (cut.set(blockIdx.x) * cut.P + cut.first(blockIdx.x)) * C + c;
  M centre[V] = {}, sums[2 * V] = {};
  if (line < cut.tile.lines && c < C) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      M row[V];
      load_as<V>(in + k * count / 4 * C, row);
#pragma unroll
      for (int i = 0; i < V; ++i) centre[i] += row[i] / 4;
    }
    each_row(
        line, cut.tile.lines, count, [&](index_t r) { return Pack<T, V>::load(in + r * C); },
        [&](index_t, const Pack<T, V>& row) {
#pragma unroll
          for (int i = 0; i < V; ++i) {
            const M d = static_cast<M>(row.values[i]) - centre[i];
            sums[i] += d;
            sums[V + i] += d * d;
          }
        });
  }
  sum_over_lines(cut.tile, sums);
  if (line > 0 || c >= C) return;
  M* to = partial + static_cast<index_t>(blockIdx.x) * 3 * C + c;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    to[i] = centre[i];
    to[C + i] = sums[i];
    to[2 * C + i] = sums[V + i];
  }
}

/// The chunks of a set around their common mean, by 32 x 32 threads for 32 channels, a thread every 32nd chunk.
template <class M>
__global__ void __launch_bounds__(1024) join_moments_kernel(RowChunks cut, const M* partial, double* moments) {
  __shared__ double shared[32][33];
  __shared__ double means[32];
  const int x = static_cast<int>(threadIdx.x), lane = static_cast<int>(threadIdx.y);
  const index_t C = cut.C, blocks = (C + 31) / 32, s = blockIdx.x / blocks, c0 = blockIdx.x % blocks * 32, c = c0 + x;
  const auto each_chunk = [&](const auto& f) {  // f(rows, mean, squared deviations)
    if (c < C)
#pragma unroll 4
      for (index_t chunk = lane; chunk < cut.chunks; chunk += 32) {
        const M* from = partial + (s * cut.chunks + chunk) * 3 * C + c;
        const index_t left_over = cut.P - chunk * cut.rows;
        const double rows = static_cast<double>(left_over < cut.rows ? left_over : cut.rows);
        const double left = static_cast<double>(from[C]) / rows;
        f(rows, static_cast<double>(from[0]) + left, static_cast<double>(from[2 * C]) - rows * left * left);
      }
  };
  const auto joined = [&](double value) {  // over the lanes; of channel c0 + lane, in every thread of a warp
    __syncthreads();
    shared[lane][x] = value;
    __syncthreads();
    return warp_reduce(shared[x][lane], Plus{});
  };
  double sum = 0, squares = 0;
  each_chunk([&](double rows, double mean, double) { sum += rows * mean; });
  const double mean = joined(sum) / static_cast<double>(cut.P > 1 ? cut.P : 1);
  if (x == 0) means[lane] = mean;
  __syncthreads();
  const double common = means[x];
  each_chunk([&](double rows, double m, double q) { squares += q + rows * (m - common) * (m - common); });
  const double square = joined(squares);
  if (x == 0 && c0 + lane < C) {
    moments[s * 2 * C + c0 + lane] = mean;
    moments[(s * 2 + 1) * C + c0 + lane] = square;
  }
}

/// A warp for each set and group.
template <class M>
__global__ void __launch_bounds__(256) norm_coefficients_kernel(kernels::NormGeometry g, const double* moments, index_t groups,
                                                                const M* weight, const M* bias, double eps, M* coefficients) {
  const index_t group = (static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (group >= g.S * groups) return;
  const index_t C = g.C, size = C / groups, s = group / groups, c0 = group % groups * size;
  const double *means = moments + s * 2 * C + c0, *squares = means + C;
  double mean = 0, square = 0;
  for (index_t c = lane; c < size; c += 32) mean += means[c] / static_cast<double>(size);
  mean = warp_reduce(mean, Plus{});
  for (index_t c = lane; c < size; c += 32) square += squares[c] + (means[c] - mean) * (means[c] - mean) * static_cast<double>(g.P);
  const index_t n = g.P * size;
  const double variance = warp_reduce(square, Plus{}) / static_cast<double>(n > 1 ? n : 1);
  for (index_t c = c0 + lane; c < c0 + size; c += 32)
    kernels::detail::put_norm_coefficients(mean, variance, eps, weight, bias, c, C, coefficients + s * kernels::norm_rows * C);
}

template <class M>
struct GivenNormCoefficients {
  index_t C;
  const M *mean, *variance, *weight, *bias;
  double eps;
  M* coefficients;
  SEGNET_HOST_DEVICE void operator()(index_t c) const {
    kernels::detail::put_norm_coefficients(static_cast<double>(mean[c]), static_cast<double>(variance[c]), eps, weight, bias, c, C,
                                           coefficients);
  }
};

template <class M>
struct UpdateRunningStatistics {
  kernels::NormGeometry g;
  const double* moments;
  double momentum;
  M *running_mean, *running_var;
  SEGNET_HOST_DEVICE void operator()(index_t c) const {
    double mean = 0, variance = 0;
    for (index_t s = 0; s < g.S; ++s) {
      mean += moments[s * 2 * g.C + c] / static_cast<double>(g.S);
      variance += moments[(s * 2 + 1) * g.C + c] / static_cast<double>(g.S * (g.P - 1));
    }
    running_mean[c] = static_cast<M>((1 - momentum) * static_cast<double>(running_mean[c]) + momentum * mean);
    running_var[c] = static_cast<M>((1 - momentum) * static_cast<double>(running_var[c]) + momentum * variance);
  }
};

/// What a thread keeps of the coefficients of its channels; `active` says, always in the same way, where a ReLU lets through.
template <int V, class M>
struct ChannelNorm {
  M centre[V], factor[V], offset[V];
  __device__ ChannelNorm(const M* coefficients, index_t C) {
    load_as<V>(coefficients + kernels::norm_centre * C, centre);
    load_as<V>(coefficients + kernels::norm_factor * C, factor);
    load_as<V>(coefficients + kernels::norm_offset * C, offset);
  }
  __device__ M operator()(int i, M deviation) const { return fma(deviation, factor[i], offset[i]); }
  __device__ bool active(int i, M deviation) const { return (*this)(i, deviation) > 0; }
};

template <int V, bool relu, class T>
__global__ void __launch_bounds__(tile_threads) normalize_channels_kernel(RowChunks cut, const T* x, const Master<T>* coefficients, T* y) {
  using M = Master<T>;
  const index_t C = cut.C, c = cut.tile.channel<V>(), block = gridDim.x - 1 - blockIdx.x, s = cut.set(block);
  if (cut.tile.line() >= cut.tile.lines || c >= C) return;
  const ChannelNorm<V, M> norm(coefficients + s * kernels::norm_rows * C + c, C);
  const index_t start = (s * cut.P + cut.first(block)) * C + c;
  each_row(
      cut.tile.line(), cut.tile.lines, cut.count(block), [&](index_t r) { return Pack<T, V>::load(x + start + r * C); },
      [&](index_t r, const Pack<T, V>& row) {
        M out[V];
#pragma unroll
        for (int i = 0; i < V; ++i) {
          out[i] = norm(i, static_cast<M>(row.values[i]) - norm.centre[i]);
          if (relu && out[i] <= 0) out[i] = 0;
        }
        store_as<V>(y + start + r * C, out);
      });
}

template <class T, int V>
struct PackPair {
  Pack<T, V> dy, x;
};

/// partial[chunk, 0..1, c] = sum of dy, sum of dy * (x - centre).
template <int V, bool relu, class T>
__global__ void __launch_bounds__(tile_threads)
    channel_gradient_sums_kernel(RowChunks cut, const T* dy, const T* x, const Master<T>* coefficients, Master<T>* partial) {
  using M = Master<T>;
  const index_t C = cut.C, c = cut.tile.channel<V>(), s = cut.set(blockIdx.x);
  const int line = cut.tile.line();
  M sums[2 * V] = {};
  if (line < cut.tile.lines && c < C) {
    const ChannelNorm<V, M> norm(coefficients + s * kernels::norm_rows * C + c, C);
    const index_t start = (s * cut.P + cut.first(blockIdx.x)) * C + c;
    each_row(
        line, cut.tile.lines, cut.count(blockIdx.x),
        [&](index_t r) { return PackPair<T, V>{Pack<T, V>::load(dy + start + r * C), Pack<T, V>::load(x + start + r * C)}; },
        [&](index_t, const PackPair<T, V>& row) {
#pragma unroll
          for (int i = 0; i < V; ++i) {
            const M d = static_cast<M>(row.x.values[i]) - norm.centre[i];
            M u = static_cast<M>(row.dy.values[i]);
            if (relu && !norm.active(i, d)) u = 0;
            sums[i] += u;
            sums[V + i] += u * d;
          }
        });
  }
  sum_over_lines(cut.tile, sums);
  if (line > 0 || c >= C) return;
  M* to = partial + static_cast<index_t>(blockIdx.x) * 2 * C + c;
#pragma unroll
  for (int i = 0; i < V; ++i) {
    to[i] = sums[i];
    to[C + i] = sums[V + i];
  }
}

/// Gradients of weight and bias at channel c, as kernels::norm_backward_coefficients has them.
template <class M>
struct NormParameterGradients {
  kernels::NormGeometry g;
  const double* sums;
  const M* coefficients;
  M *dweight, *dbias;
  SEGNET_HOST_DEVICE void operator()(index_t c) const {
    double dw = 0, db = 0;
    for (index_t s = 0; s < g.S; ++s) {
      const M* row = coefficients + s * kernels::norm_rows * g.C + c;
      const double sum = sums[s * 2 * g.C + c];
      db += sum;
      dw += (sums[(s * 2 + 1) * g.C + c] + static_cast<double>(row[kernels::norm_rest * g.C]) * sum) *
            static_cast<double>(row[kernels::norm_rstd * g.C]);
    }
    if (dweight) dweight[c] = static_cast<M>(dw);
    if (dbias) dbias[c] = static_cast<M>(db);
  }
};

/// The rows a, b, k of dx, as kernels::norm_backward_coefficients has them. A warp for each set and group.
template <class M>
__global__ void __launch_bounds__(256) norm_dx_coefficients_kernel(kernels::NormGeometry g, const double* sums, const M* coefficients,
                                                                   index_t groups, const M* weight, M* dx_coefficients) {
  const index_t group = (static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (group >= g.S * groups) return;
  const index_t C = g.C, size = C / groups, s = group / groups, c0 = group % groups * size;
  const M *rows = coefficients + s * kernels::norm_rows * C, *rest = rows + kernels::norm_rest * C;
  double u = 0, u_x = 0;
  for (index_t c = c0 + lane; c < c0 + size; c += 32) {
    const double w = weight ? static_cast<double>(weight[c]) : 1, sum = sums[s * 2 * C + c];
    u += w * sum;
    u_x += w * (sums[(s * 2 + 1) * C + c] + static_cast<double>(rest[c]) * sum);
  }
  u = warp_reduce(u, Plus{});
  u_x = warp_reduce(u_x, Plus{});
  const double n = static_cast<double>(g.P * size > 1 ? g.P * size : 1), rstd = static_cast<double>(rows[kernels::norm_rstd * C + c0]);
  const double slope = -rstd * rstd * rstd * u_x / n;
  M *a = dx_coefficients + s * 3 * C, *b = a + C, *k = b + C;
  for (index_t c = c0 + lane; c < c0 + size; c += 32) {
    a[c] = rows[kernels::norm_factor * C + c];
    b[c] = static_cast<M>(slope);
    k[c] = static_cast<M>(slope * static_cast<double>(rest[c]) - rstd * u / n);
  }
}

/// `constant`: the statistics were given, dx = factor * dy.
template <int V, bool relu, bool constant, class T>
__global__ void __launch_bounds__(tile_threads)
    normalize_channels_backward_kernel(RowChunks cut, const T* dy, const T* x, const Master<T>* coefficients,
                                       const Master<T>* dx_coefficients, T* dx) {
  using M = Master<T>;
  const index_t C = cut.C, c = cut.tile.channel<V>(), block = gridDim.x - 1 - blockIdx.x, s = cut.set(block);
  if (cut.tile.line() >= cut.tile.lines || c >= C) return;
  const ChannelNorm<V, M> norm(coefficients + s * kernels::norm_rows * C + c, C);
  M b[V] = {}, k[V] = {};  // a is norm.factor
  if constexpr (!constant) {
    load_as<V>(dx_coefficients + (s * 3 + 1) * C + c, b);
    load_as<V>(dx_coefficients + (s * 3 + 2) * C + c, k);
  }
  const index_t start = (s * cut.P + cut.first(block)) * C + c;
  each_row(
      cut.tile.line(), cut.tile.lines, cut.count(block),
      [&](index_t r) {
        PackPair<T, V> row{Pack<T, V>::load(dy + start + r * C), {}};
        if constexpr (relu || !constant) row.x = Pack<T, V>::load(x + start + r * C);
        return row;
      },
      [&](index_t r, const PackPair<T, V>& row) {
        M out[V];
#pragma unroll
        for (int i = 0; i < V; ++i) {
          M u = static_cast<M>(row.dy.values[i]), d = 0;
          if constexpr (relu || !constant) d = static_cast<M>(row.x.values[i]) - norm.centre[i];
          if (relu && !norm.active(i, d)) u = 0;
          out[i] = constant ? norm.factor[i] * u : norm.factor[i] * u + (b[i] * d + k[i]);
        }
        store_as<V>(dx + start + r * C, out);
      });
}

}  // namespace cuda

namespace kernels {

template <class T>
void channel_moments(const NormGeometry& g, ConstView<T, Cuda> x, View<double, Cuda> moments) {
  cuda::with_packs<T>(g.C, {x.data}, [&](auto V) {
    const cuda::RowChunks cut(g.S, g.P, g.C, V(), cuda::blocks_for_sums);
    const cuda::Scratch<Master<T>> partial(cut.blocks * 3 * g.C);
    cuda::launch(cuda::channel_moments_kernel<V(), T>, cut.grid(), cuda::tile_threads, 0, cut, x.data, partial.data());
    cuda::launch(cuda::join_moments_kernel<Master<T>>, static_cast<unsigned>(g.S * ((g.C + 31) / 32)), dim3(32, 32), 0, cut, partial.data(),
                 moments.data);
  });
}

template <class T>
void norm_coefficients(const NormGeometry& g, View<const double, Cuda> moments, index_t groups, ConstView<T, Cuda> weight,
                       ConstView<T, Cuda> bias, double eps, View<T, Cuda> coefficients) {
  cuda::launch(cuda::norm_coefficients_kernel<T>, static_cast<unsigned>((g.S * groups + 7) / 8), 256, 0, g, moments.data, groups,
               weight.data, bias.data, eps, coefficients.data);
}

template <class T>
void norm_coefficients(ConstView<T, Cuda> mean, ConstView<T, Cuda> variance, ConstView<T, Cuda> weight, ConstView<T, Cuda> bias, double eps,
                       View<T, Cuda> coefficients) {
  cuda::for_each(mean.size(),
                 cuda::GivenNormCoefficients<T>{mean.size(), mean.data, variance.data, weight.data, bias.data, eps, coefficients.data});
}

template <class T>
void update_running_statistics(const NormGeometry& g, View<const double, Cuda> moments, double momentum, View<T, Cuda> running_mean,
                               View<T, Cuda> running_var) {
  cuda::for_each(g.C, cuda::UpdateRunningStatistics<T>{g, moments.data, momentum, running_mean.data, running_var.data});
}

template <class T>
void normalize_channels(const NormGeometry& g, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> coefficients, bool relu, View<T, Cuda> y) {
  cuda::with_packs<T>(g.C, {x.data, coefficients.data, y.data}, [&](auto V) {
    const cuda::RowChunks cut(g.S, g.P, g.C, V(), cuda::blocks_for_map);
    cuda::launch(relu ? cuda::normalize_channels_kernel<V(), true, T> : cuda::normalize_channels_kernel<V(), false, T>, cut.grid(),
                 cuda::tile_threads, 0, cut, x.data, coefficients.data, y.data);
  });
}

template <class T>
void channel_gradient_sums(const NormGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> coefficients,
                           bool relu, View<double, Cuda> sums) {
  cuda::with_packs<T>(g.C, {dy.data, x.data, coefficients.data}, [&](auto V) {
    const cuda::RowChunks cut(g.S, g.P, g.C, V(), cuda::blocks_for_sums);
    const cuda::Scratch<Master<T>> partial(cut.blocks * 2 * g.C);
    cuda::launch(relu ? cuda::channel_gradient_sums_kernel<V(), true, T> : cuda::channel_gradient_sums_kernel<V(), false, T>, cut.grid(),
                 cuda::tile_threads, 0, cut, dy.data, x.data, coefficients.data, partial.data());
    cuda::add_chunks(g.S, cut.chunks, 2 * g.C, partial.data(), sums.data);
  });
}

template <class T>
void norm_backward_coefficients(const NormGeometry& g, View<const double, Cuda> sums, ConstView<T, Cuda> coefficients, index_t groups,
                                ConstView<T, Cuda> weight, View<T, Cuda> dweight, View<T, Cuda> dbias, View<T, Cuda> dx_coefficients) {
  if (dweight || dbias) cuda::for_each(g.C, cuda::NormParameterGradients<T>{g, sums.data, coefficients.data, dweight.data, dbias.data});
  if (dx_coefficients)
    cuda::launch(cuda::norm_dx_coefficients_kernel<T>, static_cast<unsigned>((g.S * groups + 7) / 8), 256, 0, g, sums.data,
                 coefficients.data, groups, weight.data, dx_coefficients.data);
}

template <class T>
void normalize_channels_backward(const NormGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x,
                                 ConstView<Master<T>, Cuda> coefficients, ConstView<Master<T>, Cuda> dx_coefficients, bool relu,
                                 View<T, Cuda> dx) {
  cuda::with_packs<T>(g.C, {dy.data, x.data, coefficients.data, dx_coefficients.data, dx.data}, [&](auto V) {
    const cuda::RowChunks cut(g.S, g.P, g.C, V(), cuda::blocks_for_map);
    const auto kernel = relu ? (dx_coefficients ? cuda::normalize_channels_backward_kernel<V(), true, false, T>
                                                : cuda::normalize_channels_backward_kernel<V(), true, true, T>)
                             : (dx_coefficients ? cuda::normalize_channels_backward_kernel<V(), false, false, T>
                                                : cuda::normalize_channels_backward_kernel<V(), false, true, T>);
    cuda::launch(kernel, cut.grid(), cuda::tile_threads, 0, cut, dy.data, x.data, coefficients.data, dx_coefficients.data, dx.data);
  });
}

}  // namespace kernels
}  // namespace segnet
