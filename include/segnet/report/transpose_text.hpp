// The transposed convolution in three other words: as a backward pass, as a transposed matrix, as a direct convolution.
#pragma once

#include "segnet/autograd/backward.hpp"
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"
#include "segnet/ops/direct_convolution.hpp"
#include "segnet/report/conv_text.hpp"

namespace segnet::report {

/// conv_transpose2d(x, w, {}, options) and what it equals.
template <class T>
struct TransposeWays {
  Tensor<T> operation;          ///< conv_transpose2d itself
  Tensor<T> backward;           ///< the gradient of a convolution's input, x being that of its output
  Tensor<T> matrix;             ///< C^T x
  DirectConvolution<T> direct;  ///< the input with zeros inserted, the turned kernel,
  Tensor<T> by_direct;          ///< and their convolution

  /// Whether all agree to the last bit: on integers they do.
  [[nodiscard]] bool equal() const {
    for (const Tensor<T>* other : {&backward, &matrix, &by_direct})
      for (index_t i = 0; i < operation.numel(); ++i)
        if (other->data()[i] != operation.data()[i]) return false;
    return true;
  }
};

/// @param x [N, H, W, O]   @param w [O, kh, kw, C/groups]   @throws as conv_transpose2d
template <class T>
[[nodiscard]] TransposeWays<T> transpose_ways(const Tensor<T>& x, const Tensor<T>& w, const ConvTranspose2dOptions& options) {
  const auto g = kernels::conv_transpose2d_geometry("transpose_ways", x.shape(), w.shape(), {0}, options);

  // An output padding of a stride or more makes room for further outputs of the convolution, whose gradient is zero.
  const auto a = zeros<T>(g.x_shape()).requires_grad();
  const auto y = conv2d(a, w, {}, {options.stride, options.padding, options.dilation, options.groups});
  y.backward(pad(x, {0, 0, 0, y.dim(2) - x.dim(2), 0, y.dim(1) - x.dim(1)}));

  const Tensor<T> product(g.x_shape());
  kernels::matrix::columns(product.data(), g.H * g.W * g.C, g.N) =
      kernels::conv2d_matrix<T>(g, w.view()).transpose() * kernels::matrix::columns(x.data(), g.OH * g.OW * g.O, g.N);

  const auto direct = direct_convolution(x, w, options);
  return {conv_transpose2d(x, w, {}, options), a.grad(), product, direct, conv2d(direct.x, direct.w, {}, direct.options)};
}

/// All of it in words and grids, for one image of one channel.
template <class T>
[[nodiscard]] std::string transpose_text(const Tensor<T>& x, const Tensor<T>& w, const ConvTranspose2dOptions& options) {
  if (x.dim(0) != 1 || w.dim(0) != 1 || w.dim(3) != 1) throw ShapeError("transpose_text", "x", "one image of one channel", x.shape());
  const TransposeWays<T> ways = transpose_ways(x, w, options);
  const auto g = kernels::conv_transpose2d_geometry("transpose_text", x.shape(), w.shape(), {0}, options);
  const auto alike = [&](const Tensor<T>& result) {
    return grid(result) == grid(ways.operation) ? std::string("  the same\n") : grid(result);
  };
  return concat(
      "x =\n", grid(x), "w =\n", grid(w), "conv_transpose2d(x, w) =\n", grid(ways.operation), "\n1. The backward pass of a convolution of ",
      g.H, "x", g.W, " to ", g.OH, "x", g.OW, ": the gradient of its input, where that of its output is x\n", alike(ways.backward),
      "\n2. C^T x, with C the ", g.OH * g.OW, " x ", g.H * g.W, " matrix of that convolution\n", alike(ways.matrix),
      "\n3. The direct convolution, with stride 1, of ", ways.direct.x.dim(1), "x", ways.direct.x.dim(2), ": x with ", options.stride.h - 1,
      "x", options.stride.w - 1, " zeros inserted and a border\n", grid(ways.direct.x), "and of w turned by 180 degrees\n",
      grid(ways.direct.w), alike(ways.by_direct), "\n", ways.equal() ? "All are equal, number by number.\n" : "They differ.\n");
}

}  // namespace segnet::report
