// The arithmetic of 2-D convolution: sizes, index maps and checks, shared by every algorithm, pass and device.
#pragma once

#include "segnet/core/shape.hpp"
#include "segnet/kernels/conv_arithmetic.hpp"

namespace segnet {

/// How a convolution is computed. All give the same sums; `automatic` picks by shape, the others are there to be compared.
enum class ConvAlgorithm {
  automatic,
  reference,      ///< plain loops: the truth that the others are tested against
  matrix,         ///< the convolution as one explicit sparse matrix: for teaching; kernels/conv2d_matrix.hpp
  im2col_gemm,    ///< copies every patch into a row of a matrix, then one matrix product
  implicit_gemm,  ///< the same product without the copy: rows are pointers into the image
  winograd,       ///< fewer multiplications for 3 x 3 kernels with stride 1
  depthwise       ///< one input channel per output channel: groups = C = O
};

[[nodiscard]] inline const char* to_string(ConvAlgorithm algorithm) {
  constexpr const char* names[] = {"automatic", "reference", "matrix", "im2col_gemm", "implicit_gemm", "winograd", "depthwise"};
  return names[static_cast<int>(algorithm)];
}

/// The three passes of a convolution; some algorithms take a shape in one of them only.
enum class ConvPass { forward, grad_input, grad_weight };

/// Zeros around an image. One number or one Extent2 {h, w} means the same on both sides; two Extent2 are what lies before the
/// first and behind the last row and column.
struct Padding2 {
  Extent2 begin{0}, end{0};
  Padding2() = default;
  constexpr Padding2(index_t all) : begin(all), end(all) {}                       // NOLINT: `padding = 1`
  constexpr Padding2(index_t h, index_t w) : begin(h, w), end(h, w) {}            // NOLINT: `padding = {1, 2}`
  constexpr Padding2(Extent2 both_sides) : begin(both_sides), end(both_sides) {}  // NOLINT
  constexpr Padding2(Extent2 first, Extent2 last) : begin(first), end(last) {}
  friend bool operator==(const Padding2&, const Padding2&) = default;
};

/// The padding that keeps the size at stride 1, of PyTorch's padding = "same": dilation * (kernel - 1) zeros in total, half of
/// them in front (rounded down).
[[nodiscard]] constexpr Padding2 same_padding(Extent2 kernel, Extent2 dilation = 1) {
  const Extent2 total(dilation.h * (kernel.h - 1), dilation.w * (kernel.w - 1)), before(total.h / 2, total.w / 2);
  return {before, Extent2(total.h - before.h, total.w - before.w)};
}

/// Named fields: six adjacent ints are too easy to swap. `conv2d(x, w, b, {.stride = 2, .padding = 1})`
struct Conv2dOptions {
  Extent2 stride = 1;    ///< {h, w}
  Padding2 padding = 0;  ///< zeros on both sides
  Extent2 dilation = 1;  ///< 1 = dense kernel
  index_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

struct ConvTranspose2dOptions {
  Extent2 stride = 1;
  Padding2 padding = 0;        ///< of the convolution that is transposed: crops the result
  Extent2 output_padding = 0;  ///< rows and columns added at the far end, below max(stride, dilation)
  Extent2 dilation = 1;
  index_t groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

namespace kernels {

/// A convolution x [N, H, W, C] * w [O, kh, kw, C/groups] -> y [N, OH, OW, O], checked, passed everywhere by value.
struct ConvGeometry {
  index_t N, H, W, C, O, kh, kw, OH, OW, groups;
  Extent2 stride, padding, dilation;  // padding: in front; what lies behind is implied by OH and OW

  /// The input row that tap ki of output row oh reads; outside [0, H) it reads zero.
  SEGNET_HOST_DEVICE index_t input_row(index_t oh, index_t ki) const { return oh * stride.h - padding.h + ki * dilation.h; }
  SEGNET_HOST_DEVICE index_t input_column(index_t ow, index_t kj) const { return ow * stride.w - padding.w + kj * dilation.w; }

