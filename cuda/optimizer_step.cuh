// The updates of the optimisers, clipping and moving averages: one kernel for a list of tensors, whose table travels with the kernel's
// arguments. Nothing has to be copied to the GPU first, or kept there.
#pragma once

#include <algorithm>

#include "loss_sum.cuh"
#include "segnet/kernels/optimizer_step.hpp"

namespace segnet {

namespace cuda {

/// Groups of n tensors that are updated together. A kernel's arguments have 4 KiB.
template <class T, int n>
struct TensorTable {
  static constexpr int most = 3600 / (8 * n + 13);
  static constexpr index_t chunk = 256 * 4 * Pack<T>::size;  ///< elements per block
  T* at[n][most];
  index_t size[most];
  unsigned first_block[most + 1];
  bool packs[most];
  int count;
};

/// f(x, total) for the elements x[0 ... n) of every group; those whose bit is set in F::writes are stored. What f adds up in its block
/// goes to partial[block], unless that is null.
template <class T, int n, class F>
__global__ void __launch_bounds__(256) for_each_tensor_kernel(const __grid_constant__ TensorTable<T, n> table, F f, double* partial) {
  int j = 0;
  for (int end = table.count; end - j > 1;) {
    const int middle = (j + end) / 2;
    if (table.first_block[middle] <= blockIdx.x) j = middle;
    else end = middle;
  }
  T* at[n];
#pragma unroll
  for (int k = 0; k < n; ++k) at[k] = table.at[k][j];
  constexpr int P = Pack<T>::size;
  const index_t begin = (blockIdx.x - table.first_block[j]) * table.chunk, size = table.size[j];
  const index_t end = begin + table.chunk < size ? begin + table.chunk : size;
  const index_t packed = table.packs[j] ? begin + (end - begin) / P * P : begin;
  double total = 0;
  for (index_t i = begin + static_cast<int>(threadIdx.x) * P; i < packed; i += 256 * P) {
    Pack<T> v[n];
#pragma unroll
    for (int k = 0; k < n; ++k) v[k] = Pack<T>::load(at[k] + i);
#pragma unroll
    for (int e = 0; e < P; ++e) {
      T x[n];
#pragma unroll
      for (int k = 0; k < n; ++k) x[k] = v[k].values[e];
      f(x, total);
#pragma unroll
      for (int k = 0; k < n; ++k) v[k].values[e] = x[k];
    }
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (F::writes >> k & 1) v[k].store(at[k] + i);
  }
  for (index_t i = packed + threadIdx.x; i < end; i += 256) {
    T x[n];
#pragma unroll
    for (int k = 0; k < n; ++k) x[k] = at[k][i];
    f(x, total);
#pragma unroll
    for (int k = 0; k < n; ++k)
      if (F::writes >> k & 1) at[k][i] = x[k];
  }
  if (partial) {
    total = block_reduce(total, 0.0, Plus{});
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
  }
}

/// Blocks of all groups together.
template <class T, int n, std::size_t all>
index_t blocks_of(const kernels::Batch<T, Cuda, all>& batch) {
  index_t blocks = 0;
  for (const auto& group : batch) blocks += (group.size + TensorTable<T, n>::chunk - 1) / TensorTable<T, n>::chunk;
  return blocks;
}
/// f over the tensors number which[0], which[1], ... of every group.
template <int n, class T, std::size_t all, class F>
void for_each_tensor(const kernels::Batch<T, Cuda, all>& batch, const int (&which)[n], const F& f, double* partial = nullptr) {
  TensorTable<T, n> table;
  table.count = 0;
  index_t blocks = 0;
  const auto run = [&] {
    launch(for_each_tensor_kernel<T, n, F>, static_cast<unsigned>(blocks), 256, 0, table, f, partial);
    if (partial) partial += blocks;
    table.count = 0;
    blocks = 0;
  };
  for (const auto& group : batch) {
    if (group.size == 0) continue;
    const index_t more = (group.size + table.chunk - 1) / table.chunk;
    if (table.count == table.most || blocks + more > index_t{1} << 30) run();
    const int j = table.count++;
    table.size[j] = group.size;
    table.first_block[j] = static_cast<unsigned>(blocks);
    table.packs[j] = true;
    for (int k = 0; k < n; ++k) {
      table.at[k][j] = group.at[static_cast<std::size_t>(which[k])];
      table.packs[j] &= aligned16(table.at[k][j]);
    }
    blocks += more;
  }
  run();
}

// Elements in the order of `which` below: p, g, state.
template <class T>
struct SgdPlain {
  static constexpr unsigned writes = 0b01;
  kernels::SgdStep<T> s;
  __device__ void operator()(T (&x)[2], double&) const { s.plain(x[0], x[1]); }
};
template <class T>
struct SgdMomentum {
  static constexpr unsigned writes = 0b101;
  kernels::SgdStep<T> s;
  __device__ void operator()(T (&x)[3], double&) const {
    if (s.nesterov) s.look_ahead(x[0], x[1], x[2]);
    else s.heavy_ball(x[0], x[1], x[2]);
  }
};
template <class T>
struct AdamPlain {
  static constexpr unsigned writes = 0b1101;
  kernels::AdamStep<T> s;
  __device__ void operator()(T (&x)[4], double&) const { s.plain(x[0], x[1], x[2], x[3]); }
};
template <class T>
struct AdamAmsgrad {
  static constexpr unsigned writes = 0b11101;
  kernels::AdamStep<T> s;
  __device__ void operator()(T (&x)[5], double&) const { s.amsgrad(x[0], x[1], x[2], x[3], x[4]); }
};
template <class T, bool centered, bool momentum>
struct RmspropUpdate {
  static constexpr int size = 3 + centered + momentum;
  static constexpr unsigned writes = (1u << size) - 1 - 2;  // all but g
  kernels::RmspropStep<T> s;
  __device__ void operator()(T (&x)[size], double&) const {
    const auto u = [&] {
      if constexpr (centered) return s.centered(x[0], x[1], x[2], x[3]);
      else return s.plain(x[0], x[1], x[2]);
    };
    if constexpr (momentum) s.apply(x[0], u, x[size - 1]);
    else s.apply(x[0], u);
  }
};

template <class T>
struct AddSquare {
  static constexpr unsigned writes = 0;
  __device__ void operator()(T (&x)[1], double& total) const { total += static_cast<double>(x[0]) * static_cast<double>(x[0]); }
};
template <class T>
struct ScaleGradient {
  static constexpr unsigned writes = 0b01;
  const double* norm;
  __device__ void operator()(T (&x)[2], double&) const { x[0] = x[1] * static_cast<T>(norm[1]); }
};
template <class T>
struct LimitGradient {
  static constexpr unsigned writes = 0b01;
  T limit;
  __device__ void operator()(T (&x)[2], double&) const { x[0] = kernels::limited(x[1], limit); }
};
template <class T>
struct UpdateAverage {
  static constexpr unsigned writes = 0b01;
  T keep;
  __device__ void operator()(T (&x)[2], double&) const { x[0] = x[1] + keep * (x[0] - x[1]); }
};
template <class T>
struct SwapElements {
  static constexpr unsigned writes = 0b11;
  __device__ void operator()(T (&x)[2], double&) const {
    const T first = x[0];
    x[0] = x[1];
    x[1] = first;
  }
};

template <int threads>
__global__ void __launch_bounds__(threads) join_norm_kernel(const double* partial, index_t n, double max_norm, double* result) {
  double sum = 0;
  for (index_t i = threadIdx.x; i < n; i += threads) sum += partial[i];
  sum = block_reduce(sum, 0.0, Plus{});
  if (threadIdx.x != 0) return;
  result[0] = sqrt(sum);
  result[1] = kernels::clip_factor(result[0], max_norm);
}

}  // namespace cuda

namespace kernels {

namespace detail {
/// Whether the updates have a tensor number k. (One without elements may have no memory.)
template <class T>
[[nodiscard]] bool have(const Updates<T, Cuda>& updates, std::size_t k) {
  return std::any_of(updates.begin(), updates.end(), [=](const auto& update) { return update.at[k] != nullptr; });
}
}  // namespace detail

template <class T>
void sgd_step(const SgdStep<T>& s, const Updates<T, Cuda>& updates) {
  if (detail::have(updates, 2)) cuda::for_each_tensor(updates, {0, 1, 2}, cuda::SgdMomentum<T>{s});
  else cuda::for_each_tensor(updates, {0, 1}, cuda::SgdPlain<T>{s});
}
template <class T>
void adam_step(const AdamStep<T>& s, const Updates<T, Cuda>& updates) {
  if (detail::have(updates, 4)) cuda::for_each_tensor(updates, {0, 1, 2, 3, 4}, cuda::AdamAmsgrad<T>{s});
  else cuda::for_each_tensor(updates, {0, 1, 2, 3}, cuda::AdamPlain<T>{s});
}
template <class T>
void rmsprop_step(const RmspropStep<T>& s, const Updates<T, Cuda>& updates) {
  const bool centered = detail::have(updates, 3), momentum = detail::have(updates, 4);
  if (centered && momentum) cuda::for_each_tensor(updates, {0, 1, 2, 3, 4}, cuda::RmspropUpdate<T, true, true>{s});
  else if (centered) cuda::for_each_tensor(updates, {0, 1, 2, 3}, cuda::RmspropUpdate<T, true, false>{s});
  else if (momentum) cuda::for_each_tensor(updates, {0, 1, 2, 4}, cuda::RmspropUpdate<T, false, true>{s});
  else cuda::for_each_tensor(updates, {0, 1, 2}, cuda::RmspropUpdate<T, false, false>{s});
}

template <class T>
void gradient_norm(const Batch<T, Cuda, 1>& gradients, double max_norm, View<double, Cuda> result) {
  const index_t blocks = cuda::blocks_of<T, 1>(gradients);
  const cuda::Scratch<double> partial(blocks);
  cuda::for_each_tensor(gradients, {0}, cuda::AddSquare<T>{}, partial.data());
  cuda::launch(cuda::join_norm_kernel<512>, 1, 512, 0, partial.data(), blocks, max_norm, result.data);
}
template <class T>
void scale_gradients(const Batch<T, Cuda, 2>& gradients, View<const double, Cuda> norm) {
  cuda::for_each_tensor(gradients, {0, 1}, cuda::ScaleGradient<T>{norm.data});
}
template <class T>
void limit_gradients(const Batch<T, Cuda, 2>& gradients, std::type_identity_t<T> limit) {
  cuda::for_each_tensor(gradients, {0, 1}, cuda::LimitGradient<T>{limit});
}
template <class T>
void update_averages(const Batch<T, Cuda, 2>& pairs, std::type_identity_t<T> keep) {
  cuda::for_each_tensor(pairs, {0, 1}, cuda::UpdateAverage<T>{keep});
}
template <class T>
void swap_elements(const Batch<T, Cuda, 2>& pairs) {
  cuda::for_each_tensor(pairs, {0, 1}, cuda::SwapElements<T>{});
}

}  // namespace kernels

}  // namespace segnet
