// The layer of a DenseNet, which reads everything that was computed before it: Huang et al., "Densely connected convolutional
// networks", arXiv:1608.06993; without its quadratic memory: Pleiss et al., "Memory-efficient implementation of DenseNets",
// arXiv:1707.06990.
#pragma once

#include "segnet/kernels/dense_layer.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/conv2d.hpp"
#include "segnet/ops/normalization.hpp"

namespace segnet {

/// Feature maps [N, H, W, Ci] side by side, as one tensor of all their channels would be, each kept once: `push_back` copies nothing, and
/// neither does a copy. What batch norms want to know of a map is computed once for all layers that read it.
template <class T, class D = Cpu>
class FeatureStack {
 public:
  FeatureStack() = default;
  explicit FeatureStack(const Tensor<T, D>& first) { push_back(first); }

  /// @throws ShapeError: another size than the maps before
  void push_back(const Tensor<T, D>& maps) {
    const Shape before = parts_.empty() ? maps.shape() : parts_[0].shape();
    if (maps.rank() != 4 || maps.dim(0) != before[0] || maps.dim(1) != before[1] || maps.dim(2) != before[2])
      throw ShapeError("FeatureStack", "maps", parts_.empty() ? "[N, H, W, C]" : concat("of the size of ", before), maps.shape());
    parts_.push_back(maps);
    moments_.emplace_back();
    channels_ += maps.dim(3);
  }
  void push_back(const FeatureStack& stack) {
    for (std::size_t i = 0; i < stack.parts_.size(); ++i) {
      push_back(stack.parts_[i]);
      moments_.back() = stack.moments_[i];
    }
  }

  [[nodiscard]] const std::vector<Tensor<T, D>>& parts() const { return parts_; }
  /// [N, H, W, sum of Ci]
  [[nodiscard]] Shape shape() const { return {parts_[0].dim(0), parts_[0].dim(1), parts_[0].dim(2), channels_}; }
  [[nodiscard]] index_t channels() const { return channels_; }
  /// One tensor of all channels: a copy. Recorded.
  [[nodiscard]] Tensor<T, D> joined() const { return parts_.size() == 1 ? parts_[0] : concat(parts_, -1); }

  /// For batch norms: mean and sum of squared deviations of each channel, [1, 2, channels].
  [[nodiscard]] Tensor<double, D> moments() const {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (moments_[i]) continue;
      const index_t C = parts_[i].dim(3);
      moments_[i] = Tensor<double, D>({1, 2, C});
      kernels::channel_moments<T>({1, parts_[i].numel() / C, C}, parts_[i].view(), moments_[i].view());
    }
    return concat(moments_, -1);
  }

 private:
  std::vector<Tensor<T, D>> parts_;
  mutable std::vector<Tensor<double, D>> moments_;
  index_t channels_ = 0;
};

namespace detail {
template <class T>
[[nodiscard]] std::vector<ConstView<T>> views_of(const std::vector<Tensor<T>>& tensors) {
  std::vector<ConstView<T>> views;
  for (const auto& tensor : tensors) views.push_back(tensor.view());
  return views;
}
}  // namespace detail

/// Arguments of the batch norm in `dense_layer`, as `batch_norm` takes them.
template <class T, class D = Cpu>
struct NormArguments {
  Tensor<Master<T>, D> weight = {}, bias = {}, running_mean = {}, running_var = {};
  bool training = true;
  double momentum = 0.1, eps = 1e-5;
};

