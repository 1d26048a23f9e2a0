// Unpooling by a fixed rule: each pixel becomes a block. (Unpooling to where maxima were is max_unpool2d, in ops/pooling.hpp.)
#pragma once

#include "segnet/ops/pad.hpp"
#include "segnet/ops/repeat.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet {

namespace detail {
/// x [N, H, W, C] as [N, H, 1, W, 1, C]: the two ones are about to become the rows and columns of blocks.
template <class T, class D>
[[nodiscard]] Tensor<T, D> as_blocks(const char* op, const Tensor<T, D>& x, Extent2 factor) {
  if (x.rank() != 4) throw ShapeError(op, "x", "[N, H, W, C]", x.shape());
  if (factor.h < 1 || factor.w < 1) throw ValueError(op, "factor", "at least 1x1", to_string(factor));
  return reshape(x, Shape{x.dim(0), x.dim(1), 1, x.dim(2), 1, x.dim(3)});
}
}  // namespace detail

/// Each pixel fills its block of factor.h x factor.w: y[n, h, v, c] = x[n, h / factor.h, v / factor.w, c].
/// @param x [N, H, W, C]   @return [N, H * factor.h, W * factor.w, C]   @throws ShapeError: rank;  ValueError: factor
/// Gradient: the sum over the block.
template <class T, class D>
[[nodiscard]] Tensor<T, D> nearest_unpool2d(const Tensor<T, D>& x, Extent2 factor = 2) {
  const Tensor<T, D> pixels = detail::as_blocks("nearest_unpool2d", x, factor);
  const index_t N = x.dim(0), H = x.dim(1), W = x.dim(2), C = x.dim(3);
  return reshape(expand(pixels, {N, H, factor.h, W, factor.w, C}), Shape{N, H * factor.h, W * factor.w, C});
}

/// "Bed of nails": each pixel goes to the upper left corner of its block, zeros elsewhere,
/// y[n, h * factor.h, v * factor.w, c] = x[n, h, v, c]. The transpose of taking every factor-th pixel.
/// @param x [N, H, W, C]   @return [N, H * factor.h, W * factor.w, C]   @throws ShapeError: rank;  ValueError: factor
/// Gradient: that of the corner.
template <class T, class D>
[[nodiscard]] Tensor<T, D> bed_of_nails_unpool2d(const Tensor<T, D>& x, Extent2 factor = 2) {
  const Tensor<T, D> pixels = detail::as_blocks("bed_of_nails_unpool2d", x, factor);
  return reshape(pad(pixels, {0, 0, 0, factor.w - 1, 0, 0, 0, factor.h - 1}),
                 Shape{x.dim(0), x.dim(1) * factor.h, x.dim(2) * factor.w, x.dim(3)});
}

}  // namespace segnet
