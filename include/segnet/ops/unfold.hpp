// Patches of images as rows of a matrix (im2col), and the transpose (col2im): convolution, seen as a matrix product.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/unfold.hpp"

namespace segnet {

/// Where the patches lie; as in `conv2d`.
struct UnfoldOptions {
  Extent2 stride = 1;
  Padding2 padding = 0;
  Extent2 dilation = 1;
};

namespace detail {
/// The geometry of a convolution with that kernel over images of that shape; what it would compute plays no part.
[[nodiscard]] inline kernels::ConvGeometry unfold_geometry(const char* op, const Shape& image, Extent2 kernel, const UnfoldOptions& o) {
  if (image.rank() != 4) throw ShapeError(op, "x", "[N, H, W, C]", image);
  return kernels::conv2d_geometry(op, image, {1, kernel.h, kernel.w, image[3]}, {0}, {o.stride, o.padding, o.dilation, 1, {}});
}
}  // namespace detail

/// Every patch that a kernel sees, as a row: y[n, oh OW + ow, (ki kw + kj) C + c] = x[n, oh stride.h - padding.h + ki dilation.h,
/// (w alike), c], zero outside the image. Times the weight [O, kh kw C] it is a convolution.
///
/// @param x  [N, H, W, C]
/// @return   [N, OH OW, kh kw C], sizes as `conv2d`
/// @throws ShapeError, ValueError: as `conv2d`
/// Gradient to x: `fold` of dy.
template <class T, class D>
[[nodiscard]] Tensor<T, D> unfold(const Tensor<T, D>& x, Extent2 kernel, const UnfoldOptions& options = {}) {
  const kernels::ConvGeometry g = detail::unfold_geometry("unfold", x.shape(), kernel, options);
  const Tensor<T, D> y(Shape{g.N, g.OH * g.OW, g.taps() * g.C});
  kernels::unfold(g, x.view(), y.view());
  return record("unfold", y, {x}, [g](const Tensor<T, D>& dy, Gradients<T, D>& grad) { kernels::fold(g, dy.view(), grad[0].view()); });
}

/// The transpose of `unfold`: every row is added to the pixels that it was taken from.
///
/// @param x  [N, OH OW, kh kw C], as `unfold` returns it for images of size `output_size`
/// @return   [N, H, W, C]
/// @throws ShapeError: x does not fit;  ShapeError, ValueError: as `conv2d`
/// Gradient to x: `unfold` of dy.
template <class T, class D>
[[nodiscard]] Tensor<T, D> fold(const Tensor<T, D>& x, Extent2 output_size, Extent2 kernel, const UnfoldOptions& options = {}) {
  kernels::detail::check_at_least("fold", "kernel", kernel, 1);
  const index_t taps = kernel.h * kernel.w;
  if (x.rank() != 3 || x.dim(2) == 0 || x.dim(2) % taps != 0)
    throw ShapeError("fold", "x", concat("[N, L, ", taps, " * C] for a kernel of ", kernel), x.shape());
  const Shape image{x.dim(0), output_size.h, output_size.w, x.dim(2) / taps};
  const kernels::ConvGeometry g = detail::unfold_geometry("fold", image, kernel, options);
  if (x.dim(1) != g.OH * g.OW)
    throw ShapeError("fold", "x", concat("[N, ", g.OH * g.OW, ", ", taps, " * C]: ", g.OH, "x", g.OW, " patches"), x.shape());
  const Tensor<T, D> y(image);
  kernels::fold(g, x.view(), y.view());
  return record("fold", y, {x}, [g](const Tensor<T, D>& dy, Gradients<T, D>& grad) { kernels::unfold(g, dy.view(), grad[0].view()); });
}

}  // namespace segnet
