// 1-D convolution and its transpose: sequences are images of height 1.
#pragma once

#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/conv_transpose2d.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet {

/// `conv1d(x, w, b, {.stride = 2, .padding = 1})`
struct Conv1dOptions {
  index_t stride = 1;
  Padding1 padding = 0;  ///< zeros on both sides, or {before, behind}
  index_t dilation = 1;  ///< 1 = dense kernel
  index_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

struct ConvTranspose1dOptions {
  index_t stride = 1;
  Padding1 padding = 0;        ///< of the convolution that is transposed: crops the result
  index_t output_padding = 0;  ///< elements added behind, below max(stride, dilation)
  index_t dilation = 1;
  index_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

namespace detail {

[[nodiscard]] inline Padding2 image_padding(Padding1 p) { return {Extent2(0, p.begin), Extent2(0, p.end)}; }
[[nodiscard]] inline Conv2dOptions image_options(const Conv1dOptions& o) {
  return {{1, o.stride}, image_padding(o.padding), {1, o.dilation}, o.groups, o.algorithm};
}
[[nodiscard]] inline ConvTranspose2dOptions image_options(const ConvTranspose1dOptions& o) {
  return {{1, o.stride}, image_padding(o.padding), {0, o.output_padding}, {1, o.dilation}, o.groups, o.algorithm};
}
/// [A, B, C] -> [A, 1, B, C]
[[nodiscard]] inline Shape image_shape(std::string_view op, std::string_view argument, std::string_view expected, const Shape& s) {
  if (s.rank() != 3) throw ShapeError(op, argument, expected, s);
  return {s[0], 1, s[1], s[2]};
}
struct SequenceShapes {
  Shape x, w;
};
[[nodiscard]] inline SequenceShapes sequence_shapes(std::string_view op, const Shape& x, const Shape& w) {
  return {image_shape(op, "x", "[N, L, C]", x), image_shape(op, "weight", "[O, k, C/groups]", w)};
}

}  // namespace detail

namespace kernels {

/// Geometry of conv1d, that of an image of height 1, after all checks. @throws ShapeError, ValueError  as conv2d_geometry
[[nodiscard]] inline ConvGeometry conv1d_geometry(const Shape& x, const Shape& w, const Shape& b, const Conv1dOptions& o) {
  const auto [image, weight] = segnet::detail::sequence_shapes("conv1d", x, w);
  return conv2d_geometry("conv1d", image, weight, b, segnet::detail::image_options(o));
}
/// Geometry of the convolution that conv_transpose1d transposes. @throws ShapeError, ValueError  as conv_transpose2d_geometry
[[nodiscard]] inline ConvGeometry conv_transpose1d_geometry(const Shape& x, const Shape& w, const Shape& b,
                                                            const ConvTranspose1dOptions& o) {
  const auto [image, weight] = segnet::detail::sequence_shapes("conv_transpose1d", x, w);
  return conv_transpose2d_geometry("conv_transpose1d", image, weight, b, segnet::detail::image_options(o));
}

}  // namespace kernels

/// 1-D cross-correlation of sequences, y[n, i, o] = b[o] + sum_{k, c} w[o, k, c] * x[n, i*stride - padding.begin + k*dilation, c]: conv2d
/// of images of height 1, which is what the shapes in messages show. Dumoulin & Visin, arXiv:1603.07285.
/// @param x [N, L, C]   @param w [O, k, C/groups]   @param b [O], or undefined for none
/// @return  [N, OL, O],  OL = conv_size(L, {k, stride, padding, dilation})
/// @throws  ShapeError, ValueError  as conv2d.  Gradients, memory and determinism as conv2d.
template <class T, class D>
[[nodiscard]] Tensor<T, D> conv1d(const Tensor<T, D>& x, const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {},
                                  const Conv1dOptions& options = {}) {
  const auto g = kernels::conv1d_geometry(x.shape(), w.shape(), b.shape(), options);
  const Tensor<T, D> y = conv2d(reshape(x, g.x_shape()), reshape(w, g.w_shape()), b, detail::image_options(options));
  return reshape(y, Shape{g.N, g.OW, g.O});
}

/// The transpose of conv1d with the same weight, stride, padding, dilation and groups; see conv_transpose2d.
/// @param x [N, L, O]   @param w [O, k, C/groups], as for conv1d   @param b [C], or undefined for none
/// @return  [N, OL, C],  OL = conv_transpose_size(L, {k, stride, padding, dilation}, output_padding)
/// @throws  ShapeError, ValueError  as conv_transpose2d
template <class T, class D>
[[nodiscard]] Tensor<T, D> conv_transpose1d(const Tensor<T, D>& x, const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {},
                                            const ConvTranspose1dOptions& options = {}) {
  const auto g = kernels::conv_transpose1d_geometry(x.shape(), w.shape(), b.shape(), options);
  const Tensor<T, D> y = conv_transpose2d(reshape(x, g.y_shape()), reshape(w, g.w_shape()), b, detail::image_options(options));
  return reshape(y, Shape{g.N, g.W, g.C});
}

}  // namespace segnet
