// Normalisation layers as functions. Same conventions as torch.nn.functional: biased variance, eps inside the root.
//
// Of bfloat16 images, weight, bias, statistics and their gradients are float (`Master<T>`).
#pragma once

#include "segnet/autograd/saved.hpp"
#include "segnet/kernels/layer_norm.hpp"
#include "segnet/kernels/local_response_norm.hpp"
#include "segnet/kernels/normalization.hpp"

namespace segnet {

namespace detail {

template <class T, class D>
void check_channels(const char* op, const char* argument, const Tensor<T, D>& t, index_t C, bool required = false) {
  if (t ? t.shape() != Shape{C} : required)
    throw ShapeError(op, argument, concat(Shape{C}, ", one number for each channel of x"), t.shape());
}

template <class T, class D>
[[nodiscard]] kernels::NormGeometry norm_geometry(const char* op, const Tensor<T, D>& x, bool whole_batch,
                                                  const Tensor<Master<T>, D>& weight, const Tensor<Master<T>, D>& bias) {
  if (x.rank() < 2) throw ShapeError(op, "x", "[N, ..., C]", x.shape());
  const index_t C = x.dim(-1), N = x.dim(0);
  check_channels(op, "weight", weight, C);
  check_channels(op, "bias", bias, C);
  index_t pixels = 1;
  for (int i = 1; i + 1 < x.rank(); ++i) pixels *= x.dim(i);
  return whole_batch ? kernels::NormGeometry{1, N * pixels, C} : kernels::NormGeometry{N, pixels, C};
}

/// Storage for the gradient of input i, a parameter of the type that T is computed with; undefined where it is not wanted.
template <class T, class D>
[[nodiscard]] Tensor<Master<T>, D> parameter_gradient(const Gradients<T, D>& grad, std::size_t i, const Shape& shape) {
  return grad.wanted(i) ? Tensor<Master<T>, D>(shape) : Tensor<Master<T>, D>();
}

/// The common end of batch, group and instance norm: y from the coefficients, and both on the way back.
template <class T, class D>
[[nodiscard]] Tensor<T, D> normalize(const char* op, const kernels::NormGeometry& g, index_t groups, bool constant_statistics, bool relu,
                                     const Tensor<Master<T>, D>& coefficients, const Tensor<T, D>& x, const Tensor<Master<T>, D>& weight,
                                     const Tensor<Master<T>, D>& bias) {
  const auto compute = [=, x = x.detach()] {
    const Tensor<T, D> y(x.shape());
    kernels::normalize_channels(g, x.view(), coefficients.view(), relu, y.view());
    return y;
  };
  const Tensor<T, D> y = compute();
  record(op, y, {x, weight, bias}, [=, x = x.detach(), weight = weight.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    using M = Master<T>;
    const auto into_dx = grad.wanted(0) && !constant_statistics ? Tensor<M, D>({g.S, 3, g.C}) : Tensor<M, D>();
    if (into_dx || grad.wanted(1) || grad.wanted(2)) {
      const Tensor<double, D> sums({g.S, 2, g.C});
      const auto dweight = parameter_gradient(grad, 1, {g.C}), dbias = parameter_gradient(grad, 2, {g.C});
      kernels::channel_gradient_sums<T>(g, dy.view(), x.view(), coefficients.view(), relu, sums.view());
      kernels::norm_backward_coefficients<M>(g, sums.view(), coefficients.view(), groups, weight.view(), dweight.view(), dbias.view(),
                                             into_dx.view());
      grad.set_other(1, dweight);
      grad.set_other(2, dbias);
    }
    if (grad.wanted(0))
      kernels::normalize_channels_backward<T>(g, dy.view(), x.view(), coefficients.view(), into_dx.view(), relu,
                                              grad.in_place_of(dy, 0).view());
  });
  recomputable(y, compute);
  return y;
}

template <class T, class D>
[[nodiscard]] Tensor<T, D> batch_or_instance_norm(const char* op, bool whole_batch, bool relu, const Tensor<T, D>& x,
                                                  const Tensor<Master<T>, D>& weight, const Tensor<Master<T>, D>& bias,
                                                  const Tensor<Master<T>, D>& running_mean, const Tensor<Master<T>, D>& running_var,
                                                  bool use_input_statistics, double momentum, double eps) {
  auto g = norm_geometry(op, x, whole_batch || !use_input_statistics, weight, bias);
  check_channels(op, "running_mean", running_mean, g.C, !use_input_statistics);
  check_channels(op, "running_var", running_var, g.C, !use_input_statistics || running_mean);
  const Tensor<Master<T>, D> coefficients({g.S, kernels::norm_rows, g.C});
  if (use_input_statistics) {
    if (g.P == 1) throw ShapeError(op, "x", "more than one value for each channel, to take their variance", x.shape());
    const Tensor<double, D> moments({g.S, 2, g.C});
    kernels::channel_moments<T>(g, x.view(), moments.view());
    kernels::norm_coefficients(g, moments.view(), g.C, weight.view(), bias.view(), eps, coefficients.view());
    if (running_mean && g.S * g.P > 0 && !is_recomputing())
      kernels::update_running_statistics(g, moments.view(), momentum, running_mean.view(), running_var.view());
  } else {
    kernels::norm_coefficients(running_mean.view(), running_var.view(), weight.view(), bias.view(), eps, coefficients.view());
  }
  return normalize(op, g, g.C, !use_input_statistics, relu, coefficients, x, weight, bias);
}

}  // namespace detail

/// Batch normalisation (Ioffe & Szegedy, arXiv:1502.03167), for each channel c over all the other dimensions:
///
///   y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]
///
/// training: mean and (biased) variance are those of x, and running = (1 - momentum) * running + momentum * new, in place, with the
/// unbiased variance n / (n - 1); not a second time when a checkpoint recomputes. Otherwise they are the running ones.
/// @param x [N, ..., C]   @param weight, bias [C] or undefined (1, 0)
/// @param running_mean, running_var [C], overwritten; both may be undefined in training: nothing is tracked then
/// @return  [N, ..., C]
/// @throws  ShapeError: rank, a length that is not C, running statistics missing in inference, one value for each channel in training
/// Gradients to x, weight, bias. Sums in chunks, joined in double: same bits for any number of threads. An empty batch changes nothing.
/// Passes over memory in training: 2 reads and a write forward, 4 reads and a write backward.
template <class T, class D>
[[nodiscard]] Tensor<T, D> batch_norm(const Tensor<T, D>& x, const Tensor<Master<T>, D>& weight, const Tensor<Master<T>, D>& bias,
                                      const Tensor<Master<T>, D>& running_mean, const Tensor<Master<T>, D>& running_var, bool training,
                                      double momentum = 0.1, double eps = 1e-5) {
  return detail::batch_or_instance_norm("batch_norm", true, false, x, weight, bias, running_mean, running_var, training, momentum, eps);
}

/// relu(batch_norm(...)) in the passes of `batch_norm` alone: the sign is computed again from x on the way back. A ReLU of its own
/// reads and writes two tensors each way, and keeps one.
template <class T, class D>
[[nodiscard]] Tensor<T, D> batch_norm_relu(const Tensor<T, D>& x, const Tensor<Master<T>, D>& weight, const Tensor<Master<T>, D>& bias,
                                           const Tensor<Master<T>, D>& running_mean, const Tensor<Master<T>, D>& running_var, bool training,
                                           double momentum = 0.1, double eps = 1e-5) {
  return detail::batch_or_instance_norm("batch_norm_relu", true, true, x, weight, bias, running_mean, running_var, training, momentum, eps);
}

/// Instance normalisation (Ulyanov et al., arXiv:1607.08022): `batch_norm` of each image by itself. Running statistics, if defined,
/// follow the mean over the batch of the images' statistics; without `use_input_statistics` they normalise, as in `batch_norm`.
/// @param x [N, ..., C]   @param weight, bias, running_mean, running_var [C] or undefined   @return [N, ..., C]
/// @throws  ShapeError as batch_norm; one pixel to an image
template <class T, class D>
[[nodiscard]] Tensor<T, D> instance_norm(const Tensor<T, D>& x, const Tensor<Master<T>, D>& weight = {},
                                         const Tensor<Master<T>, D>& bias = {}, const Tensor<Master<T>, D>& running_mean = {},
                                         const Tensor<Master<T>, D>& running_var = {}, bool use_input_statistics = true,
                                         double momentum = 0.1, double eps = 1e-5) {
  return detail::batch_or_instance_norm("instance_norm", false, false, x, weight, bias, running_mean, running_var, use_input_statistics,
                                        momentum, eps);
}

/// Group normalisation (Wu & He, arXiv:1803.08494): mean and variance of each image's `groups` groups of C / groups neighbouring
/// channels, over channels and pixels; then weight and bias for each channel.
/// @param x [N, ..., C]   @param weight, bias [C] or undefined   @return [N, ..., C]
/// @throws  ShapeError: rank, a length that is not C; ValueError: groups that do not divide C
/// Gradients to x, weight, bias; determinism and passes as batch_norm.
template <class T, class D>
[[nodiscard]] Tensor<T, D> group_norm(const Tensor<T, D>& x, index_t groups, const Tensor<Master<T>, D>& weight = {},
                                      const Tensor<Master<T>, D>& bias = {}, double eps = 1e-5) {
  const auto g = detail::norm_geometry("group_norm", x, false, weight, bias);
  if (groups < 1 || g.C % groups) throw ValueError("group_norm", "groups", concat("a divisor of the ", g.C, " channels"), concat(groups));
  const Tensor<double, D> moments({g.S, 2, g.C});
  const Tensor<Master<T>, D> coefficients({g.S, kernels::norm_rows, g.C});
  kernels::channel_moments<T>(g, x.view(), moments.view());
  kernels::norm_coefficients(g, moments.view(), groups, weight.view(), bias.view(), eps, coefficients.view());
  return detail::normalize("group_norm", g, groups, false, false, coefficients, x, weight, bias);
}

/// Layer normalisation (Ba et al., arXiv:1607.06450): mean and variance over the trailing dimensions `normalized_shape`, usually {C}:
///
///   y = (x - mean) / sqrt(var + eps) * weight + bias
///
/// @param x [..., normalized_shape]   @param weight, bias of normalized_shape, or undefined   @return shaped like x
/// @throws  ShapeError: x does not end in normalized_shape; weight, bias of another shape
/// Gradients to x, weight, bias: same bits for any number of threads. One pass over memory each way. Keeps x and two numbers a row.
template <class T, class D>
[[nodiscard]] Tensor<T, D> layer_norm(const Tensor<T, D>& x, const Shape& normalized_shape, const Tensor<Master<T>, D>& weight = {},
                                      const Tensor<Master<T>, D>& bias = {}, double eps = 1e-5) {
  const int leading = x.rank() - normalized_shape.rank();
  if (normalized_shape.rank() < 1 || leading < 0 || Shape(x.shape().begin() + leading, x.shape().end()) != normalized_shape)
    throw ShapeError("layer_norm", "x", concat("a shape that ends in normalized_shape ", normalized_shape), x.shape());
  if (weight && weight.shape() != normalized_shape) throw ShapeError("layer_norm", "weight", concat(normalized_shape), weight.shape());
  if (bias && bias.shape() != normalized_shape) throw ShapeError("layer_norm", "bias", concat(normalized_shape), bias.shape());
  const index_t n = normalized_shape.numel(), rows = n ? x.numel() / n : 0;
  const Tensor<T, D> y(x.shape());
  const Tensor<Master<T>, D> statistics({rows, 2});
  kernels::layer_norm(x.view(), n, weight.view(), bias.view(), eps, statistics.view(), y.view());
  return record("layer_norm", y, {x, weight, bias},
                [=, x = x.detach(), weight = weight.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  const auto dweight = detail::parameter_gradient(grad, 1, normalized_shape);
                  const auto dbias = detail::parameter_gradient(grad, 2, normalized_shape);
                  kernels::layer_norm_backward<T>(dy.view(), x.view(), n, statistics.view(), weight.view(),
                                                  grad.wanted(0) ? grad[0].view() : View<T, D>{}, dweight.view(), dbias.view());
                  grad.set_other(1, dweight);
                  grad.set_other(2, dbias);
                });
}

/// Local response normalisation across neighbouring channels (Krizhevsky et al., 2012, section 3.3; SegNet-Basic, arXiv:1511.00561):
///
///   y[c] = x[c] / (k + alpha / size * sum over j in [c - size/2, c + (size-1)/2] of x[j]^2)^beta
///
/// @param x [..., C]   @return shaped like x
/// @throws  ShapeError: a scalar; ValueError: size < 1
/// Gradient to x; keeps x.
template <class T, class D>
[[nodiscard]] Tensor<T, D> local_response_norm(const Tensor<T, D>& x, index_t size, double alpha = 1e-4, double beta = 0.75, double k = 1) {
  if (x.rank() < 1) throw ShapeError("local_response_norm", "x", "[..., C]", x.shape());
  if (size < 1) throw ValueError("local_response_norm", "size", "at least 1", concat(size));
  const kernels::ResponseNorm norm{size, alpha, beta, k};
  const index_t C = x.dim(-1);
  const Tensor<T, D> y(x.shape());
  kernels::local_response_norm(norm, x.view(), C, y.view());
  return record("local_response_norm", y, {x}, [norm, C, x = x.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::local_response_norm_backward(norm, dy.view(), x.view(), C, grad[0].view());
  });
}

}  // namespace segnet
