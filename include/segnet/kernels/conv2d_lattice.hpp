// Convolutions as matrix products whose operands are gathered, in 32-bit numbers and one axis of the image at a time: the index
// arithmetic of kernels that have no time for divisions.
//
// The forward pass reads x over a lattice of output pixels. The gradient to the input is the same question with dy as the image: for
// stride s it falls into s.h * s.w lattices, one per phase of the input pixel, each with the taps that reach that phase.
#pragma once

#include <numeric>

#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::kernels {

/// Along one axis: output coordinate out_first + u * out_step, 0 <= u < size, is a sum over taps i, 0 <= i < taps, of the source
/// at u * step + origin + i * spacing times tap first + i * period of the kernel.
struct LatticeAxis {
  int size, out_first, out_step;
  int step, origin, spacing;
  int taps, first, period;

  SEGNET_HOST_DEVICE int source(int u, int i) const { return u * step + origin + i * spacing; }
  SEGNET_HOST_DEVICE int out(int u) const { return out_first + u * out_step; }
  SEGNET_HOST_DEVICE int tap(int i) const { return first + i * period; }
};

[[nodiscard]] inline LatticeAxis forward_axis(index_t out_size, index_t kernel, index_t stride, index_t padding, index_t dilation) {
  return {.size = static_cast<int>(out_size),
          .out_first = 0,
          .out_step = 1,
          .step = static_cast<int>(stride),
          .origin = static_cast<int>(-padding),
          .spacing = static_cast<int>(dilation),
          .taps = static_cast<int>(kernel),
          .first = 0,
          .period = 1};
}

/// The input coordinates phase, phase + stride, ... below in_size, as sums over the output. Tap k reaches them if phase + padding -
/// k * dilation is a multiple of the stride: every stride / gcd(stride, dilation)-th tap, or none.
[[nodiscard]] inline LatticeAxis phase_axis(index_t in_size, index_t kernel, index_t stride, index_t padding, index_t dilation,
                                            index_t phase) {
  const index_t period = stride / std::gcd(stride, dilation);
  index_t first = 0;
  while (first < period && (phase + padding - first * dilation) % stride != 0) ++first;
  const bool reached = first < period && first < kernel;
  return {.size = static_cast<int>(phase < in_size ? (in_size - phase + stride - 1) / stride : 0),
          .out_first = static_cast<int>(phase),
          .out_step = static_cast<int>(stride),
          .step = 1,
          .origin = static_cast<int>(reached ? (phase + padding - first * dilation) / stride : 0),
          .spacing = static_cast<int>(-(period * dilation) / stride),
          .taps = static_cast<int>(reached ? (kernel - first + period - 1) / period : 0),
          .first = static_cast<int>(first),
          .period = static_cast<int>(period)};
}

/// A number in mixed radix, (image, row, column) or (tap row, tap column, channel), which moves by addition: no division in a loop.
struct Digits {
  int high, middle, low;
};
SEGNET_HOST_DEVICE inline Digits digits(int number, int middle_size, int low_size) {
  return {number / low_size / middle_size, number / low_size % middle_size, number % low_size};
}
/// a + b, both with digits below their sizes.
SEGNET_HOST_DEVICE inline Digits add(Digits a, Digits b, int middle_size, int low_size) {
  a.low += b.low;
  a.middle += b.middle;
  a.high += b.high;
  if (a.low >= low_size) {
    a.low -= low_size;
    ++a.middle;
  }
  if (a.middle >= middle_size) {
    a.middle -= middle_size;
    ++a.high;
  }
  return a;
}

/// Whether 32 bits hold every pixel index, every tap's offset and every number between, with `channels` a bound on those per group.
[[nodiscard]] inline bool fits_32_bits(const ConvGeometry& g, index_t input_channels, index_t output_channels) {
  constexpr index_t most = (index_t{1} << 31) - (index_t{1} << 20), far = index_t{1} << 28;
  const auto bounded = [](std::initializer_list<index_t> factors, index_t bound) {
    index_t product = 1;
    for (const index_t f : factors) {
      if (f != 0 && product > bound / f) return false;
      product *= f;
    }
    return product <= bound;
  };
  // Coordinates before and behind the image, too: none is further out than all of these together.
  for (const index_t n : {g.H, g.W, g.OH, g.OW, g.kh, g.kw, g.stride.h, g.stride.w, g.padding.h, g.padding.w, g.dilation.h, g.dilation.w})
    if (n > far) return false;
  if (!bounded({g.OH, g.stride.h}, far) || !bounded({g.OW, g.stride.w}, far) || !bounded({g.kh, g.dilation.h}, far) ||
      !bounded({g.kw, g.dilation.w}, far))
    return false;
  const index_t h = std::max(g.H, g.OH), w = std::max(g.W, g.OW);
  const index_t beyond_h = g.H + g.padding.h + g.OH * g.stride.h + g.kh * g.dilation.h;
  const index_t beyond_w = g.W + g.padding.w + g.OW * g.stride.w + g.kw * g.dilation.w;
  if (!bounded({g.N, h}, most) || !bounded({g.N * h + beyond_h, w}, most) || (g.N * h + beyond_h) * w + beyond_w > most) return false;
  return bounded({g.groups, input_channels}, far) && bounded({g.groups, output_channels}, far) &&
         bounded({g.taps(), std::max(input_channels, output_channels)}, far) && bounded({output_channels, g.taps(), input_channels}, most);
}

}  // namespace segnet::kernels
