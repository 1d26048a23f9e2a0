// A convolution as the sparse matrix it is: y = C x, dx = C^T dy. For teaching and tests; needs Eigen.
//
// Including this file anywhere in a program gives it ConvAlgorithm::matrix.
#pragma once

#include <Eigen/SparseCore>

#include "segnet/kernels/conv2d_matrix_hook.hpp"

namespace segnet {

/// C of one image: rows are the outputs [OH * OW * O], columns the inputs [H * W * C], both flattened as they lie in memory.
/// Offsets have 64 bits.
template <class T>
using ConvMatrix = Eigen::SparseMatrix<T, Eigen::RowMajor, index_t>;

namespace kernels {

/// Which weight stands where: the matrix of a convolution with w's element i at each place where `conv2d_matrix` has w[i]. An entry
/// is stored for each output and each of its taps that lies within the image, so a row has at most kh * kw * C/groups.
[[nodiscard]] inline ConvMatrix<index_t> conv2d_matrix_pattern(const ConvGeometry& g) {
  const index_t Cg = g.group_inputs();
  ConvMatrix<index_t> pattern(g.OH * g.OW * g.O, g.H * g.W * g.C);
  pattern.reserve(pattern.rows() * g.taps() * Cg);
  for (index_t oh = 0, row = 0; oh < g.OH; ++oh)
    for (index_t ow = 0; ow < g.OW; ++ow)
      for (index_t o = 0; o < g.O; ++o, ++row) {
        const index_t first = o / g.group_outputs() * Cg;  // input channel of its group
        pattern.startVec(row);
        for (index_t ki = 0; ki < g.kh; ++ki)
          for (index_t kj = 0; kj < g.kw; ++kj) {
            const index_t h = g.input_row(oh, ki), v = g.input_column(ow, kj);
            if (h < 0 || h >= g.H || v < 0 || v >= g.W) continue;
            const index_t column = (h * g.W + v) * g.C + first, weight = ((o * g.kh + ki) * g.kw + kj) * Cg;
            for (index_t c = 0; c < Cg; ++c) pattern.insertBack(row, column + c) = weight + c;
          }
      }
  pattern.finalize();
  return pattern;
}

/// The matrix C of a convolution with these weights [O, kh, kw, C/groups]: flattened images y = C x, and for the transposed convolution
/// y = C^T x. Dumoulin & Visin, arXiv:1603.07285, section 4.1. Takes 16 bytes for each output and tap; zero weights are stored too.
template <class T>
[[nodiscard]] ConvMatrix<T> conv2d_matrix(const ConvGeometry& g, View<const T> w) {
  return conv2d_matrix_pattern(g).unaryExpr([w](index_t i) { return w[i]; });
}

namespace matrix {

/// Images of `pixels` numbers each, one a column.
template <class T>
[[nodiscard]] auto columns(T* data, index_t pixels, index_t images) {
  using Dense = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic>;
  return Eigen::Map<std::conditional_t<std::is_const_v<T>, const Dense, Dense>>(data, pixels, images);
}

/// result += the bias of each channel, which is the innermost dimension; b may be empty.
template <class T>
void add_bias(View<const T> b, View<T> result) {
  if (b.data) columns(result.data, b.size(), result.size() / b.size()).colwise() += columns(b.data, b.size(), 1).col(0);
}

template <class T>
void conv2d(const ConvGeometry& g, View<const T> x, View<const T> w, View<const T> b, View<T> y) {
  columns(y.data, g.OH * g.OW * g.O, g.N) = conv2d_matrix(g, w) * columns(x.data, g.H * g.W * g.C, g.N);
  add_bias(b, y);
}

template <class T>
void conv2d_grad_input(const ConvGeometry& g, View<const T> dy, View<const T> w, View<const T> b, View<T> dx) {
  columns(dx.data, g.H * g.W * g.C, g.N) = conv2d_matrix(g, w).transpose() * columns(dy.data, g.OH * g.OW * g.O, g.N);
  add_bias(b, dx);
}

/// The gradient to C is dy x^T; that to a weight adds it up over the places where the weight stands.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, View<const T> dy, View<const T> x, View<T> dw) {
  const ConvMatrix<index_t> pattern = conv2d_matrix_pattern(g);
  const auto outputs = columns(dy.data, pattern.rows(), g.N), inputs = columns(x.data, pattern.cols(), g.N);
  columns(dw.data, dw.size(), 1).setZero();
  for (index_t row = 0; row < pattern.rows(); ++row)
    for (ConvMatrix<index_t>::InnerIterator place(pattern, row); place; ++place)
      for (index_t n = 0; n < g.N; ++n) dw[place.value()] += outputs(row, n) * inputs(place.col(), n);
}

inline const bool registers = (registered<float> = {conv2d<float>, conv2d_grad_input<float>, conv2d_grad_weight<float>},
                               registered<double> = {conv2d<double>, conv2d_grad_input<double>, conv2d_grad_weight<double>}, true);

}  // namespace matrix
}  // namespace kernels
}  // namespace segnet
