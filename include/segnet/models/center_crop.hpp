// What U-Net and FC-DenseNet do to feature maps that are larger than those that they join.
#pragma once

#include "segnet/ops/slice.hpp"

namespace segnet::models {

/// Centre part of x of height h and width w; an odd difference leaves the extra row or column at the end.
template <class T, class D>
[[nodiscard]] Tensor<T, D> center_crop(const Tensor<T, D>& x, index_t h, index_t w) {
  if (x.dim(1) == h && x.dim(2) == w) return x;
  return narrow(narrow(x, 1, (x.dim(1) - h) / 2, h), 2, (x.dim(2) - w) / 2, w);
}

}  // namespace segnet::models
