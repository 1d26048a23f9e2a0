// Convolution for Hopper: implicit matrix products by wgmma, fed by TMA. For bfloat16, and for float in tf32 (forward and grad_input).
// The fastest way where it applies; `wgmma_takes` says where. The kernels are in conv2d_wgmma_gather.cuh and conv2d_wgmma_weight.cuh.
#pragma once

#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::cuda {

/// Whether the device and the shape suit: compute capability 9.0, one group, channels in whole 16-byte units that fill most of the
/// tiles, and the limits of TMA.
template <class T>
[[nodiscard]] bool wgmma_takes(const kernels::ConvGeometry& g, ConvPass pass);

/// How the pixels of forward and grad_input are tiled; all give the same sums. `automatic` picks, the others are there to be compared;
/// where one does not suit, `automatic` takes its place.
enum class WgmmaTiles {
  automatic,
  runs,     ///< pixels in their order, copied for each tap
  columns,  ///< rectangles, copied for each column of taps
  boxes     ///< rectangles, copied once for all taps
};

/// y [N, OH, OW, O] = bias + w * x; `bias` [O] may be null. Everything is aligned to 16 bytes.
template <class T>
void wgmma_forward(const kernels::ConvGeometry& g, const T* x, const T* w, const T* bias, T* y, WgmmaTiles tiles = WgmmaTiles::automatic);

/// dx [N, H, W, C] = bias + the transpose of that, applied to dy; `bias` [C] may be null.
template <class T>
void wgmma_grad_input(const kernels::ConvGeometry& g, const T* dy, const T* w, const T* bias, T* dx,
                      WgmmaTiles tiles = WgmmaTiles::automatic);

/// dw [O, kh, kw, C]. Equal bits from run to run: partial sums are joined in a fixed order.
template <class T>
void wgmma_grad_weight(const kernels::ConvGeometry& g, const T* dy, const T* x, T* dw);

}  // namespace segnet::cuda
