// Normalisation layers. Those of bfloat16 keep float parameters and statistics (`Master<T>`).
#pragma once

#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/nn/shapes_only.hpp"
#include "segnet/ops/normalization.hpp"

namespace segnet::nn {

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;            ///< of the running statistics: running = (1 - momentum) * running + momentum * new
  bool track_running_stats = true;  ///< false: the statistics of the batch at inference too (FC-DenseNet's way)
};

/// Batch norm over all but the channels, [N, ..., C]; see `batch_norm`.
template <class T = float, class D = Cpu>
struct BatchNorm2d {
  Parameter<Master<T>, D> weight, bias;
  Buffer<Master<T>, D> running_mean, running_var;
  BatchNormOptions options;
  bool training = true;

  BatchNorm2d() = default;
  explicit BatchNorm2d(index_t channels, const BatchNormOptions& norm_options = {})
      : weight(ones<Master<T>, D>({channels})), bias(zeros<Master<T>, D>({channels})), options(norm_options) {
    if (!options.track_running_stats) return;
    running_mean = Buffer<Master<T>, D>(zeros<Master<T>, D>({channels}));
    running_var = Buffer<Master<T>, D>(ones<Master<T>, D>({channels}));
  }

  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (shapes_only()) return detail::observed(this, "BatchNorm2d", x, Tensor<T, D>(x.shape()));
    return detail::observed(this, "BatchNorm2d", x,
                            batch_norm<T, D>(x, weight, bias, running_mean, running_var, !is_fixed(), options.momentum, options.eps));
  }
  /// relu of it, in one pass over memory less each way; see `batch_norm_relu`.
  Tensor<T, D> with_relu(const Tensor<T, D>& x) const {
    if (shapes_only()) return detail::observed(this, "BatchNorm2d+ReLU", x, Tensor<T, D>(x.shape()));
    return detail::observed(this, "BatchNorm2d+ReLU", x,
                            batch_norm_relu<T, D>(x, weight, bias, running_mean, running_var, !is_fixed(), options.momentum, options.eps));
  }
  /// Whether it normalises by the running statistics, and not by those of the batch.
  [[nodiscard]] bool is_fixed() const { return !training && options.track_running_stats; }
  SEGNET_FIELDS(weight, bias, running_mean, running_var)
};

/// Group norm, [N, ..., C]; see `group_norm`.
template <class T = float, class D = Cpu>
struct GroupNorm {
  Parameter<Master<T>, D> weight, bias;
  index_t groups = 1;
  double eps = 1e-5;

  GroupNorm() = default;
  GroupNorm(index_t norm_groups, index_t channels, double norm_eps = 1e-5)
      : weight(ones<Master<T>, D>({channels})), bias(zeros<Master<T>, D>({channels})), groups(norm_groups), eps(norm_eps) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "GroupNorm", x, group_norm<T, D>(x, groups, weight, bias, eps));
  }
  SEGNET_FIELDS(weight, bias)
};

/// Layer norm over the channels, [..., C]; see `layer_norm`.
template <class T = float, class D = Cpu>
struct LayerNorm {
  Parameter<Master<T>, D> weight, bias;
  double eps = 1e-5;

  LayerNorm() = default;
  explicit LayerNorm(index_t channels, double norm_eps = 1e-5)
      : weight(ones<Master<T>, D>({channels})), bias(zeros<Master<T>, D>({channels})), eps(norm_eps) {}
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    if (shapes_only()) return detail::observed(this, "LayerNorm", x, Tensor<T, D>(x.shape()));
    return detail::observed(this, "LayerNorm", x, layer_norm<T, D>(x, weight.shape(), weight, bias, eps));
  }
  SEGNET_FIELDS(weight, bias)
};

/// Instance norm, [N, ..., C], without parameters unless `affine`, as in PyTorch; see `instance_norm`.
template <class T = float, class D = Cpu>
struct InstanceNorm2d {
  Parameter<Master<T>, D> weight, bias;
  double eps = 1e-5;

  InstanceNorm2d() = default;
  explicit InstanceNorm2d(index_t channels, bool affine = false, double norm_eps = 1e-5) : eps(norm_eps) {
    if (!affine) return;
    weight = Parameter<Master<T>, D>(ones<Master<T>, D>({channels}));
    bias = Parameter<Master<T>, D>(zeros<Master<T>, D>({channels}));
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "InstanceNorm2d", x, instance_norm<T, D>(x, weight, bias, {}, {}, true, 0.1, eps));
  }
  SEGNET_FIELDS(weight, bias)
};

/// Local response norm across `size` neighbouring channels; see `local_response_norm`.
struct LocalResponseNorm {
  index_t size = 5;
  double alpha = 1e-4, beta = 0.75, k = 1;
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "LocalResponseNorm", x, local_response_norm(x, size, alpha, beta, k));
  }
  SEGNET_FIELDS()
};

}  // namespace segnet::nn
