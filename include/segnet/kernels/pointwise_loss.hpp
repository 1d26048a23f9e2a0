// Losses of one prediction against one target each: the formulas with their derivatives, and the loops that they share.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/core/isa.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/broadcast.hpp"
#include "segnet/kernels/loss_sum.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

// Each formula has value(x, t, w, p) and slope(x, t, w, p) = d value / d x; w and p are the element's weight and positive weight,
// which only the binary cross entropy uses. One that is no function of x - t has target_slope = d value / d t, too. No branches:
// these loops run in vectors.

template <class T>
struct MeanSquaredError {
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T, T) const { return (x - t) * (x - t); }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T, T) const { return T(2) * (x - t); }
};

/// 0 at 0
template <class T>
SEGNET_INLINE SEGNET_HOST_DEVICE T sign_of(T d) {
  return math::select(d > T(0), T(1), math::select(d < T(0), T(-1), T(0) * d));
}

template <class T>
struct AbsoluteError {
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T, T) const { return math::abs(x - t); }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T, T) const { return sign_of(x - t); }
};

/// d^2 / (2 beta) for |d| < beta, |d| - beta / 2 beyond. beta = 0 is the absolute error.
template <class T>
struct SmoothL1 {
  T beta;
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T, T) const {
    const T a = math::abs(x - t);
    return math::select(a < beta, T(0.5) * a * a / beta, a - T(0.5) * beta);
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T, T) const {
    const T d = x - t;
    return math::select(math::abs(d) < beta, d / beta, sign_of(d));
  }
};

/// d^2 / 2 for |d| <= delta, delta (|d| - delta / 2) beyond.
template <class T>
struct Huber {
  T delta;
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T, T) const {
    const T a = math::abs(x - t);
    return math::select(a <= delta, T(0.5) * a * a, delta * (a - T(0.5) * delta));
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T, T) const {
    const T d = x - t;
    return math::select(math::abs(d) <= delta, d, delta * sign_of(d));
  }
};

/// -w (p t log sigmoid(x) + (1 - t) log(1 - sigmoid(x)))
template <class T>
struct BinaryCrossEntropy {
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T w, T p) const {
    return w * ((T(1) - t) * x + (T(1) + (p - T(1)) * t) * math::softplus(-x));
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T w, T p) const { return w * ((T(1) + (p - T(1)) * t) * math::sigmoid(x) - p * t); }
  SEGNET_INLINE SEGNET_HOST_DEVICE T target_slope(T x, T, T w, T p) const { return w * ((p - T(1)) * math::softplus(-x) - x); }
};

/// a_t q^gamma bce with q = 1 - p_t: the probability given to the wrong side; a_t = alpha t + (1 - alpha)(1 - t), or 1 for alpha < 0.
/// Lin et al., arXiv:1708.02002.
template <class T>
struct SigmoidFocal {
  T alpha, gamma;

  SEGNET_INLINE SEGNET_HOST_DEVICE T balance(T t) const { return alpha < T(0) ? T(1) : alpha * t + (T(1) - alpha) * (T(1) - t); }
  /// q^gamma
  SEGNET_INLINE SEGNET_HOST_DEVICE T power(T q) const {
    if (gamma == T(2)) return q * q;
    return gamma == T(0) ? T(1) : math::exp(gamma * math::log(q));
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T value(T x, T t, T, T) const {
    const T bce = (T(1) - t) * x + math::softplus(-x);
    const T q = t * math::sigmoid(-x) + (T(1) - t) * math::sigmoid(x);
    return balance(t) * power(q) * bce;
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T slope(T x, T t, T, T) const {
    const T p = math::sigmoid(x), r = math::sigmoid(-x);  // r = 1 - p, without cancellation
    const T bce = (T(1) - t) * x + math::softplus(-x), q = t * r + (T(1) - t) * p;
    // d q / d x = (1 - 2t) p r, over q: for t = 0 that is r, for t = 1 it is -p, also where q has run out of digits.
    const T dq = math::select(q > T(0), (T(1) - T(2) * t) * p * r / q, T(1) - T(2) * t);
    return balance(t) * power(q) * (p - t + gamma * dq * bce);
  }
};

namespace detail {
constexpr index_t loss_chunk = 16384;  ///< elements per partial sum

/// Calls f(first, count, w, p) for the blocks of [begin, end); w, p point at the weights of the block.
template <class T, class F>
SEGNET_INLINE void each_block(index_t begin, index_t end, BroadcastReader<T>& weight, BroadcastReader<T>& positive, const F& f) {
  constexpr index_t block = BroadcastReader<T>::block;
  for (; begin < end; begin += block) {
    const index_t count = std::min(block, end - begin);
    f(begin, count, weight.read(begin, count), positive.read(begin, count));
  }
}
}  // namespace detail

/// The sum of value(x, t) over all elements; or, where y is not null, each value to y and no sum. weight and positive broadcast to x.
template <class T, class Formula>
void pointwise_loss(const Formula& formula, View<const T, Cpu> x, View<const T, Cpu> t, View<const T, Cpu> weight,
                    View<const T, Cpu> positive, View<T, Cpu> y, View<LossSum, Cpu> total_loss) {
  const BroadcastIndex weight_index(weight.shape, x.shape), positive_index(positive.shape, x.shape);
  LossSum sum = sum_losses(x.size(), detail::loss_chunk, [&](index_t begin, index_t end, LossSum& total) {
    BroadcastReader<T> weights(weight.data, weight_index), positives(positive.data, positive_index);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      constexpr index_t lanes = 64;
      T lane[lanes] = {};
      detail::each_block(begin, end, weights, positives, [&](index_t i, index_t count, const T* w, const T* p) SEGNET_INLINE_LAMBDA {
        const T *xs = x.data + i, *ts = t.data + i;
        if (y) {
          T* ys = y.data + i;
          SEGNET_SIMD
          for (index_t j = 0; j < count; ++j) ys[j] = formula.value(xs[j], ts[j], w[j], p[j]);
          return;
        }
        for (index_t first = 0; first < count; first += lanes) {
          const index_t n = std::min(lanes, count - first);
          SEGNET_SIMD
          for (index_t j = 0; j < n; ++j) lane[j] += formula.value(xs[first + j], ts[first + j], w[first + j], p[first + j]);
        }
      });
      for (const T l : lane) total.loss += static_cast<double>(l);
    });
  });
  sum.weight = static_cast<double>(x.size());
  total_loss[0] = sum;
}
/// The same on the GPU (cuda/pointwise_loss.cuh). The formula's, the weights' and y's type is Master<T>.
template <class T, class Formula>
void pointwise_loss(const Formula& formula, View<const T, Cuda> x, View<const T, Cuda> t, View<const Master<T>, Cuda> weight,
                    View<const Master<T>, Cuda> positive, View<Master<T>, Cuda> y, View<LossSum, Cuda> total_loss);

