// Where pixels lie in feature space: positions and colours in units of standard deviations, as kernels exp(-|f_i - f_j|^2 / 2) take them.
#pragma once

#include "segnet/core/tensor.hpp"

namespace segnet::crf {

/// Standard deviations in pixels, {x, y}. `sxy = 3` means both.
struct SigmaXy {
  double x, y;
  constexpr SigmaXy(double both) : x(both), y(both) {}  // NOLINT: `.sxy = 3`
  constexpr SigmaXy(double horizontal, double vertical) : x(horizontal), y(vertical) {}
};
/// Standard deviations of colours, in the image's units: 0 to 255 for bytes. `srgb = 13` means all three.
struct SigmaRgb {
  double r, g, b;
  constexpr SigmaRgb(double all) : r(all), g(all), b(all) {}  // NOLINT: `.srgb = 13`
  constexpr SigmaRgb(double red, double green, double blue) : r(red), g(green), b(blue) {}
};

namespace detail {
inline void check_sigma(const char* op, const char* argument, std::initializer_list<double> sigma) {
  for (const double s : sigma)
    if (!(s > 0)) throw ValueError(op, argument, "positive numbers", concat(s));
}
/// f[p, 0] and f[p, 1] of rows of `d` features.
template <class T>
void fill_positions(index_t H, index_t W, SigmaXy sxy, index_t d, T* f) {
  for (index_t y = 0; y < H; ++y)
    for (index_t x = 0; x < W; ++x, f += d) {
      f[0] = static_cast<T>(static_cast<double>(x) / sxy.x);
      f[1] = static_cast<T>(static_cast<double>(y) / sxy.y);
    }
}
}  // namespace detail

/// Smoothness: f = (x / sxy.x, y / sxy.y). @return [H * W, 2]   @throws ValueError: sxy
template <class T = float>
[[nodiscard]] Tensor<T> position_features(index_t H, index_t W, SigmaXy sxy) {
  detail::check_sigma("crf::position_features", "sxy", {sxy.x, sxy.y});
  Tensor<T> f({H * W, 2});
  detail::fill_positions(H, W, sxy, 2, f.data());
  return f;
}

/// Appearance: f = (x / sxy.x, y / sxy.y, r / srgb.r, g / srgb.g, b / srgb.b). Only differences matter, so a mean subtracted from the
/// image does no harm; a division by a deviation must be in srgb, too.
/// @param image [H, W, 3], bytes or real numbers   @return [H * W, 5]   @throws ShapeError: image;  ValueError: sxy, srgb
template <class T = float, class Colour>
[[nodiscard]] Tensor<T> bilateral_features(const Tensor<Colour>& image, SigmaXy sxy, SigmaRgb srgb) {
  constexpr const char* op = "crf::bilateral_features";
  if (image.rank() != 3 || image.dim(2) != 3) throw ShapeError(op, "image", "[H, W, 3]", image.shape());
  detail::check_sigma(op, "sxy", {sxy.x, sxy.y});
  detail::check_sigma(op, "srgb", {srgb.r, srgb.g, srgb.b});
  Tensor<T> f({image.dim(0) * image.dim(1), 5});
  detail::fill_positions(image.dim(0), image.dim(1), sxy, 5, f.data());
  const double sigma[] = {srgb.r, srgb.g, srgb.b};
  for (index_t p = 0; p < f.dim(0); ++p)
    for (index_t c = 0; c < 3; ++c) f.data()[5 * p + 2 + c] = static_cast<T>(static_cast<double>(image.data()[3 * p + c]) / sigma[c]);
  return f;
}

}  // namespace segnet::crf
