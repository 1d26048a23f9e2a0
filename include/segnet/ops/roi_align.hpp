// Features of regions of interest, resampled to one size. Same conventions as torchvision.ops.
#pragma once

#include <memory>

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/roi_pool.hpp"

namespace segnet {

namespace detail {
template <class T, class D, class R>
[[nodiscard]] std::vector<kernels::Roi> checked_rois(const char* op, const Tensor<T, D>& x, const Tensor<R>& rois, Extent2 output_size,
                                                     double spatial_scale) {
  if (x.rank() != 4 || x.dim(1) < 1 || x.dim(2) < 1) throw ShapeError(op, "x", "[N, H, W, C] with at least one pixel", x.shape());
  if (rois.rank() != 2 || rois.dim(1) != 5) throw ShapeError(op, "rois", "[K, 5]: image, x1, y1, x2, y2", rois.shape());
  if (output_size.h < 1 || output_size.w < 1) throw ValueError(op, "output_size", "at least 1x1", to_string(output_size));
  if (!(spatial_scale > 0 && std::isfinite(spatial_scale)))
    throw ValueError(op, "spatial_scale", "a positive number", concat(spatial_scale));
  std::vector<kernels::Roi> list;
  for (index_t k = 0; k < rois.dim(0); ++k) {
    double v[5];
    for (int i = 0; i < 5; ++i) {
      v[i] = static_cast<double>(rois.data()[5 * k + i]);
      if (!std::isfinite(v[i])) throw ValueError(op, "rois", "finite numbers", concat(v[i], " in roi ", k));
    }
    if (!(v[0] >= 0 && v[0] < static_cast<double>(x.dim(0))) || v[0] != std::floor(v[0]))
      throw ValueError(op, "rois", concat("images in [0, ", x.dim(0), ")"), concat(v[0], " in roi ", k));
    list.push_back({static_cast<index_t>(v[0]), v[1], v[2], v[3], v[4]});
  }
  return list;
}
}  // namespace detail

/// The features of boxes, each cut into cells of which every one is the mean of bilinear samples (arXiv:1703.06870, section 3):
///
///   size = (x2 - x1) * scale (not `aligned`: at least 1), cell = size / output_size.w, g = sampling_ratio, or ceil(cell) if that is 0
///   y[k, i, j, c] = mean over a, b < g of x at (y1 * scale - s + (i + (a + 1/2) / g) * cell, x alike),  s = 1/2 if `aligned`, else 0
///
/// A sample above row -1 or below row H (columns alike) is 0; one between there and the map's edge takes the value of the edge. A RoI that
/// is turned over (x2 < x1) is empty, hence 0, where `aligned` and sampling_ratio = 0.
/// @param x [N, H, W, C]   @param rois [K, 5] on the host: number of the image, x1, y1, x2, y2 in pixels of the image
/// @return  [K, output_size.h, output_size.w, C]
/// @throws  ShapeError: rank, empty map; ValueError: output_size, spatial_scale, a RoI that is not finite or in no image
/// Gradient to x, in gather form, none to the RoIs. Same bits for any number of threads.
template <class T, class D, class R>
[[nodiscard]] Tensor<T, D> roi_align(const Tensor<T, D>& x, const Tensor<R>& rois, const RoiAlignOptions& options = {}) {
  const auto list = detail::checked_rois("roi_align", x, rois, options.output_size, options.spatial_scale);
  const auto cells = std::make_shared<const kernels::RoiCells<Master<T>>>(kernels::roi_align_cells<Master<T>>(list, x.shape(), options));
  const Tensor<T, D> y({rois.dim(0), options.output_size.h, options.output_size.w, x.dim(3)});
  kernels::roi_align<T>(*cells, x.view(), y.view());
  return record("roi_align", y, {x}, [cells](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::roi_align_backward<T>(*cells, dy.view(), grad[0].view());
  });
}

/// The largest feature of each cell of a box (arXiv:1504.08083, section 2.1): its corners are rounded to pixels of the map (halves away
/// from zero), both inclusive; cell i of n pixels covers [floor(i * n / output_size), ceil((i + 1) * n / output_size)). A cell outside of
/// the map is 0. A NaN wins over everything.
/// Arguments, result and errors as `roi_align`. Gradient to x, in gather form. Same bits for any number of threads.
template <class T, class D, class R>
[[nodiscard]] Tensor<T, D> roi_pool(const Tensor<T, D>& x, const Tensor<R>& rois, Extent2 output_size, double spatial_scale = 1) {
  if (x.rank() == 4 && x.dim(0) * x.dim(1) * x.dim(2) > INT32_MAX) throw ShapeError("roi_pool", "x", "fewer than 2^31 pixels", x.shape());
  const auto list = detail::checked_rois("roi_pool", x, rois, output_size, spatial_scale);
  const auto cells =
      std::make_shared<const kernels::RoiCells<std::uint8_t>>(kernels::roi_pool_cells(list, x.shape(), output_size, spatial_scale));
  const Tensor<T, D> y({rois.dim(0), output_size.h, output_size.w, x.dim(3)});
  const Tensor<std::int32_t, D> pixels(y.shape());
  kernels::roi_pool<T>(*cells, x.view(), y.view(), pixels.view());
  return record("roi_pool", y, {x}, [cells, pixels](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::roi_pool_backward<T>(*cells, dy.view(), pixels.view(), grad[0].view());
  });
}

}  // namespace segnet