  /// The transposed question: the output row that reads input row h through tap ki, or -1.
  SEGNET_HOST_DEVICE index_t output_row(index_t h, index_t ki) const {
    const index_t t = h + padding.h - ki * dilation.h;
    return t >= 0 && t % stride.h == 0 && t / stride.h < OH ? t / stride.h : -1;
  }
  SEGNET_HOST_DEVICE index_t output_column(index_t w, index_t kj) const {
    const index_t t = w + padding.w - kj * dilation.w;
    return t >= 0 && t % stride.w == 0 && t / stride.w < OW ? t / stride.w : -1;
  }

  SEGNET_HOST_DEVICE index_t group_inputs() const { return C / groups; }   ///< input channels that an output channel reads
  SEGNET_HOST_DEVICE index_t group_outputs() const { return O / groups; }  ///< output channels that read an input channel
  SEGNET_HOST_DEVICE index_t taps() const { return kh * kw; }

  [[nodiscard]] Shape x_shape() const { return {N, H, W, C}; }
  [[nodiscard]] Shape w_shape() const { return {O, kh, kw, group_inputs()}; }
  [[nodiscard]] Shape y_shape() const { return {N, OH, OW, O}; }
};

/// Floating-point operations of one pass (forward, gradient to x, or gradient to w): two per multiply-add, taps in the padding
/// counted, as the literature does.
[[nodiscard]] inline double flops(const ConvGeometry& g) {
  return 2.0 * static_cast<double>(g.N * g.OH * g.OW) * static_cast<double>(g.O * g.taps() * g.group_inputs());
}
/// Bytes that one pass moves at least: x, w and y once each, for elements of that size.
[[nodiscard]] inline double compulsory_bytes(const ConvGeometry& g, std::size_t element_size) {
  return static_cast<double>(g.x_shape().numel() + g.w_shape().numel() + g.y_shape().numel()) * static_cast<double>(element_size);
}

namespace detail {

inline void check_at_least(std::string_view op, std::string_view argument, Extent2 e, index_t least) {
  if (e.h < least || e.w < least) throw ValueError(op, argument, concat("at least ", least), to_string(e));
}

/// What convolution and transposed convolution check alike. `inputs`, `outputs`: where the weight's channels belong.
inline void check_conv(std::string_view op, const Shape& x, const Shape& w, Extent2 stride, const Padding2& padding, Extent2 dilation,
                       index_t groups) {
  if (x.rank() != 4) throw ShapeError(op, "x", "[N, H, W, C]", x);
  if (w.rank() != 4) throw ShapeError(op, "weight", "[O, kh, kw, C/groups]", w);
  for (int i = 0; i < 4; ++i) {
    if (i > 0 && x[i] < 1) throw ShapeError(op, "x", "[N, H, W, C] with H, W, C of at least 1", x);
    if (w[i] < 1) throw ShapeError(op, "weight", "[O, kh, kw, C/groups] with sizes of at least 1", w);
  }
  check_at_least(op, "stride", stride, 1);
  check_at_least(op, "dilation", dilation, 1);
  check_at_least(op, "padding", padding.begin, 0);
  check_at_least(op, "padding", padding.end, 0);
  if (groups < 1) throw ValueError(op, "groups", "at least 1", concat(groups));
  if (w[0] % groups) throw ShapeError(op, "weight", concat("[O, kh, kw, C/groups] with O a multiple of groups = ", groups), w);
}

/// An undefined tensor has shape [0] and means: no bias.
inline void check_bias(std::string_view op, const Shape& bias, index_t channels) {
  if (bias != Shape{0} && bias != Shape{channels}) throw ShapeError(op, "bias", concat(Shape{channels}), bias);
}

struct Axes {
  ConvAxis rows, columns;
};
[[nodiscard]] inline Axes axes(const Shape& w, Extent2 stride, const Padding2& padding, Extent2 dilation) {
  return {{w[1], stride.h, {padding.begin.h, padding.end.h}, dilation.h}, {w[2], stride.w, {padding.begin.w, padding.end.w}, dilation.w}};
}

}  // namespace detail

/// Geometry of conv2d, after all checks.
/// @throws ShapeError  rank, channels, groups that do not divide them, bias, kernel larger than the padded image
/// @throws ValueError  stride, dilation or groups < 1, padding < 0
[[nodiscard]] inline ConvGeometry conv2d_geometry(std::string_view op, const Shape& x, const Shape& w, const Shape& b,
                                                  const Conv2dOptions& o) {
  detail::check_conv(op, x, w, o.stride, o.padding, o.dilation, o.groups);
  if (x[3] % o.groups) throw ShapeError(op, "x", concat("[N, H, W, C] with C a multiple of groups = ", o.groups), x);
  if (w[3] * o.groups != x[3])
    throw ShapeError(op, "weight", concat("[O, kh, kw, ", x[3] / o.groups, "] for input ", x, " with groups = ", o.groups), w);
  detail::check_bias(op, b, w[0]);
  const auto [rows, columns] = detail::axes(w, o.stride, o.padding, o.dilation);
  const Extent2 padded(rows.padded(x[1]), columns.padded(x[2])), reach(rows.reach(), columns.reach());
  if (padded.h < reach.h || padded.w < reach.w)
    throw ShapeError(op, "weight",
                     concat("a kernel within the padded image of ", padded, ", which with dilation ", o.dilation, " spans ", reach), w);
  return {.N = x[0],
          .H = x[1],
          .W = x[2],
          .C = x[3],
          .O = w[0],
          .kh = w[1],
          .kw = w[2],
          .OH = conv_size(x[1], rows),
          .OW = conv_size(x[2], columns),
          .groups = o.groups,
          .stride = o.stride,
          .padding = o.padding.begin,
          .dilation = o.dilation};
}

/// Geometry of the convolution that conv_transpose2d transposes: its output y is our input x [N, h, w, O], and its input is our
/// output, of height (h - 1)*stride - padding.begin - padding.end + dilation*(kh - 1) + output_padding + 1, width alike.
/// @throws ShapeError  as conv2d_geometry; output_padding not below max(stride, dilation); nothing left after cropping
/// @throws ValueError  as conv2d_geometry; output_padding < 0
[[nodiscard]] inline ConvGeometry conv_transpose2d_geometry(std::string_view op, const Shape& x, const Shape& w, const Shape& b,
                                                            const ConvTranspose2dOptions& o) {
  detail::check_conv(op, x, w, o.stride, o.padding, o.dilation, o.groups);
  if (x[3] != w[0]) throw ShapeError(op, "weight", concat("[", x[3], ", kh, kw, C/groups] for input ", x), w);
  detail::check_bias(op, b, w[3] * o.groups);
  const Extent2 most(std::max(o.stride.h, o.dilation.h) - 1, std::max(o.stride.w, o.dilation.w) - 1), extra = o.output_padding;
  detail::check_at_least(op, "output_padding", extra, 0);
  if (extra.h > most.h || extra.w > most.w)
    throw ShapeError(op, "output_padding",
                     concat("at most [", most.h, ", ", most.w, "], less than stride ", o.stride, " or dilation ", o.dilation),
                     {extra.h, extra.w});
  const auto [rows, columns] = detail::axes(w, o.stride, o.padding, o.dilation);
  const index_t H = rows.restored(x[1], extra.h), W = columns.restored(x[2], extra.w);
  if (H < 1 || W < 1)
    throw ShapeError(op, "x", concat("an image of which padding leaves something; a kernel of ", w[1], "x", w[2], " makes it ", H, "x", W),
                     x);
  return {.N = x[0],
          .H = H,
          .W = W,
          .C = w[3] * o.groups,
          .O = w[0],
          .kh = w[1],
          .kw = w[2],
          .OH = x[1],
          .OW = x[2],
          .groups = o.groups,
          .stride = o.stride,
          .padding = o.padding.begin,
          .dilation = o.dilation};
}

}  // namespace kernels
}  // namespace segnet
