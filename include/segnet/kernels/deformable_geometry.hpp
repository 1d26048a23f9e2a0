// Where the taps of deformable operators read, on both devices: DCNv1 (Dai et al., arXiv:1703.06211), DCNv2 (Zhu et al.,
// arXiv:1811.11168), DCNv3 (Wang et al., arXiv:2211.05778) and DCNv4 (Xiong et al., arXiv:2401.06197). They differ in the order of their
// taps and offsets, in a scale, and in how offsets and modulation scalars lie in memory.
#pragma once

#include "segnet/kernels/bilinear_sample.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::kernels {

/// Which of the two orders: of a kernel's taps, and of the two numbers of an offset.
enum class TapOrder {
  rows,    ///< v1, v2: taps row by row, offsets (y, x)
  columns  ///< v3, v4: taps column by column, offsets (x, y)
};

/// An image [N, H, W, C] whose channels come in `groups`, each read at `taps()` points per output pixel of [N, OH, OW].
struct DeformableGeometry {
  index_t N, H, W, C, OH, OW, groups, kh, kw;
  Extent2 stride, padding, dilation;
  TapOrder order = TapOrder::rows;
  bool remove_center = false;  ///< without the tap in the middle
  Extent2 centre = 0;          ///< of the kernel, in pixels from its first tap: what `scale` is about
  double scale = 1;            ///< of the kernel's grid and the offsets alike
  // Strides, in elements, of the tensors that hold offsets [pixel][group][tap][2] and scalars [pixel][group][tap].
  index_t offset_pixel = 0, offset_group = 0, mask_pixel = 0, mask_group = 0;

  /// Offsets and scalars of a pixel without gaps, so many numbers a group each.
  void set_layout(index_t offsets, index_t scalars) {
    offset_group = offsets, offset_pixel = groups * offsets;
    mask_group = scalars, mask_pixel = groups * scalars;
  }

  SEGNET_HOST_DEVICE index_t taps() const { return kh * kw - remove_center; }
  SEGNET_HOST_DEVICE index_t group_channels() const { return C / groups; }
  SEGNET_HOST_DEVICE index_t pixels() const { return N * OH * OW; }

  /// Which of a pair of numbers is the vertical one.
  SEGNET_HOST_DEVICE int vertical() const { return order == TapOrder::columns; }

  /// Distances of tap k from the centre, in pixels.
  SEGNET_HOST_DEVICE index_t tap_row(index_t k) const {
    const index_t i = in_kernel(k);
    return (order == TapOrder::rows ? i / kw : i % kh) * dilation.h - centre.h;
  }
  SEGNET_HOST_DEVICE index_t tap_column(index_t k) const {
    const index_t i = in_kernel(k);
    return (order == TapOrder::rows ? i % kw : i / kh) * dilation.w - centre.w;
  }
  /// The pixel of the image that the centre stands on.
  SEGNET_HOST_DEVICE index_t centre_row(index_t oh) const { return oh * stride.h - padding.h + centre.h; }
  SEGNET_HOST_DEVICE index_t centre_column(index_t ow) const { return ow * stride.w - padding.w + centre.w; }

  /// What a tap at that distance from the centre reads for output pixel (oh, ow), displaced by `first` and `second`. M: float or double.
  template <class M>
  SEGNET_HOST_DEVICE BilinearPoint<M> point(index_t oh, index_t ow, index_t row, index_t column, M first, M second) const {
    const M s = static_cast<M>(scale), v = vertical() ? second : first, u = vertical() ? first : second;
    return {static_cast<M>(centre_row(oh)) + s * (static_cast<M>(row) + v),
            static_cast<M>(centre_column(ow)) + s * (static_cast<M>(column) + u), static_cast<std::int32_t>(H),
            static_cast<std::int32_t>(W)};
  }
  /// f(k, tap_row(k), tap_column(k)) for all taps, without their divisions.
  template <class F>
  SEGNET_HOST_DEVICE void for_each_tap(const F& f) const {
    const bool by_rows = order == TapOrder::rows;
    index_t k = 0;
    for (index_t i = 0; i < (by_rows ? kh : kw); ++i)
      for (index_t j = 0; j < (by_rows ? kw : kh); ++j) {
        if (remove_center && i == kh / 2 && j == kh / 2) continue;
        f(k++, (by_rows ? i : j) * dilation.h - centre.h, (by_rows ? j : i) * dilation.w - centre.w);
      }
  }

 private:
  /// The number of tap k among those of the whole kernel.
  SEGNET_HOST_DEVICE index_t in_kernel(index_t k) const { return k + (remove_center && k >= kh * kw / 2); }
};

/// The geometry of a convolution, read at displaced taps in that many groups of channels.
/// @throws ValueError: groups < 1;  ShapeError: channels that are no multiple, an image beyond 32 bits
[[nodiscard]] inline DeformableGeometry deformable_geometry(std::string_view op, const ConvGeometry& c, index_t groups) {
  const Shape x = c.x_shape();
  if (groups < 1) throw ValueError(op, "groups", "at least 1", concat(groups));
  if (c.C % groups) throw ShapeError(op, "x", concat("[N, H, W, C] with C a multiple of groups = ", groups), x);
  if (c.H * c.W * c.C >> 31) throw ShapeError(op, "x", "[N, H, W, C] with H * W * C below 2^31", x);
  return {.N = c.N,
          .H = c.H,
          .W = c.W,
          .C = c.C,
          .OH = c.OH,
          .OW = c.OW,
          .groups = groups,
          .kh = c.kh,
          .kw = c.kw,
          .stride = c.stride,
          .padding = c.padding,
          .dilation = c.dilation};
}

/// Rows of channels that belong to (pixel, tap): columns of a matrix product, or one row for all taps of a pixel (tap = 0).
template <class T>
struct TapRows {
  T* data;
  index_t pixel, tap;     ///< strides
  index_t channels, set;  ///< channels that lie together, and the stride to the next so many (a convolution's groups)

  SEGNET_HOST_DEVICE T* at(index_t p, index_t k, index_t c) const {
    return data + p * pixel + k * tap + (channels ? c / channels * set + c % channels : c);
  }
};

}  // namespace segnet::kernels
