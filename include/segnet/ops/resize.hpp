// Resizing by interpolation. Same conventions as torch.nn.functional.interpolate.
#pragma once

#include "segnet/autograd/backward.hpp"
#include "segnet/kernels/resize.hpp"

namespace segnet {

/// Factors {h, w} of a resizing. `scale_factor = 2` means both.
struct Scale2 {
  double h = 0, w = 0;
  Scale2() = default;
  constexpr Scale2(double both) : h(both), w(both) {}  // NOLINT: `scale_factor = 2`
  constexpr Scale2(double height, double width) : h(height), w(width) {}
};

/// `interpolate(x, {.scale_factor = 2, .mode = InterpolateMode::bilinear})`
struct InterpolateOptions {
  Extent2 size = 0;          ///< {h, w} of the result; 0: use scale_factor
  Scale2 scale_factor = {};  ///< result floor(input * factor); 0: use size
  InterpolateMode mode = InterpolateMode::nearest;
  bool align_corners = false;           ///< bilinear, bicubic: corner centres meet corner centres
  bool recompute_scale_factor = false;  ///< step by the ratio of the sizes, not by 1 / scale_factor
};

namespace detail {

[[nodiscard]] inline kernels::ResizeAxis resize_axis(const Shape& x, index_t in, index_t size, double factor, const InterpolateOptions& o) {
  const bool by_size = size != 0;
  if (by_size == (factor != 0)) throw ValueError("interpolate", "size, scale_factor", "exactly one of them", by_size ? "both" : "neither");
  if (by_size ? size < 1 : !(factor > 0))
    throw ValueError("interpolate", by_size ? "size" : "scale_factor", "a positive number", by_size ? concat(size) : concat(factor));
  const index_t out = by_size ? size : static_cast<index_t>(static_cast<double>(in) * factor);
  if (in < 1 || out < 1) throw ShapeError("interpolate", "x", concat("an image that gives at least one pixel, not ", in, " -> ", out), x);
  double scale = by_size || o.recompute_scale_factor ? static_cast<double>(in) / static_cast<double>(out) : 1 / factor;
  if (o.align_corners) scale = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  return {in, out, scale, o.mode, o.align_corners};
}

}  // namespace detail

/// Resizes images, x seen as samples at pixel centres. Output i reads the input around
///
///   source(i) = (i + 1/2) * scale - 1/2,  scale = in / out,  or 1 / scale_factor if that was given     (edges meet edges)
///   source(i) = i * (in - 1) / (out - 1)                                                 (align_corners: centres meet centres)
///
/// nearest: floor(i * scale). nearest_exact: floor((i + 1/2) * scale). bilinear: source at least 0, weights 1 - t and t of its two
/// neighbours. bicubic: four neighbours each way, those outside replaced by the border.
/// @param x [N, H, W, C], or a sequence [N, L, C], which is an image of height 1 (bilinear is `linear` then; only w counts)
/// @return  [N, OH, OW, C] or [N, OL, C], by size or by scale_factor
/// @throws  ShapeError: rank, an empty image or result; ValueError: not exactly one of size and scale_factor, not positive,
///          align_corners with a nearest mode
/// Gradient to x: the transposed matrices, in gather form; same bits for any number of threads. Keeps nothing of x.
template <class T, class D>
[[nodiscard]] Tensor<T, D> interpolate(const Tensor<T, D>& x, const InterpolateOptions& options) {
  if (x.rank() != 3 && x.rank() != 4) throw ShapeError("interpolate", "x", "[N, H, W, C] or [N, L, C]", x.shape());
  if (options.align_corners && (options.mode == InterpolateMode::nearest || options.mode == InterpolateMode::nearest_exact))
    throw ValueError("interpolate", "align_corners", concat("false with mode ", to_string(options.mode)), "true");
  const bool image = x.rank() == 4;
  const index_t N = x.dim(0), H = image ? x.dim(1) : 1, W = x.dim(-2), C = x.dim(-1);
  const auto w = detail::resize_axis(x.shape(), W, options.size.w, options.scale_factor.w, options);
  const auto h = image ? detail::resize_axis(x.shape(), H, options.size.h, options.scale_factor.h, options)
                       : kernels::ResizeAxis{1, 1, 1, InterpolateMode::nearest};
  const View<T, D> input{x.data(), {N, H, W, C}};
  const Tensor<T, D> y(image ? Shape{N, h.out, w.out, C} : Shape{N, w.out, C});
  kernels::resample(h, w, input, View<T, D>{y.data(), {N, h.out, w.out, C}});
  return record("interpolate", y, {x}, [=](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::resample_backward(h, w, View<T, D>{dy.data(), {N, h.out, w.out, C}}, View<T, D>{grad[0].data(), {N, H, W, C}});
  });
}

/// `interpolate` of images to a size {h, w}: what segmentation heads do to their logits.
template <class T, class D>
[[nodiscard]] Tensor<T, D> resize(const Tensor<T, D>& x, Extent2 size, InterpolateMode mode = InterpolateMode::bilinear,
                                  bool align_corners = false) {
  return interpolate(x, {.size = size, .mode = mode, .align_corners = align_corners});
}

}  // namespace segnet
