// Deformable convolution as a matrix product: taps are sampled into columns, for some pixels at a time, and multiplied by the weight.
#pragma once

#include "segnet/core/compiled.hpp"
#include "segnet/kernels/deformable.hpp"
#include "segnet/kernels/gemm.hpp"

namespace segnet {

/// `deform_conv2d(x, offset, w, b, mask, {.padding = 1})`
struct DeformConv2dOptions {
  Extent2 stride = 1;    ///< {h, w}
  Padding2 padding = 0;  ///< zeros on both sides
  Extent2 dilation = 1;  ///< 1 = dense kernel
  index_t groups = 1;    ///< of the weight; those of the offsets follow from their number
};

namespace kernels {

struct DeformConv2dGeometry {
  ConvGeometry conv;
  DeformableGeometry taps;

  SEGNET_HOST_DEVICE index_t depth() const { return conv.taps() * conv.group_inputs(); }  ///< of a group's product

  /// Columns of `pixels` output pixels, [groups][pixels][taps][C / groups].
  template <class E>
  SEGNET_HOST_DEVICE TapRows<E> columns(E* data, index_t pixels) const {
    return {data, depth(), conv.group_inputs(), conv.groups > 1 ? conv.group_inputs() : 0, pixels * depth()};
  }
  /// How many pixels' columns fit into so many elements; at least one.
  [[nodiscard]] index_t pixels_within(index_t elements) const {
    return std::min(taps.pixels(), std::max<index_t>(1, elements / (conv.groups * depth())));
  }
};

/// Geometry of deform_conv2d, after all checks. A mask of shape [0] is none.
[[nodiscard]] inline DeformConv2dGeometry deform_conv2d_geometry(std::string_view op, const Shape& x, const Shape& offset, const Shape& w,
                                                                 const Shape& b, const Shape& mask, const DeformConv2dOptions& o) {
  const ConvGeometry c = conv2d_geometry(op, x, w, b, {o.stride, o.padding, o.dilation, o.groups, {}});
  const index_t numbers = 2 * c.taps();
  if (offset.rank() != 4 || Shape{c.N, c.OH, c.OW, offset[3]} != offset || offset[3] < numbers || offset[3] % numbers)
    throw ShapeError(op, "offset", concat("[", c.N, ", ", c.OH, ", ", c.OW, ", offset groups * ", numbers, "]"), offset);
  const index_t groups = offset[3] / numbers;
  if (c.C % groups) throw ShapeError(op, "offset", concat("offset groups that divide ", c.C, " channels, not ", groups), offset);
  const Shape scalars{c.N, c.OH, c.OW, groups * c.taps()};
  if (mask != Shape{0} && mask != scalars) throw ShapeError(op, "mask", concat(scalars), mask);
  DeformConv2dGeometry g{c, deformable_geometry(op, c, groups)};
  g.taps.set_layout(numbers, c.taps());
  return g;
}

namespace detail {
constexpr index_t deform_column_bytes = index_t{8} << 20;

/// f(first, last) for runs of output pixels whose columns take at most 8 MiB, unless one pixel's take more.
template <class T, class F>
void for_column_blocks(const DeformConv2dGeometry& g, const F& f) {
  const index_t all = g.taps.pixels(), most = g.pixels_within(deform_column_bytes / static_cast<index_t>(sizeof(T)));
  for (index_t first = 0; first < all; first += most) f(first, std::min(all, first + most));
}
template <class T>
[[nodiscard]] Scratch<T> column_memory(const DeformConv2dGeometry& g) {
  return Scratch<T>(g.pixels_within(deform_column_bytes / static_cast<index_t>(sizeof(T))) * g.conv.groups * g.depth());
}
}  // namespace detail

/// y = columns * W^T + b
template <class T>
void deform_conv2d(const DeformConv2dGeometry& g, ConstView<T> x, ConstView<T> offset, ConstView<T> mask, ConstView<T> w, ConstView<T> b,
                   View<T> y) {
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), depth = g.depth();
  const Scratch<T> col = detail::column_memory<T>(g);
  detail::for_column_blocks<T>(g, [&](index_t first, index_t last) {
    sample_taps<T>({g.taps, offset.data, mask.data}, x.data, first, last, g.columns(col.data(), last - first));
    for (index_t group = 0; group < g.conv.groups; ++group)
      gemm<T>(last - first, Og, depth, {col.data() + group * (last - first) * depth, depth}, {w.data + group * Og * depth, depth, true},
              y.data + first * O + group * Og, O, false, b ? b.data + group * Og : nullptr);
  });
}

/// dw = dy^T * columns, summed over the blocks of pixels in their order
template <class T>
void deform_conv2d_grad_weight(const DeformConv2dGeometry& g, ConstView<T> dy, ConstView<T> x, ConstView<T> offset, ConstView<T> mask,
                               View<T> dw) {
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), depth = g.depth();
  const Scratch<T> col = detail::column_memory<T>(g);
  std::fill_n(dw.data, dw.size(), T(0));
  detail::for_column_blocks<T>(g, [&](index_t first, index_t last) {
    sample_taps<T>({g.taps, offset.data, mask.data}, x.data, first, last, g.columns(col.data(), last - first));
    for (index_t group = 0; group < g.conv.groups; ++group)
      gemm<T>(Og, depth, last - first, {dy.data + first * O + group * Og, O, true}, {col.data() + group * (last - first) * depth, depth},
              dw.data + group * Og * depth, depth, true);
  });
}