/// conv2d(relu(batch_norm(concat(x))), w, b), without the concatenation and with less memory: what lies between x and the result, two
/// tensors of all channels, lives as long as the call. Backward computes it again (all but the convolution), so a block of L layers keeps
/// its L maps and not L^2 / 2 of them twice.
/// @param x maps of C channels in all   @param w [O, kh, kw, C]   @param b [O], or undefined
/// @return  [N, OH, OW, O]
/// @throws  ShapeError, ValueError as batch_norm and conv2d
/// Gradients to the maps, the norm's weight and bias, w, b. Same bits for any number of threads.
/// On the GPU the maps are joined before they are normalised.
template <class T, class D>
[[nodiscard]] Tensor<T, D> dense_layer(const FeatureStack<T, D>& x, const std::type_identity_t<NormArguments<T, D>>& norm,
                                       const Tensor<T, D>& w, const std::type_identity_t<Tensor<T, D>>& b = {},
                                       const Conv2dOptions& options = {}) {
  using M = Master<T>;
  const Shape shape = x.shape();
  const index_t C = x.channels();
  const kernels::NormGeometry g{1, shape.numel() / C, C};
  const auto gc = kernels::conv2d_geometry("dense_layer", shape, w.shape(), b.shape(), options);
  detail::check_channels("dense_layer", "norm.weight", norm.weight, C);
  detail::check_channels("dense_layer", "norm.bias", norm.bias, C);
  detail::check_channels("dense_layer", "norm.running_mean", norm.running_mean, C, !norm.training);
  detail::check_channels("dense_layer", "norm.running_var", norm.running_var, C, !norm.training || norm.running_mean);

  const Tensor<M, D> coefficients({1, kernels::norm_rows, C});
  if (norm.training) {
    if (g.P == 1) throw ShapeError("dense_layer", "x", "more than one value for each channel, to take their variance", shape);
    const Tensor<double, D> moments = x.moments();
    kernels::norm_coefficients<M>(g, moments.view(), C, norm.weight.view(), norm.bias.view(), norm.eps, coefficients.view());
    if (norm.running_mean && g.P > 0 && !is_recomputing())
      kernels::update_running_statistics<M>(g, moments.view(), norm.momentum, norm.running_mean.view(), norm.running_var.view());
  } else {
    kernels::norm_coefficients<M>(norm.running_mean.view(), norm.running_var.view(), norm.weight.view(), norm.bias.view(), norm.eps,
                                  coefficients.view());
  }

  std::vector<Tensor<T, D>> parts;
  for (const auto& part : x.parts()) parts.push_back(part.detach());
  const auto activations = [g, shape, parts, coefficients] {  // relu(batch_norm(concat(x)))
    const Tensor<T, D> a(shape);
    if constexpr (std::is_same_v<D, Cpu>) kernels::normalize_concatenated<T>(g, detail::views_of(parts), coefficients.view(), a.view());
    else kernels::normalize_channels<T>(g, concat(parts, -1).view(), coefficients.view(), true, a.view());
    return a;
  };
  const Tensor<T, D> y(gc.y_shape());
  kernels::conv2d(gc, activations().view(), w.view(), b.view(), y.view(), options.algorithm);

  std::vector<autograd::Input> inputs(x.parts().begin(), x.parts().end());
  const std::size_t n = inputs.size();
  inputs.insert(inputs.end(), {w, b, norm.weight, norm.bias});
  return record("dense_layer", y, inputs,
                [=, algorithm = options.algorithm, constant = !norm.training, w = w.detach(), weight = norm.weight.detach()](
                    const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  if (grad.wanted(n)) kernels::conv2d_grad_weight(gc, dy.view(), activations().view(), grad[n].view(), algorithm);
                  if (grad.wanted(n + 1)) kernels::sum_over_rows(dy.view(), grad[n + 1].view());

                  const Tensor<T, D> da(shape);
                  kernels::conv2d_grad_input(gc, dy.view(), w.view(), {}, da.view(), algorithm);
                  const Tensor<double, D> sums({1, 2, C});
                  const auto dweight = detail::parameter_gradient(grad, n + 2, {C}), dbias = detail::parameter_gradient(grad, n + 3, {C});
                  const Tensor<M, D> into_dx = constant ? Tensor<M, D>() : Tensor<M, D>({1, 3, C});
                  const auto finish_sums = [&] {
                    kernels::norm_backward_coefficients<M>(g, sums.view(), coefficients.view(), C, weight.view(), dweight.view(),
                                                           dbias.view(), into_dx.view());
                    grad.set_other(n + 2, dweight);
                    grad.set_other(n + 3, dbias);
                  };
                  if constexpr (std::is_same_v<D, Cpu>) {
                    const auto views = detail::views_of(parts);
                    kernels::concatenated_gradient_sums<T>(g, da.view(), views, coefficients.view(), sums.view());
                    finish_sums();
                    std::vector<View<T>> dx(n);
                    for (std::size_t i = 0; i < n; ++i)
                      if (grad.wanted(i)) dx[i] = grad.sum_so_far(i).view();
                    kernels::add_concatenated_backward<T>(g, da.view(), views, coefficients.view(), into_dx.view(), dx);
                  } else {
                    const Tensor<T, D> all = concat(parts, -1);
                    kernels::channel_gradient_sums<T>(g, da.view(), all.view(), coefficients.view(), true, sums.view());
                    finish_sums();
                    kernels::normalize_channels_backward<T>(g, da.view(), all.view(), coefficients.view(), into_dx.view(), true, da.view());
                    index_t at = 0;
                    for (std::size_t i = 0; i < n; at += parts[i++].dim(3))
                      if (grad.wanted(i)) grad.set(i, narrow(da, 3, at, parts[i].dim(3)));
                  }
                });
}

}  // namespace segnet
