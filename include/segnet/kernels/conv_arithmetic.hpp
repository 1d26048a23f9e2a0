// The arithmetic of sizes: what a convolution makes of an axis, which sizes it takes for the same, and what a stack of layers sees.
// Notation: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.
#pragma once

#include <vector>

#include "segnet/core/shape.hpp"

namespace segnet {

/// Zeros before and behind an axis. One number means as many on both sides.
struct Padding1 {
  index_t begin = 0, end = 0;
  Padding1() = default;
  constexpr Padding1(index_t both) : begin(both), end(both) {}  // NOLINT: `padding = 1`
  constexpr Padding1(index_t first, index_t last) : begin(first), end(last) {}
  friend bool operator==(const Padding1&, const Padding1&) = default;
};

/// A convolution or pooling along one axis; axes are independent of each other.
struct ConvAxis {
  index_t kernel = 1, stride = 1;
  Padding1 padding = 0;
  index_t dilation = 1;  ///< 1 = dense kernel

  /// Inputs from a window's first to its last: the effective kernel, k + (k - 1)(d - 1).
  [[nodiscard]] constexpr index_t reach() const { return dilation * (kernel - 1) + 1; }
  [[nodiscard]] constexpr index_t padded(index_t in) const { return in + padding.begin + padding.end; }
  /// The smallest input that gives `out`, s(o - 1) + k_e - 2p, and `more`. Not positive where padding alone gives that output.
  [[nodiscard]] constexpr index_t restored(index_t out, index_t more = 0) const {
    return (out - 1) * stride + reach() - padding.begin - padding.end + more;
  }
  /// The output padding with which the transposed convolution leads from conv_size(in) back to `in`, and no other size.
  [[nodiscard]] constexpr index_t rest(index_t in) const { return (padded(in) - reach()) % stride; }
};

/// "kernel 3, stride 2, padding 1, dilation 1"; asymmetric padding is "padding 0:1".
[[nodiscard]] inline std::string to_string(const ConvAxis& a) {
  const std::string end = a.padding.end == a.padding.begin ? "" : concat(":", a.padding.end);
  return concat("kernel ", a.kernel, ", stride ", a.stride, ", padding ", a.padding.begin, end, ", dilation ", a.dilation);
}

namespace detail {
inline void check_axis(std::string_view op, const ConvAxis& a) {
  const auto least = [op](std::string_view argument, index_t value, index_t bound) {
    if (value < bound) throw ValueError(op, argument, concat("at least ", bound), concat(value));
  };
  least("kernel", a.kernel, 1);
  least("stride", a.stride, 1);
  least("dilation", a.dilation, 1);
  least("padding", a.padding.begin < a.padding.end ? a.padding.begin : a.padding.end, 0);
}
}  // namespace detail

/// Output size of a convolution, o = floor((i + 2p - k_e) / s) + 1 with k_e = d(k - 1) + 1.
/// @throws ValueError  in < 1, kernel, stride or dilation < 1, padding < 0, kernel larger than the padded input
[[nodiscard]] inline index_t conv_size(index_t in, const ConvAxis& a) {
  detail::check_axis("conv_size", a);
  if (in < 1) throw ValueError("conv_size", "in", "at least 1", concat(in));
  if (a.padded(in) < a.reach())
    throw ValueError("conv_size", "kernel", concat("within the padded input of ", a.padded(in)), concat("one that spans ", a.reach()));
  return (a.padded(in) - a.reach()) / a.stride + 1;
}

/// Output size of the convolution's transpose, o = s(i - 1) + k_e - 2p + q with output padding q.
/// @throws ValueError  as conv_size; q not in [0, max(s, d)); nothing left after cropping
[[nodiscard]] inline index_t conv_transpose_size(index_t in, const ConvAxis& a, index_t output_padding = 0) {
  detail::check_axis("conv_transpose_size", a);
  if (in < 1) throw ValueError("conv_transpose_size", "in", "at least 1", concat(in));
  const index_t limit = a.stride > a.dilation ? a.stride : a.dilation;
  if (output_padding < 0 || output_padding >= limit)
    throw ValueError("conv_transpose_size", "output_padding", concat("at least 0 and less than max(stride, dilation) = ", limit),
                     concat(output_padding));
  const index_t out = a.restored(in, output_padding);
  if (out < 1) throw ValueError("conv_transpose_size", "padding", "less than what the kernel adds", concat("an output of ", out));
  return out;
}

/// Sizes first, first + 1, ..., last.
struct SizeRange {
  index_t first, last;
};

/// The input sizes that the convolution maps to `out`: at most `stride` of them. The transposed convolution restores size n with
/// output padding n - restored(out) = rest(n).
/// @throws ValueError  out < 1, no input has this output, axis as in conv_size
[[nodiscard]] inline SizeRange conv_input_sizes(index_t out, const ConvAxis& a) {
  detail::check_axis("conv_input_sizes", a);
  if (out < 1) throw ValueError("conv_input_sizes", "out", "at least 1", concat(out));
  const index_t first = a.restored(out), last = a.restored(out, a.stride - 1);
  if (last < 1)
    throw ValueError("conv_input_sizes", "out", concat("at least ", conv_size(1, a), ", which an input of 1 gives"), concat(out));
  return {first < 1 ? 1 : first, last};
}

/// What one output of a stack of layers sees of the input, along one axis.
struct ReceptiveField {
  index_t size = 1;   ///< inputs from the first to the last that an output depends on
  index_t jump = 1;   ///< inputs between the fields of neighbouring outputs: the product of the strides
  index_t first = 0;  ///< first input of output 0; negative: that far in the padding

  /// Where the field of output o is centred; input pixels have their centres at integers.
  [[nodiscard]] double centre(index_t o = 0) const { return static_cast<double>(first + o * jump) + static_cast<double>(size - 1) / 2; }
  friend bool operator==(const ReceptiveField&, const ReceptiveField&) = default;
};

/// The field behind one more layer: r + (k_e - 1) j, and j s. @throws ValueError  axis as in conv_size
[[nodiscard]] inline ReceptiveField receptive_field(const ReceptiveField& before, const ConvAxis& layer) {
  detail::check_axis("receptive_field", layer);
  return {before.size + (layer.reach() - 1) * before.jump, before.jump * layer.stride, before.first - layer.padding.begin * before.jump};
}
/// Of layers in the order in which they are applied.
[[nodiscard]] inline ReceptiveField receptive_field(const std::vector<ConvAxis>& layers) {
  ReceptiveField field;
  for (const ConvAxis& layer : layers) field = receptive_field(field, layer);
  return field;
}

}  // namespace segnet
