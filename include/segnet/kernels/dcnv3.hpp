// The core of DCNv3 and DCNv4: channels added up over displaced taps with a scalar each, without a weight.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/kernels/deformable.hpp"

namespace segnet {

/// `dcnv3(x, offset, mask, {.padding = 1, .groups = 4})`
struct DCNv3Options {
  Extent2 kernel = 3;
  Extent2 stride = 1;
  Padding2 padding = 0;
  Extent2 dilation = 1;
  index_t groups = 1;          ///< of channels, each with offsets and scalars of its own
  double offset_scale = 1;     ///< of the kernel's grid and the offsets alike
  bool remove_center = false;  ///< without the tap in the middle (square odd kernels)
};

namespace kernels {

/// Geometry of dcnv3, after all checks but those of offsets and scalars.
[[nodiscard]] inline DeformableGeometry dcnv3_geometry(std::string_view op, const Shape& x, const DCNv3Options& o) {
  if (x.rank() != 4) throw ShapeError(op, "x", "[N, H, W, C]", x);
  detail::check_at_least(op, "kernel", o.kernel, 1);
  if (o.remove_center && (o.kernel.h != o.kernel.w || o.kernel.h % 2 == 0 || o.kernel.h == 1))
    throw ValueError(op, "remove_center", "false with a kernel that is not square, odd and larger than 1", to_string(o.kernel));
  DeformableGeometry g = deformable_geometry(
      op, conv2d_geometry(op, x, {1, o.kernel.h, o.kernel.w, x[3]}, {0}, {o.stride, o.padding, o.dilation, 1, {}}), o.groups);
  g.order = TapOrder::columns;
  g.scale = o.offset_scale;
  g.remove_center = o.remove_center;
  g.centre = {o.dilation.h * (o.kernel.h - 1) / 2, o.dilation.w * (o.kernel.w - 1) / 2};
  g.set_layout(2 * g.taps(), g.taps());
  return g;
}

/// y [N, OH, OW, C] = sum over the taps of mask * x.
template <class T>
void dcnv3(const DeformableGeometry& g, ConstView<T> x, ConstView<T> offset, ConstView<T> mask, View<T> y) {
  aggregate_taps<T>({g, offset.data, mask.data}, x.data, y.data);
}

/// Gradients, each of them optional (data null).
template <class T>
void dcnv3_backward(const DeformableGeometry& g, ConstView<T> dy, ConstView<T> x, ConstView<T> offset, ConstView<T> mask, View<T> dx,
                    View<T> doffset, View<T> dmask) {
  const DeformedTaps<T> where{g, offset.data, mask.data};
  const TapRows<const T> q{dy.data, g.C, 0, 0, 0};  // the same for all taps of a pixel
  if (dx) std::fill_n(dx.data, dx.size(), T(0));
  if (dx) scatter_taps(where, q, 0, g.pixels(), dx.data);
  if (doffset || dmask) grad_taps(where, x.data, q, 0, g.pixels(), doffset.data, dmask.data);
}

// The same on the GPU: cuda/dcnv3.cuh.
template <class T>
void dcnv3(const DeformableGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> offset, ConstView<T, Cuda> mask, View<T, Cuda> y);
template <class T>
void dcnv3_backward(const DeformableGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<T, Cuda> offset,
                    ConstView<T, Cuda> mask, View<T, Cuda> dx, View<T, Cuda> doffset, View<T, Cuda> dmask);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_DCNV3(TEMPLATE, T)                                                                                           \
  TEMPLATE void dcnv3(const DeformableGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, View<T>);                                \
  TEMPLATE void dcnv3_backward(const DeformableGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, View<T>, View<T>, \
                               View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_DCNV3)

}  // namespace kernels
}  // namespace segnet
