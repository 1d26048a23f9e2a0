// The three passes of a convolution algorithm for one element type: instantiated where `what` is `template`, announced to be so
// elsewhere where it is `extern template`. To be used in the algorithm's namespace.
#pragma once

#define SEGNET_CONV2D_PASSES(what, T)                                                                                             \
  what void conv2d(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);            \
  what void conv2d_grad_input(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>); \
  what void conv2d_grad_weight(const ConvGeometry&, View<const T, Cuda>, View<const T, Cuda>, View<T, Cuda>);
