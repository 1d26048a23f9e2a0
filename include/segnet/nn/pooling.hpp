// Pooling as layers. Where the indices of the maxima are wanted, call the operation: max_pool2d(x, {.return_indices = true}).
#pragma once

#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"
#include "segnet/ops/pooling.hpp"

namespace segnet::nn {

struct MaxPool2d {
  Pool2dOptions options;
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "MaxPool2d", x, max_pool2d(x, options).output);
  }
  SEGNET_FIELDS()
};

struct AvgPool2d {
  AvgPool2dOptions options;
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "AvgPool2d", x, avg_pool2d(x, options));
  }
  SEGNET_FIELDS()
};

/// {1, 1}: the global average.
struct AdaptiveAvgPool2d {
  Extent2 output_size{1, 1};
  template <class T, class D>
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    return detail::observed(this, "AdaptiveAvgPool2d", x, adaptive_avg_pool2d(x, output_size));
  }
  SEGNET_FIELDS()
};

}  // namespace segnet::nn
