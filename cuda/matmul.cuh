// Products of stacks of matrices by cuBLAS: the innermost dimensions of a stack, along which every operand either moves on evenly or
// stays, are one call.
#pragma once

#include "cublas.cuh"
#include "segnet/kernels/matmul.hpp"

namespace segnet {

namespace cuda {

/// How an operand walks through the last dimensions of a stack: from matrix to matrix, or not at all.
struct StackWalk {
  index_t count;          // matrices of the stack in one run
  bool a_moves, b_moves;  // else the operand is one matrix for the whole run
};
[[nodiscard]] inline StackWalk longest_run(const kernels::MatmulGeometry& g) {
  StackWalk run{1, false, false};
  for (int d = g.batch.rank(); d-- > 0; run.count *= g.batch[d]) {
    if (g.batch[d] == 1) continue;
    const bool a_moves = g.a_batch[d] != 1, b_moves = g.b_batch[d] != 1;
    if (run.count == 1) run.a_moves = a_moves, run.b_moves = b_moves;
    else if (run.a_moves != a_moves || run.b_moves != b_moves) break;
  }
  return run;
}

template <class T>
[[nodiscard]] Matrices<T> matrices_a(const kernels::MatmulGeometry& g, const T* a, index_t i, bool moves) {
  return {a + g.a_index(i) * g.a_size(), g.transpose_a ? g.m : g.k, moves ? g.a_size() : 0, g.transpose_a};
}
template <class T>
[[nodiscard]] Matrices<T> matrices_b(const kernels::MatmulGeometry& g, const T* b, index_t i, bool moves) {
  return {b + g.b_index(i) * g.b_size(), g.transpose_b ? g.k : g.n, moves ? g.b_size() : 0, g.transpose_b};
}
/// The gradients of y, read as their transposes or not.
template <class T>
[[nodiscard]] Matrices<T> matrices_dy(const kernels::MatmulGeometry& g, const T* dy, index_t i, bool transposed) {
  return {dy + i * g.y_size(), g.n, g.y_size(), transposed};
}
template <class T>
[[nodiscard]] Matrices<T> transposed(Matrices<T> m) {
  m.transposed = !m.transposed;
  return m;
}

/// out[index(i)] = the sum of left(i) * right(i), in the order of the i, each of rows x columns. `moves`: whether the operand that `out`
/// is the gradient of moves on within a run.
template <class T, class Index, class Left, class Right>
void sum_of_products(const kernels::MatmulGeometry& g, index_t matrices, index_t rows, index_t columns, index_t depth, bool moves,
                     const Index& index, const Left& left, const Right& right, T* out) {
  const index_t batch = g.batch.numel(), run = longest_run(g).count, size = rows * columns;
  if (matrices * size == 0) return;
  const auto add_up = [&](auto* sum, bool add) {
    for (index_t first = 0; first < batch; first += run) {
      if (moves) gemm(rows, columns, depth, left(first), right(first), sum + index(first) * size, columns, add, run, size);
      else
        for (index_t i = first; i < first + run; ++i) gemm(rows, columns, depth, left(i), right(i), sum + index(i) * size, columns, add);
    }
  };
  if (matrices == batch) return add_up(out, false);
  const auto zeros = [&](auto* sum) {
    SEGNET_CUDA_CHECK(cudaMemsetAsync(sum, 0, static_cast<std::size_t>(matrices * size) * sizeof *sum, stream()));
  };
  if constexpr (std::is_same_v<T, Master<T>>) {
    zeros(out);
    add_up(out, true);
  } else {  // terms are added up before they are rounded
    const Scratch<Master<T>> sum(matrices * size);
    zeros(sum.data());
    add_up(sum.data(), true);
    for_each(matrices * size, CopyElements<T, Master<T>>{out, sum.data()});
  }
}

}  // namespace cuda

namespace kernels {

/// y = op(a) op(b)
template <class T>
void matmul(const MatmulGeometry& g, ConstView<T, Cuda> a, ConstView<T, Cuda> b, View<T, Cuda> y) {
  if (y.size() == 0) return;
  const cuda::StackWalk run = cuda::longest_run(g);
  for (index_t i = 0; i < g.batch.numel(); i += run.count)
    cuda::gemm<T>(g.m, g.n, g.k, cuda::matrices_a(g, a.data, i, run.a_moves), cuda::matrices_b(g, b.data, i, run.b_moves),
                  y.data + i * g.y_size(), g.n, false, run.count, g.y_size());
}

/// da = dy op(b)^T, or its transpose if a was read transposed, summed over the matrices that used the same a.
template <class T>
void matmul_grad_a(const MatmulGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> b, View<T, Cuda> da) {
  const cuda::StackWalk run = cuda::longest_run(g);
  const auto dys = [&](index_t i) { return cuda::matrices_dy(g, dy.data, i, g.transpose_a); };
  const auto bs = [&](index_t i) {
    const auto matrices = cuda::matrices_b(g, b.data, i, run.b_moves);
    return g.transpose_a ? matrices : cuda::transposed(matrices);
  };
  const auto index = [&](index_t i) { return g.a_index(i); };
  if (g.transpose_a) cuda::sum_of_products<T>(g, g.a_batch.numel(), g.k, g.m, g.n, run.a_moves, index, bs, dys, da.data);
  else cuda::sum_of_products<T>(g, g.a_batch.numel(), g.m, g.k, g.n, run.a_moves, index, dys, bs, da.data);
}

/// db = op(a)^T dy, or its transpose if b was read transposed, summed over the matrices that used the same b.
template <class T>
void matmul_grad_b(const MatmulGeometry& g, ConstView<T, Cuda> a, ConstView<T, Cuda> dy, View<T, Cuda> db) {
  const cuda::StackWalk run = cuda::longest_run(g);
  const auto dys = [&](index_t i) { return cuda::matrices_dy(g, dy.data, i, g.transpose_b); };
  const auto as = [&](index_t i) {
    const auto matrices = cuda::matrices_a(g, a.data, i, run.a_moves);
    return g.transpose_b ? matrices : cuda::transposed(matrices);
  };
  const auto index = [&](index_t i) { return g.b_index(i); };
  if (g.transpose_b) cuda::sum_of_products<T>(g, g.b_batch.numel(), g.n, g.k, g.m, run.b_moves, index, dys, as, db.data);
  else cuda::sum_of_products<T>(g, g.b_batch.numel(), g.k, g.n, g.m, run.b_moves, index, as, dys, db.data);
}

}  // namespace kernels

}  // namespace segnet
