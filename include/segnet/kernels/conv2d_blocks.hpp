// Convolutions with few channels on the side that is written: a vector of 16 lanes would be filled by 3 numbers of a pixel.
//
// A block of neighbouring pixels is computed at once instead, its pixels and channels side by side in a vector, from the union of what they
// read. Taps that a pixel does not have are weights of zero: multiplications for nothing, but fewer than the lanes they save.
// In the gradient of a convolution with stride, a block holds pixels of all phases.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::kernels {

/// Along one axis: block u holds coordinates u * size + i, i < size. Tap k brings source u * step + offset(i, k) to it.
struct BlockAxis {
  index_t size, step;
  index_t kernel, stride, padding, dilation;
  bool back;  ///< the gradient to the input, whose source is dy

  BlockAxis(index_t block, index_t kernel_size, index_t s, index_t p, index_t d, bool backward)
      : size(block), step(backward ? block / s : block * s), kernel(kernel_size), stride(s), padding(p), dilation(d), back(backward) {}

  /// Whether tap k reaches coordinate i; where not, its stride falls beside it.
  bool reaches(index_t i, index_t k) const { return !back || (i + padding - k * dilation) % stride == 0; }
  index_t offset(index_t i, index_t k) const { return back ? (i + padding - k * dilation) / stride : i * stride - padding + k * dilation; }
  /// What a block reads, rising.
  std::vector<index_t> offsets() const {
    std::vector<index_t> all;
    for (index_t i = 0; i < size; ++i)
      for (index_t k = 0; k < kernel; ++k)
        if (reaches(i, k)) all.push_back(offset(i, k));
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }
};

/// A block, and how well it uses the multipliers; 1 x 1 is the convolution as it is.
struct ConvBlock {
  Extent2 size{1, 1};
  double efficiency = 0;  ///< the share of multiplications that are wanted, less if tiles are narrow

  static BlockAxis rows(const ConvGeometry& g, index_t size, bool back) {
    return {size, g.kh, g.stride.h, g.padding.h, g.dilation.h, back};
  }
  static BlockAxis columns(const ConvGeometry& g, index_t size, bool back) {
    return {size, g.kw, g.stride.w, g.padding.w, g.dilation.w, back};
  }
};

/// The block that wastes least with vectors of that many lanes, two of which make a panel.
[[nodiscard]] inline ConvBlock best_block(const ConvGeometry& g, bool back, index_t lanes) {
  const index_t channels = back ? g.group_inputs() : g.group_outputs();
  const auto filled = [&](index_t columns) {
    const index_t vectors = (columns + lanes - 1) / lanes;
    constexpr double narrow = 0.65;  // one multiplication for each load
    return (vectors == 1 ? narrow : 1) * static_cast<double>(columns) / static_cast<double>(vectors * lanes);
  };
  ConvBlock best{1, filled(channels)};
  if (g.groups > 1 || channels > lanes || g.taps() == 1) return best;
  const Extent2 least = back ? g.stride : Extent2(1);
  const double taps = static_cast<double>(g.taps()) / (back ? static_cast<double>(g.stride.h * g.stride.w) : 1);
  const double worth = 1.1 * best.efficiency;  // blocks are written in two steps
  for (index_t h = least.h; h * least.w * channels <= 2 * lanes; h += least.h)
    for (index_t w = least.w; h * w * channels <= 2 * lanes; w += least.w) {
      const auto read = ConvBlock::rows(g, h, back).offsets().size() * ConvBlock::columns(g, w, back).offsets().size();
      const double efficiency = filled(h * w * channels) * taps / static_cast<double>(std::max<std::size_t>(read, 1));
      if (efficiency > std::max(best.efficiency, worth)) best = {{h, w}, efficiency};
    }
  return best;
}

}  // namespace segnet::kernels
