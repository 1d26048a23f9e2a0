// Images warped by a grid of points. Same conventions as torch.nn.functional.grid_sample and affine_grid; from "Spatial transformer
// networks" (Jaderberg et al., arXiv:1506.02025, equations 1 to 5).
#pragma once

#include "segnet/kernels/grid_sample.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet {

/// `grid_sample(x, grid, {.padding = GridPadding::border})`
struct GridSampleOptions {
  GridSampleMode mode = GridSampleMode::bilinear;
  GridPadding padding = GridPadding::zeros;
  bool align_corners = false;  ///< -1 and 1 are the centres of the border pixels instead of the edges of the image
};

/// Reads each image at the points of its grid: y[n, i, j] = x[n] at grid[n, i, j] = (x, y), from -1, left and top, to 1, right and bottom,
///
///   column = ((x + 1) W - 1) / 2      or, if align_corners,  (x + 1) / 2 (W - 1);      row alike
///
/// in units of pixels, whose centres are integers. border and reflection move a point that lies outside into the image before it is read;
/// of bicubic they move its pixels.
/// @param x     [N, H, W, C]
/// @param grid  [N, h, w, 2], float for bfloat16 images: a coordinate needs more than 8 bits
/// @return      [N, h, w, C]
/// @throws      ShapeError: ranks, different N, not 2 coordinates, an image without pixels
/// Gradients to x and to grid. Where a bilinear point lies on a pixel, the gradient to the grid is the one to the right and below; points
/// that border moved have none. A coordinate that is not finite is outside, or at pixel 0 with border and reflection.
/// Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> grid_sample(const Tensor<T, D>& x, const Tensor<Master<T>, D>& grid, const GridSampleOptions& options = {}) {
  constexpr index_t most = std::numeric_limits<std::int32_t>::max();
  if (x.rank() != 4 || x.dim(1) < 1 || x.dim(2) < 1 || x.dim(1) > most || x.dim(2) > most)
    throw ShapeError("grid_sample", "x", "[N, H, W, C] with at least one pixel", x.shape());
  if (grid.rank() != 4 || grid.dim(0) != x.dim(0) || grid.dim(3) != 2)
    throw ShapeError("grid_sample", "grid", concat("[", x.dim(0), ", h, w, 2]"), grid.shape());
  const auto axis = [&](int d) { return kernels::GridAxis{static_cast<std::int32_t>(x.dim(d)), options.padding, options.align_corners}; };
  const kernels::GridGeometry g{x.dim(0), x.dim(3), grid.dim(1) * grid.dim(2), options.mode, axis(1), axis(2)};
  const Tensor<T, D> y(Shape{g.N, grid.dim(1), grid.dim(2), g.C});
  kernels::grid_sample<T>(g, x.view(), grid.view(), y.view());
  return record("grid_sample", y, {x, grid}, [g, x = x.detach(), grid = grid.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    if (grad.wanted(0)) kernels::grid_sample_backward_input<T>(g, dy.view(), grid.view(), grad[0].view());
    if (grad.wanted(1)) {
      const Tensor<Master<T>, D> dgrid(grid.shape());
      kernels::grid_sample_backward_grid<T>(g, dy.view(), x.view(), grid.view(), dgrid.view());
      grad.set_other(1, dgrid);
    }
  });
}

/// The grid of affine maps: for each point (x, y) of an image of `size`, in the coordinates of `grid_sample`, theta[n] (x, y, 1)^T.
/// @param theta  [N, 2, 3]
/// @return       [N, h, w, 2]
/// @throws       ShapeError: theta;  ValueError: a size below 1
/// Gradient to theta. With align_corners the coordinate of a single row or column is 0.
template <class T, class D>
[[nodiscard]] Tensor<T, D> affine_grid(const Tensor<T, D>& theta, Extent2 size, bool align_corners = false) {
  if (theta.rank() != 3 || theta.dim(1) != 2 || theta.dim(2) != 3) throw ShapeError("affine_grid", "theta", "[N, 2, 3]", theta.shape());
  if (size.h < 1 || size.w < 1) throw ValueError("affine_grid", "size", "at least 1", concat(size));
  const auto centres = [&](index_t n, const Shape& shape) {  // -1 + (2 i + 1) / n, or -1 + 2 i / (n - 1)
    if (align_corners && n == 1) return zeros<T, D>(shape);
    const T step = T(2) / static_cast<T>(align_corners ? n - 1 : n), first = align_corners ? T(-1) : step / 2 - 1;
    return reshape(arange<T, D>(n) * step + first, shape);
  };
  const auto column = [&](index_t k) { return reshape(narrow(theta, 2, k, 1), {theta.dim(0), 1, 1, 2}); };
  return column(0) * centres(size.w, {size.w, 1}) + column(1) * centres(size.h, {size.h, 1, 1}) + column(2);
}

}  // namespace segnet