namespace detail {
/// d value / d t if to_target, d value / d x otherwise.
template <bool to_target, class T, class Formula>
SEGNET_INLINE SEGNET_HOST_DEVICE T loss_slope(const Formula& formula, T x, T t, T w, T p) {
  if constexpr (!to_target) return formula.slope(x, t, w, p);
  else if constexpr (requires { formula.target_slope(x, t, w, p); }) return formula.target_slope(x, t, w, p);
  else return -formula.slope(x, t, w, p);
}
}  // namespace detail

/// dx = g * the slope of the loss in x (in t, if to_target), with the upstream gradient g.
template <bool to_target, class T, class Formula>
void pointwise_loss_grad(const Formula& formula, View<const T, Cpu> x, View<const T, Cpu> t, View<const T, Cpu> weight,
                         View<const T, Cpu> positive, const Upstream<T>& upstream, View<T, Cpu> dx) {
  const BroadcastIndex weight_index(weight.shape, x.shape), positive_index(positive.shape, x.shape);
  parallel_for(dx.size(), detail::loss_chunk, [&](index_t begin, index_t end) {
    BroadcastReader<T> weights(weight.data, weight_index), positives(positive.data, positive_index);
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      detail::each_block(begin, end, weights, positives, [&](index_t i, index_t count, const T* w, const T* p) SEGNET_INLINE_LAMBDA {
        const T *xs = x.data + i, *ts = t.data + i;
        T* to = dx.data + i;
        if (!upstream.same_for_all()) {
          const T* g = upstream.dy + i;
          SEGNET_SIMD
          for (index_t j = 0; j < count; ++j) to[j] = g[j] * detail::loss_slope<to_target>(formula, xs[j], ts[j], w[j], p[j]);
        } else {
          const T g_all = upstream(0);
          SEGNET_SIMD
          for (index_t j = 0; j < count; ++j) to[j] = g_all * detail::loss_slope<to_target>(formula, xs[j], ts[j], w[j], p[j]);
        }
      });
    });
  });
}
template <bool to_target, class T, class Formula>  // cuda/pointwise_loss.cuh
void pointwise_loss_grad(const Formula& formula, View<const T, Cuda> x, View<const T, Cuda> t, View<const Master<T>, Cuda> weight,
                         View<const Master<T>, Cuda> positive, const Upstream<Master<T>>& upstream, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_POINTWISE_LOSS(TEMPLATE, T, Formula)                                                                                       \
  TEMPLATE void pointwise_loss<T>(const Formula<T>&, View<const T>, View<const T>, View<const T>, View<const T>, View<T>, View<LossSum>); \
  TEMPLATE void pointwise_loss_grad<false, T>(const Formula<T>&, View<const T>, View<const T>, View<const T>, View<const T>,              \
                                              const Upstream<T>&, View<T>);                                                               \
  TEMPLATE void pointwise_loss_grad<true, T>(const Formula<T>&, View<const T>, View<const T>, View<const T>, View<const T>,               \
                                             const Upstream<T>&, View<T>);
#define SEGNET_KERNELS_POINTWISE_LOSS(TEMPLATE, T)       \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, MeanSquaredError)   \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, AbsoluteError)      \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, SmoothL1)           \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, Huber)              \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, BinaryCrossEntropy) \
  SEGNET_POINTWISE_LOSS(TEMPLATE, T, SigmoidFocal)
SEGNET_EXTERN(SEGNET_KERNELS_POINTWISE_LOSS)

}  // namespace segnet::kernels
