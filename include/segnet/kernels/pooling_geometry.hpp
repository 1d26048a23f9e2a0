// Windows of pooling: sizes, checks, and which outputs and inputs meet, shared by every pooling, pass and device.
#pragma once

#include "segnet/core/shape.hpp"

namespace segnet {

/// `max_pool2d(x, {.kernel = 3, .stride = 2, .padding = 1})`
struct Pool2dOptions {
  Extent2 kernel = 2;           ///< {h, w}
  Extent2 stride = 0;           ///< 0: as large as the kernel
  Extent2 padding = 0;          ///< minus infinity on both sides, at most half of the (dilated) kernel
  Extent2 dilation = 1;         ///< 1 = dense window
  bool ceil_mode = false;       ///< also a last window that reaches beyond the padded image, if it starts inside it
  bool return_indices = false;  ///< max_pool2d: whether anybody wants the positions of the maxima
};

/// `avg_pool2d(x, {.kernel = 2})`
struct AvgPool2dOptions {
  Extent2 kernel = 2;             ///< {h, w}
  Extent2 stride = 0;             ///< 0: as large as the kernel
  Extent2 padding = 0;            ///< zeros on both sides, at most half of the kernel
  bool ceil_mode = false;         ///< also a last window that reaches beyond the padded image, if it starts inside it
  bool count_include_pad = true;  ///< whether the mean counts the zeros of the padding
  index_t divisor_override = 0;   ///< divides the sum by this instead; 0: by the number of elements
};

namespace kernels {

/// Windows along one axis: which inputs an output reads, and which outputs read an input.
struct PoolAxis {
  index_t in, out;
  index_t kernel = 0;  ///< 0: adaptive, cell o covers [floor(o * in / out), ceil((o + 1) * in / out))
  index_t stride = 1, padding = 0, dilation = 1;

  struct Range {
    index_t begin, end;
  };

  /// Output o reads the inputs begin, begin + dilation, ... before end. All lie in the image; there may be none.
  SEGNET_HOST_DEVICE Range window(index_t o) const {
    if (kernel == 0) return {o * in / out, ((o + 1) * in + out - 1) / out};
    index_t begin = o * stride - padding;
    const index_t end = begin + (kernel - 1) * dilation + 1;
    if (begin < 0) begin += (dilation - 1 - begin) / dilation * dilation;
    return {begin, end < in ? end : in};
  }
  /// The outputs whose windows span input i (with a dilation they may step over it). An adaptive cell map is transposed by
  /// swapping `in` and `out`: i < ceil((o + 1) in / out) and floor(o in / out) <= i say the same about o.
  SEGNET_HOST_DEVICE Range outputs(index_t i) const {
    if (kernel == 0) return {i * out / in, ((i + 1) * out + in - 1) / in};
    const index_t first = i + padding - (kernel - 1) * dilation, end = (i + padding) / stride + 1;
    return {first <= 0 ? 0 : (first + stride - 1) / stride, end < out ? end : out};
  }
  /// How many elements an average counts: those in the image, or (`padded`) in the padded image; never any beyond that.
  SEGNET_HOST_DEVICE index_t count(index_t o, bool padded) const {
    if (!padded || kernel == 0) {
      const Range r = window(o);
      return r.end > r.begin ? (r.end - r.begin + dilation - 1) / dilation : 0;
    }
    const index_t begin = o * stride - padding, end = begin + kernel;
    return (end < in + padding ? end : in + padding) - begin;
  }
};

/// A pooling x [N, h.in, w.in, C] -> y [N, h.out, w.out, C], checked, passed everywhere by value.
struct PoolGeometry {
  index_t N, C;
  PoolAxis h, w;

  [[nodiscard]] Shape input_shape() const { return {N, h.in, w.in, C}; }
  [[nodiscard]] Shape output_shape() const { return {N, h.out, w.out, C}; }
};

namespace detail {

[[nodiscard]] inline PoolAxis pool_axis(const char* op, const Shape& x, index_t in, index_t kernel, index_t stride, index_t padding,
                                        index_t dilation, bool ceil_mode) {
  if (kernel < 1) throw ValueError(op, "kernel", "at least 1", concat(kernel));
  if (stride == 0) stride = kernel;
  if (stride < 1) throw ValueError(op, "stride", "at least 1, or 0 for the kernel's size", concat(stride));
  if (dilation < 1) throw ValueError(op, "dilation", "at least 1", concat(dilation));
  const index_t reach = (kernel - 1) * dilation + 1;
  if (padding < 0 || 2 * padding > reach)
    throw ValueError(op, "padding", concat("between 0 and half of the window's extent ", reach), concat(padding));
  const index_t room = in + 2 * padding - reach + (ceil_mode ? stride - 1 : 0);
  if (in < 1 || room < 0)
    throw ShapeError(op, "x", concat("an image of at least the window's extent ", reach, " when padded by ", padding), x);
  index_t out = room / stride + 1;
  if ((out - 1) * stride >= in + padding) --out;  // ceil_mode: a window must start in the image or the padding before it
  return {in, out, kernel, stride, padding, dilation};
}

inline void check_image(const char* op, const Shape& x) {
  if (x.rank() != 4) throw ShapeError(op, "x", "[N, H, W, C]", x);
}

}  // namespace detail

/// All checks of a pooling with a kernel. @throws ShapeError, ValueError
[[nodiscard]] inline PoolGeometry pool2d_geometry(const char* op, const Shape& x, const Pool2dOptions& o) {
  detail::check_image(op, x);
  return {x[0], x[3], detail::pool_axis(op, x, x[1], o.kernel.h, o.stride.h, o.padding.h, o.dilation.h, o.ceil_mode),
          detail::pool_axis(op, x, x[2], o.kernel.w, o.stride.w, o.padding.w, o.dilation.w, o.ceil_mode)};
}
/// All checks of a pooling to a given size. @throws ShapeError, ValueError
[[nodiscard]] inline PoolGeometry adaptive_pool2d_geometry(const char* op, const Shape& x, Extent2 output_size) {
  detail::check_image(op, x);
  if (output_size.h < 1 || output_size.w < 1) throw ValueError(op, "output_size", "at least 1x1", to_string(output_size));
  if (x[1] < 1 || x[2] < 1) throw ShapeError(op, "x", "an image of at least 1x1", x);
  return {x[0], x[3], {x[1], output_size.h}, {x[2], output_size.w}};
}

/// The mean at output (oh, ow) divides by rows(oh) * columns(ow): an empty window counts 1 and has the mean 0.
struct PoolDivisor {
  bool padded = false;
  index_t override = 0;

  template <class T>
  SEGNET_HOST_DEVICE T rows(const PoolAxis& h, index_t oh) const {
    return static_cast<T>(override ? override : at_least_one(h.count(oh, padded)));
  }
  template <class T>
  SEGNET_HOST_DEVICE T columns(const PoolAxis& w, index_t ow) const {
    return static_cast<T>(override ? 1 : at_least_one(w.count(ow, padded)));
  }

 private:
  SEGNET_HOST_DEVICE static index_t at_least_one(index_t n) { return n > 1 ? n : 1; }
};

}  // namespace kernels
}  // namespace segnet
