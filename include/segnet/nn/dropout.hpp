// Dropout as a layer, for Sequential and for networks that train/eval switches.
#pragma once

#include "segnet/nn/module.hpp"
#include "segnet/ops/dropout.hpp"

namespace segnet::nn {

/// Zeroes elements with probability p while training, passes them on otherwise; see `dropout`. Draws from `default_generator()`.
struct Dropout {
  double p = 0.5;
  bool training = true;
  template <class X>
  X operator()(const X& x) const {
    return dropout(x, p, training);
  }
  SEGNET_FIELDS()
};

/// The same for whole channels; see `dropout2d`.
struct Dropout2d {
  double p = 0.5;
  bool training = true;
  template <class X>
  X operator()(const X& x) const {
    return dropout2d(x, p, training);
  }
  SEGNET_FIELDS()
};

/// The same for whole images, at the end of a residual branch; see `drop_path`.
struct DropPath {
  double p = 0;
  bool training = true;
  template <class X>
  X operator()(const X& x) const {
    return drop_path(x, p, training);
  }
  SEGNET_FIELDS()
};

}  // namespace segnet::nn
