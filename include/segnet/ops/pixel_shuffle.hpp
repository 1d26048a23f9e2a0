// Channels to space and back: sub-pixel convolution's rearrangement. Shi et al., arXiv:1609.05158.
#pragma once

#include "segnet/ops/permute.hpp"
#include "segnet/ops/reshape.hpp"

namespace segnet {

/// y[n, h r + i, w r + j, c] = x[n, h, w, (c r + i) r + j]
///
/// @param x  [N, H, W, C r r]
/// @return   [N, H r, W r, C]
/// @throws ValueError: r < 1;  ShapeError: rank, channels that r r does not divide
template <class T, class D>
[[nodiscard]] Tensor<T, D> pixel_shuffle(const Tensor<T, D>& x, index_t r) {
  if (r < 1) throw ValueError("pixel_shuffle", "r", "at least 1", concat(r));
  if (x.rank() != 4 || x.dim(3) % (r * r) != 0) throw ShapeError("pixel_shuffle", "x", concat("[N, H, W, C * ", r * r, "]"), x.shape());
  const index_t N = x.dim(0), H = x.dim(1), W = x.dim(2), C = x.dim(3) / (r * r);
  return reshape(permute(reshape(x, Shape{N, H, W, C, r, r}), {0, 1, 4, 2, 5, 3}), Shape{N, H * r, W * r, C});
}

/// The inverse: [N, H r, W r, C] to [N, H, W, C r r]. @throws ValueError: r < 1;  ShapeError: rank, sides that r does not divide
template <class T, class D>
[[nodiscard]] Tensor<T, D> pixel_unshuffle(const Tensor<T, D>& x, index_t r) {
  if (r < 1) throw ValueError("pixel_unshuffle", "r", "at least 1", concat(r));
  if (x.rank() != 4 || x.dim(1) % r != 0 || x.dim(2) % r != 0)
    throw ShapeError("pixel_unshuffle", "x", concat("[N, H * ", r, ", W * ", r, ", C]"), x.shape());
  const index_t N = x.dim(0), H = x.dim(1) / r, W = x.dim(2) / r, C = x.dim(3);
  return reshape(permute(reshape(x, Shape{N, H, r, W, r, C}), {0, 1, 3, 5, 2, 4}), Shape{N, H, W, C * r * r});
}

}  // namespace segnet