/// With dcolumns = dy * W: gradients of what the columns were sampled from, and where; each of them optional (data null).
template <class T>
void deform_conv2d_grad_taps(const DeformConv2dGeometry& g, ConstView<T> dy, ConstView<T> w, ConstView<T> x, ConstView<T> offset,
                             ConstView<T> mask, View<T> dx, View<T> doffset, View<T> dmask) {
  const DeformedTaps<T> where{g.taps, offset.data, mask.data};
  const index_t O = g.conv.O, Og = g.conv.group_outputs(), depth = g.depth();
  const Scratch<T> dcol = detail::column_memory<T>(g);
  if (dx) std::fill_n(dx.data, dx.size(), T(0));
  detail::for_column_blocks<T>(g, [&](index_t first, index_t last) {
    for (index_t group = 0; group < g.conv.groups; ++group)
      gemm<T>(last - first, depth, Og, {dy.data + first * O + group * Og, O}, {w.data + group * Og * depth, depth},
              dcol.data() + group * (last - first) * depth, depth);
    const TapRows<const T> q = g.columns<const T>(dcol.data(), last - first);
    if (dx) scatter_taps(where, q, first, last, dx.data);
    if (doffset || dmask) grad_taps(where, x.data, q, first, last, doffset.data, dmask.data);
  });
}

// The same on the GPU: cuda/deform_conv2d.cuh.
template <class T>
void deform_conv2d(const DeformConv2dGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> offset, ConstView<T, Cuda> mask,
                   ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y);
template <class T>
void deform_conv2d_grad_weight(const DeformConv2dGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<T, Cuda> offset,
                               ConstView<T, Cuda> mask, View<T, Cuda> dw);
template <class T>
void deform_conv2d_grad_taps(const DeformConv2dGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> x,
                             ConstView<T, Cuda> offset, ConstView<T, Cuda> mask, View<T, Cuda> dx, View<T, Cuda> doffset,
                             View<T, Cuda> dmask);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_DEFORM_CONV2D(TEMPLATE, T)                                                                                          \
  TEMPLATE void deform_conv2d(const DeformConv2dGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, View<T>); \
  TEMPLATE void deform_conv2d_grad_weight(const DeformConv2dGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, View<T>);   \
  TEMPLATE void deform_conv2d_grad_taps(const DeformConv2dGeometry&, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, ConstView<T>, \
                                        View<T>, View<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_DEFORM_CONV2D)

}  // namespace kernels
}  // namespace segnet
