// Products of matrices and stacks of matrices: NumPy's rules, and the gradients.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/kernels/gemm.hpp"

namespace segnet {

/// Which operands are read as their transposes (their last two dimensions swapped). Vectors stay as they are.
struct MatmulOptions {
  bool transpose_a = false, transpose_b = false;
};

namespace kernels {

/// y[i] = op(a)[i] op(b)[i] for every matrix i of the stack, whose dimensions broadcast.
struct MatmulGeometry {
  index_t m, n, k;
  bool transpose_a, transpose_b;
  Shape batch, a_batch, b_batch;  // of one rank; a size in a_batch is that of batch, or 1
  Shape y_shape;

  index_t a_size() const { return m * k; }
  index_t b_size() const { return k * n; }
  index_t y_size() const { return m * n; }
  /// Which matrix of an operand belongs to matrix i of the result.
  index_t a_index(index_t i) const { return operand_index(i, a_batch); }
  index_t b_index(index_t i) const { return operand_index(i, b_batch); }

 private:
  index_t operand_index(index_t i, const Shape& operand) const {
    index_t index = 0, scale = 1;
    for (int d = batch.rank(); d-- > 0; i /= batch[d]) {
      if (operand[d] != 1) index += i % batch[d] * scale;
      scale *= operand[d];
    }
    return index;
  }
};

/// @throws ShapeError  scalars, sizes that do not match, stacks that do not broadcast
[[nodiscard]] inline MatmulGeometry matmul_geometry(std::string_view op, const Shape& a, const Shape& b, const MatmulOptions& o) {
  if (a.rank() < 1) throw ShapeError(op, "a", "at least one dimension", a);
  if (b.rank() < 1) throw ShapeError(op, "b", "at least one dimension", b);
  MatmulGeometry g{};
  g.transpose_a = o.transpose_a && a.rank() > 1;
  g.transpose_b = o.transpose_b && b.rank() > 1;
  g.m = a.rank() == 1 ? 1 : a[g.transpose_a ? -1 : -2];
  g.k = a[g.transpose_a ? -2 : -1];
  g.n = b.rank() == 1 ? 1 : b[g.transpose_b ? -2 : -1];
  const index_t rows_of_b = b.rank() == 1 ? b[0] : b[g.transpose_b ? -1 : -2];
  if (rows_of_b != g.k)
    throw ShapeError(
        op, "b",
        concat(b.rank() == 1 ? "[" : "[..., ", g.transpose_b ? "n, " : "", g.k, b.rank() > 1 && !g.transpose_b ? ", n" : "", "] for a ", a),
        b);

  const int a_stack = std::max(a.rank() - 2, 0), b_stack = std::max(b.rank() - 2, 0), rank = std::max(a_stack, b_stack);
  for (int d = 0; d < rank; ++d) {
    const index_t from_a = d < rank - a_stack ? 1 : a[d - (rank - a_stack)], from_b = d < rank - b_stack ? 1 : b[d - (rank - b_stack)];
    if (from_a != from_b && from_a != 1 && from_b != 1)
      throw ShapeError(op, "b", concat("leading dimensions that broadcast with those of a ", a), b);
    g.batch.push_back(from_a == 1 ? from_b : from_a);
    g.a_batch.push_back(from_a);
    g.b_batch.push_back(from_b);
  }
  g.y_shape = g.batch;
  if (a.rank() > 1) g.y_shape.push_back(g.m);
  if (b.rank() > 1) g.y_shape.push_back(g.n);

  if (g.b_batch.numel() == 1 && !g.transpose_a && g.a_batch == g.batch) {  // one b for all: the stack of a is one high matrix
    g.m *= g.batch.numel();
    g.batch = g.a_batch = g.b_batch = {};
  }
  return g;
}

namespace detail {
/// out[index(i)] = or += (where several i have the same index, in their order) left(i) * right(i).
template <class T, class Index, class Left, class Right>
void sum_of_products(const MatmulGeometry& g, index_t matrices, index_t rows, index_t columns, index_t depth, const Index& index,
                     const Left& left, const Right& right, T* out) {
  const index_t batch = g.batch.numel(), size = rows * columns;
  const auto matrix = [&](index_t i) { return out + index(i) * size; };
  if (matrices == batch) return gemm_batched<T>(batch, rows, columns, depth, left, right, matrix, columns);
  std::fill_n(out, matrices * size, T(0));
  for (index_t i = 0; i < batch; ++i) gemm<T>(rows, columns, depth, left(i), right(i), matrix(i), columns, true);
}

template <class T>
Matrix<T> matrix_a(const MatmulGeometry& g, const T* a, index_t i) {
  return {a + g.a_index(i) * g.a_size(), g.transpose_a ? g.m : g.k, g.transpose_a};
}
template <class T>
Matrix<T> matrix_b(const MatmulGeometry& g, const T* b, index_t i) {
  return {b + g.b_index(i) * g.b_size(), g.transpose_b ? g.k : g.n, g.transpose_b};
}
template <class T>
Matrix<T> transposed(Matrix<T> m) {
  m.transposed = !m.transposed;
  return m;
}
}  // namespace detail

/// y = op(a) op(b)
template <class T>
void matmul(const MatmulGeometry& g, ConstView<T> a, ConstView<T> b, View<T> y) {
  gemm_batched<T>(
      g.batch.numel(), g.m, g.n, g.k, [&](index_t i) { return detail::matrix_a<T>(g, a.data, i); },
      [&](index_t i) { return detail::matrix_b<T>(g, b.data, i); }, [&](index_t i) { return y.data + i * g.y_size(); }, g.n);
}

/// da = dy op(b)^T, or its transpose if a was read transposed, summed over the matrices that used the same a.
template <class T>
void matmul_grad_a(const MatmulGeometry& g, ConstView<T> dy, ConstView<T> b, View<T> da) {
  const auto dys = [&](index_t i) { return Matrix<T>{dy.data + i * g.y_size(), g.n, g.transpose_a}; };
  const auto bs = [&](index_t i) {
    return g.transpose_a ? detail::matrix_b<T>(g, b.data, i) : detail::transposed(detail::matrix_b<T>(g, b.data, i));
  };
  const auto index = [&](index_t i) { return g.a_index(i); };
  if (g.transpose_a) detail::sum_of_products<T>(g, g.a_batch.numel(), g.k, g.m, g.n, index, bs, dys, da.data);
  else detail::sum_of_products<T>(g, g.a_batch.numel(), g.m, g.k, g.n, index, dys, bs, da.data);
}

/// db = op(a)^T dy, or its transpose if b was read transposed, summed over the matrices that used the same b.
template <class T>
void matmul_grad_b(const MatmulGeometry& g, ConstView<T> a, ConstView<T> dy, View<T> db) {
  const auto dys = [&](index_t i) { return Matrix<T>{dy.data + i * g.y_size(), g.n, g.transpose_b}; };
  const auto as = [&](index_t i) {
    return g.transpose_b ? detail::matrix_a<T>(g, a.data, i) : detail::transposed(detail::matrix_a<T>(g, a.data, i));
  };
  const auto index = [&](index_t i) { return g.b_index(i); };
  if (g.transpose_b) detail::sum_of_products<T>(g, g.b_batch.numel(), g.n, g.k, g.m, index, dys, as, db.data);
  else detail::sum_of_products<T>(g, g.b_batch.numel(), g.k, g.n, g.m, index, as, dys, db.data);
}

// cuda/matmul.cuh
template <class T>
void matmul(const MatmulGeometry& g, ConstView<T, Cuda> a, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void matmul_grad_a(const MatmulGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> b, View<T, Cuda> da);
template <class T>
void matmul_grad_b(const MatmulGeometry& g, ConstView<T, Cuda> a, ConstView<T, Cuda> dy, View<T, Cuda> db);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_MATMUL(TEMPLATE, T)                                                 \
  TEMPLATE void matmul(const MatmulGeometry&, ConstView<T>, ConstView<T>, View<T>);        \
  TEMPLATE void matmul_grad_a(const MatmulGeometry&, ConstView<T>, ConstView<T>, View<T>); \
  TEMPLATE void matmul_grad_b(const MatmulGeometry&, ConstView<T>, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_MATMUL)

}  // namespace kernels
}  // namespace segnet
