// Pooling: images get smaller, window by window, and (unpooling) larger again. Same conventions as torch.nn.functional.
#pragma once

#include <cstdint>

#include "segnet/autograd/backward.hpp"
#include "segnet/kernels/pooling.hpp"

namespace segnet {

/// `auto [y, indices] = max_pool2d(x, {.kernel = 2, .return_indices = true});`
template <class T, class D = Cpu>
struct MaxPool2dResult {
  Tensor<T, D> output;
  /// Shaped like output: h * W + w of each maximum in the unpadded plane of its n and c; -1 where a window holds padding only.
  /// Undefined unless asked for. int32, because planes have fewer than 2^31 pixels and memory is what pooling waits for.
  Tensor<std::int32_t, D> indices;
};

namespace detail {

template <class T, class D>
[[nodiscard]] MaxPool2dResult<T, D> max_pool2d(const char* op, const kernels::PoolGeometry& g, const Tensor<T, D>& x, bool return_indices) {
  if (g.h.in * g.w.in > INT32_MAX) throw ShapeError(op, "x", "fewer than 2^31 pixels in a plane", x.shape());
  const bool wanted = return_indices || (x.tracked() && is_recording());
  const Tensor<T, D> y(g.output_shape());
  const auto indices = wanted ? Tensor<std::int32_t, D>(g.output_shape()) : Tensor<std::int32_t, D>();
  kernels::max_pool2d(g, x.view(), y.view(), indices.view());
  record(op, y, {x}, [g, indices](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::max_pool2d_backward(g, dy.view(), indices.view(), grad[0].view());
  });
  return {y, return_indices ? indices : Tensor<std::int32_t, D>()};
}

template <class T, class D>
[[nodiscard]] Tensor<T, D> avg_pool2d(const char* op, const kernels::PoolGeometry& g, kernels::PoolDivisor divisor, const Tensor<T, D>& x) {
  const Tensor<T, D> y(g.output_shape());
  kernels::avg_pool2d(g, divisor, x.view(), y.view());
  return record(op, y, {x}, [g, divisor](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::avg_pool2d_backward(g, divisor, dy.view(), grad[0].view());
  });
}

}  // namespace detail

/// The largest element of each window:
///
///   y[n, oh, ow, c] = max over ki, kj of x[n, oh*stride.h - padding.h + ki*dilation.h, (w alike), c]
///
/// Padding is minus infinity. On equal values the first in row-major order wins; a NaN wins over everything.
/// @param x [N, H, W, C]
/// @return  output [N, OH, OW, C], OH = floor((H + 2*padding.h - dilation.h*(kernel.h - 1) - 1) / stride.h) + 1 (ceil_mode: rounded up,
///          but a last window that would start behind the image is dropped), and indices if `return_indices`
/// @throws  ShapeError: rank, window larger than the padded image; ValueError: kernel, stride, dilation < 1, padding over half a window
/// Gradient to x, in gather form: same bits for any number of threads. Memory: the indices, while the graph lives.
template <class T, class D>
[[nodiscard]] MaxPool2dResult<T, D> max_pool2d(const Tensor<T, D>& x, const Pool2dOptions& options = {}) {
  return detail::max_pool2d("max_pool2d", kernels::pool2d_geometry("max_pool2d", x.shape(), options), x, options.return_indices);
}

/// The largest element of each of output_size.h x output_size.w cells; cell i covers rows [floor(i*H/OH), ceil((i+1)*H/OH)), so cells
/// overlap where H is no multiple of OH. Otherwise as `max_pool2d`.
/// @param x [N, H, W, C]   @return output [N, OH, OW, C], and indices if `return_indices`
/// @throws ShapeError: rank, empty image; ValueError: output_size
template <class T, class D>
[[nodiscard]] MaxPool2dResult<T, D> adaptive_max_pool2d(const Tensor<T, D>& x, Extent2 output_size, bool return_indices = false) {
  return detail::max_pool2d("adaptive_max_pool2d", kernels::adaptive_pool2d_geometry("adaptive_max_pool2d", x.shape(), output_size), x,
                            return_indices);
}

/// The mean of each window, zeros around the image. Sizes as in `max_pool2d`. It divides by the window's part in the padded image
/// (count_include_pad), by its part in the image, or by divisor_override; what `ceil_mode` adds behind the padding never counts.
/// @param x [N, H, W, C]   @return [N, OH, OW, C]
/// @throws ShapeError, ValueError as max_pool2d; ValueError: divisor_override < 0
/// Gradient to x: the transpose, in gather form. Same bits for any number of threads. No memory beyond y.
template <class T, class D>
[[nodiscard]] Tensor<T, D> avg_pool2d(const Tensor<T, D>& x, const AvgPool2dOptions& options = {}) {
  if (options.divisor_override < 0)
    throw ValueError("avg_pool2d", "divisor_override", "at least 1, or 0 for the number of elements", concat(options.divisor_override));
  const auto g = kernels::pool2d_geometry(
      "avg_pool2d", x.shape(),
      {.kernel = options.kernel, .stride = options.stride, .padding = options.padding, .ceil_mode = options.ceil_mode});
  return detail::avg_pool2d("avg_pool2d", g, {options.count_include_pad, options.divisor_override}, x);
}

/// The mean of each of output_size.h x output_size.w cells, which are those of `adaptive_max_pool2d`. {1, 1} is the global mean.
/// @param x [N, H, W, C]   @return [N, OH, OW, C]
/// @throws ShapeError: rank, empty image; ValueError: output_size
template <class T, class D>
[[nodiscard]] Tensor<T, D> adaptive_avg_pool2d(const Tensor<T, D>& x, Extent2 output_size) {
  return detail::avg_pool2d("adaptive_avg_pool2d", kernels::adaptive_pool2d_geometry("adaptive_avg_pool2d", x.shape(), output_size), {}, x);
}

/// Puts each element back where `max_pool2d` found it, zeros elsewhere (Badrinarayanan et al., "SegNet", arXiv:1511.00561):
///
///   y[n, indices[n, h, w, c] / OW, indices[n, h, w, c] % OW, c] = x[n, h, w, c]
///
/// Where windows overlapped, several elements may have the same index: the last in row-major order stays, and each gets the
/// gradient of that place, as in PyTorch.
/// @param x [N, H, W, C]   @param indices [N, H, W, C], of max_pool2d with return_indices
/// @param output_size {OH, OW} of the image that was pooled; `unpooled_size` computes the smallest
/// @return  [N, OH, OW, C]
/// @throws  ShapeError: rank, shapes that differ; ValueError: output_size, an index outside of it
/// Gradient to x. Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> max_unpool2d(const Tensor<T, D>& x, const Tensor<std::int32_t, D>& indices, Extent2 output_size) {
  kernels::detail::check_image("max_unpool2d", x.shape());
  if (indices.shape() != x.shape())
    throw ShapeError("max_unpool2d", "indices", concat(x.shape(), " like x (max_pool2d gives them with return_indices = true)"),
                     indices.shape());
  if (output_size.h < 1 || output_size.w < 1 || output_size.h * output_size.w > INT32_MAX)
    throw ValueError("max_unpool2d", "output_size", "at least 1x1 and fewer than 2^31 pixels", to_string(output_size));
  const Tensor<T, D> y({x.dim(0), output_size.h, output_size.w, x.dim(3)});
  if (!kernels::max_unpool2d(x.view(), indices.view(), y.view()))
    throw ValueError("max_unpool2d", "indices", concat("positions in a plane of ", output_size), "one outside of it");
  return record("max_unpool2d", y, {x}, [indices](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::max_unpool2d_backward(dy.view(), indices.view(), grad[0].view());
  });
}

/// The smallest image that a pooling with these options reduces to `pooled`: (pooled - 1)*stride - 2*padding + kernel.
[[nodiscard]] inline Extent2 unpooled_size(Extent2 pooled, const Pool2dOptions& options) {
  const auto size = [](index_t out, index_t kernel, index_t stride, index_t padding) {
    return (out - 1) * (stride ? stride : kernel) - 2 * padding + kernel;
  };
  return {size(pooled.h, options.kernel.h, options.stride.h, options.padding.h),
          size(pooled.w, options.kernel.w, options.stride.w, options.padding.w)};
}

}  // namespace segnet
