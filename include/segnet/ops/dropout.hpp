// Dropout of elements and of whole channels (Srivastava et al., JMLR 15, 2014; Tompson et al., arXiv:1411.4280).
#pragma once

#include "segnet/autograd/backward.hpp"
#include "segnet/kernels/dropout.hpp"
#include "segnet/ops/arithmetic.hpp"

namespace segnet {

namespace detail {
inline void check_dropout(const char* op, double p) {
  if (!(p >= 0 && p <= 1)) throw ValueError(op, "p", "a probability in [0, 1]", concat(p));
}
}  // namespace detail

/// Zeroes each element with probability p and multiplies the others by 1 / (1 - p), so that the mean stays:
///
///   y[i] = x[i] / (1 - p) if r[i] >= p else 0,   r uniform in [0, 1)
///
/// Not training, or p = 0: x itself. p = 1: zeros. Takes one stream from the generator, and only when it drops anything; the same
/// (seed, offset) gives the same mask, on any device and for any number of threads.
/// @param x of any shape   @return shaped like x
/// @throws ValueError: p outside [0, 1]
/// Gradient to x by the same mask, which is computed again: nothing is kept.
template <class T, class D>
[[nodiscard]] Tensor<T, D> dropout(const Tensor<T, D>& x, double p = 0.5, bool training = true,
                                   Generator& generator = default_generator()) {
  detail::check_dropout("dropout", p);
  if (!training || p == 0) return x;
  const kernels::DropoutMask mask{generator.seed, generator.next(), p};
  const Tensor<T, D> y(x.shape());
  kernels::dropout(mask, x.view(), y.view());
  return record("dropout", y, {x},
                [mask](const Tensor<T, D>& dy, Gradients<T, D>& grad) { kernels::dropout(mask, dy.view(), grad[0].view()); });
}

/// The same for whole channels: of each image, a channel is zeroed in every pixel or in none. For convolutional features, whose
/// neighbouring elements say nearly the same.
/// @param x [N, ..., C]   @return shaped like x
/// @throws ShapeError: rank; ValueError: p outside [0, 1]
/// Gradient to x. Keeps N * C factors.
template <class T, class D>
[[nodiscard]] Tensor<T, D> dropout2d(const Tensor<T, D>& x, double p = 0.5, bool training = true,
                                     Generator& generator = default_generator()) {
  detail::check_dropout("dropout2d", p);
  if (x.rank() < 2) throw ShapeError("dropout2d", "x", "[N, ..., C]", x.shape());
  if (!training || p == 0) return x;
  const index_t N = x.dim(0), C = x.dim(-1), pixels = x.numel() ? x.numel() / (N * C) : 0;
  const auto factors = dropout(ones<Master<T>, D>({N, C}), p, true, generator);
  const Tensor<T, D> y(x.shape());
  kernels::scale_channels(pixels, x.view(), factors.view(), y.view());
  return record("dropout2d", y, {x}, [pixels, factors](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::scale_channels(pixels, dy.view(), factors.view(), grad[0].view());
  });
}

/// Whole images instead of elements: x of each image is zeroed with probability p, else multiplied by 1 / (1 - p). On a residual branch
/// that is stochastic depth (Huang et al., arXiv:1603.09382), also called drop path.
/// @param x [N, ...]   @return shaped like x
/// @throws ShapeError: rank; ValueError: p outside [0, 1]
/// Gradient to x. Keeps N factors.
template <class T, class D>
[[nodiscard]] Tensor<T, D> drop_path(const Tensor<T, D>& x, double p, bool training = true, Generator& generator = default_generator()) {
  detail::check_dropout("drop_path", p);
  if (x.rank() < 1) throw ShapeError("drop_path", "x", "[N, ...]", x.shape());
  if (!training || p == 0) return x;
  Shape each{x.dim(0)};
  while (each.rank() < x.rank()) each.push_back(1);
  return x * dropout(ones<T, D>(each), p, true, generator);
}

}  // namespace segnet
