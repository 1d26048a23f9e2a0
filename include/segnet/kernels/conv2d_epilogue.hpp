// What is done to the sums of a convolution on their way into memory. Each of these would otherwise be a pass over memory of its own.
#pragma once

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/simd.hpp"

namespace segnet {

/// Functions cheap enough to be computed where a result is stored.
enum class Activation {
  none,
  relu,  ///< max(x, 0); NaN stays
  relu6  ///< min(max(x, 0), 6)
};

namespace kernels {

/// y[p, o] = activation(scale[o] * sum + shift[o] + residual[p, o]) for the sum of pixel p and output channel o. Every part may be left
/// out; a bias is a shift alone. In conv2d_grad_input, as the forward pass of a transposed convolution, the channels are those of dx.
///
/// An algorithm may multiply the weights by `scale` while it packs them and begin its sums with `shift`: then `activate` is left to
/// do where it stores. Or it computes plain sums that begin with `bias()`, and has `finish` do the rest in another pass.
template <class T>
struct Epilogue {
  const T* scale = nullptr;     ///< [O], else 1
  const T* shift = nullptr;     ///< [O], else 0
  const T* residual = nullptr;  ///< shaped like y, else 0; shares no memory with y
  Activation activation = Activation::none;

  Epilogue() = default;
  /// A bias [O], or none.
  template <class U>
    requires std::is_same_v<std::remove_const_t<U>, T>
  Epilogue(View<U> bias) : shift(bias.data) {}  // NOLINT: kernels take a bias where they take an epilogue

  /// What plain sums begin with: a scale would come before it.
  const T* bias() const { return scale ? nullptr : shift; }

  /// Element i of y, for a sum that was scaled and shifted.
  T activated(T sum, index_t i) const {
    if (residual) sum += residual[i];
    if (activation != Activation::none && sum < T(0)) return T(0);
    return activation == Activation::relu6 && sum > T(6) ? T(6) : sum;
  }
  /// Element i of y, of channel o, for a sum that began with bias().
  T finished(T sum, index_t o, index_t i) const {
    if (scale) sum = scale[o] * sum + (shift ? shift[o] : T(0));
    return activated(sum, i);
  }
};

/// The rest of an epilogue, for y [..., channels] that holds sums which began with e.bias(): a pass over memory, if anything is left.
template <class T>
void finish(const Epilogue<T>& e, index_t channels, View<T> y) {
  if (!e.scale && !e.residual && e.activation == Activation::none) return;
  parallel_for(y.size() / channels, std::max<index_t>(1, (1 << 14) / channels), [&](index_t begin, index_t end) {
    for (index_t p = begin; p < end; ++p)
      for (index_t o = 0, i = p * channels; o < channels; ++o, ++i) y[i] = e.finished(y[i], o, i);
  });
}

/// v[i] = activation(v[i] + residual[i]) for vectors in registers, of type Simd::Vector, that lie side by side; `residual` may be null.
template <class S, class T, int count>
SEGNET_INLINE void activate(Activation activation, const T* residual, typename S::Vector (&v)[count]) {
  if (residual) {
    SEGNET_UNROLL for (int i = 0; i < count; ++i) v[i] += S::load(residual + i * S::lanes);
  }
  if (activation == Activation::none) return;
  const typename S::Vector zero{}, six = zero + 6;
  SEGNET_UNROLL for (int i = 0; i < count; ++i) v[i] = v[i] < zero ? zero : v[i];
  if (activation == Activation::relu) return;
  SEGNET_UNROLL for (int i = 0; i < count; ++i) v[i] = v[i] > six ? six : v[i];
}

}  // namespace kernels
}  // namespace segnet
