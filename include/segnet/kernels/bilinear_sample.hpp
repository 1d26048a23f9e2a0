// Reading an image between its pixels, as deformable convolution, deformable attention and grid sampling do.
//
// Pixel centres are integers, (0, 0) is the first. What is outside the image counts as 0, pixel by pixel, so values fade linearly over the
// one pixel around it: a point gives something within (-1, H) x (-1, W), and has a derivative (to the right) at -1. (RoIAlign's sampler
// clamps instead.)
#pragma once

#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

/// A coordinate along an axis of `size` >= 1 pixels: its two neighbours, their weights, and the derivatives of the weights.
/// Along both axes value = sum over i, j of y.weight[i] * x.weight[j] * image[y.index[i]][x.index[j]], and d value / d y has y.slope in the
/// place of y.weight. T: what coordinates are computed in, float or double. Without branches: a loop over coordinates vectorises.
template <class T>
struct BilinearAxis {
  std::int32_t index[2];  ///< floor(at) and the next one, clamped into [0, size): may always be read
  T weight[2];            ///< 1 - t and t; 0 for a neighbour outside the image
  bool reaches;           ///< whether the coordinate is within [-1, size), or NaN
  T slope[2];             ///< -1 and 1, the derivative to the right at integers; 0 for a neighbour outside the image

  /// NaN has weights and slopes of NaN, at pixel 0.
  SEGNET_INLINE SEGNET_HOST_DEVICE BilinearAxis(T at, std::int32_t size) {
    const T end = static_cast<T>(size), inside = math::select(at > T(-1), math::select(at < end, at, end), T(-1));  // NaN: -1
    std::int32_t i = static_cast<std::int32_t>(inside);
    i -= static_cast<T>(i) > inside;  // floor
    const T t = inside - static_cast<T>(i), nothing = math::select(at == at, T(0), at);
    const bool first = (i >= 0) & (i < size), second = (at >= T(-1)) & (i + 1 < size);
    reaches = ((at >= T(-1)) & (at < end)) | (at != at);
    index[0] = i < 0 ? 0 : i < size ? i : size - 1;
    index[1] = i + 1 < size ? i + 1 : size - 1;
    weight[0] = math::select(first, 1 - t, nothing);
    weight[1] = math::select(second, t, nothing);
    slope[0] = math::select(first, T(-1), nothing);
    slope[1] = math::select(second, T(1), nothing);
  }
};

/// A point of an image [H, W]. Its corners are (y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1), numbered 0 to 3.
template <class T>
struct BilinearPoint {
  BilinearAxis<T> y, x;

  SEGNET_INLINE SEGNET_HOST_DEVICE BilinearPoint(T at_y, T at_x, std::int32_t H, std::int32_t W) : y(at_y, H), x(at_x, W) {}

  /// Whether it gives anything at all. Who does not look need not: the weights say the same, unless something is not finite.
  [[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE bool reaches() const { return y.reaches & x.reaches; }
  /// The number of a corner's pixel in the image, row by row: times C it is the offset of its first channel.
  [[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE index_t pixel(int corner, index_t W) const {
    return y.index[corner / 2] * W + x.index[corner % 2];
  }
  [[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE T weight(int corner) const { return y.weight[corner / 2] * x.weight[corner % 2]; }
  /// Derivatives of the weight.
  [[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE T slope_y(int corner) const { return y.slope[corner / 2] * x.weight[corner % 2]; }
  [[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE T slope_x(int corner) const { return y.weight[corner / 2] * x.slope[corner % 2]; }
};

}  // namespace segnet::kernels
