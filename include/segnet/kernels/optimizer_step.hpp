// The updates of the optimisers: each reads the gradient and the parameter once and writes parameter and state, in one pass. What else
// happens to all parameters between two steps is here, too: clipping and moving averages. All take a list of tensors: on the GPU it is
// worked off by one kernel (by one per hundred tensors), not by one each.
//
// Notation: p parameter, g gradient, l learning rate, d weight decay, t number of the step, counted from 1.
#pragma once

#include <array>
#include <cmath>
#include <vector>

#include "segnet/core/compiled.hpp"
#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/loss_sum.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

/// n tensors of one size that are updated together, element by element.
template <class T, class D, std::size_t n>
struct Together {
  std::array<T*, n> at;
  index_t size;
};
template <class T, class D, std::size_t n>
using Batch = std::vector<Together<T, D, n>>;

/// What an optimiser works on: parameter, gradient, and up to three tensors of state, null where there are fewer.
template <class T, class D>
using Updates = Batch<T, D, 5>;

/// g' = g + d p;  b = momentum b + (1 - dampening) g';  p -= l (nesterov ? g' + momentum b : b). Sutskever et al., ICML 2013.
template <class T>
struct SgdStep {
  T lr, weight_decay, momentum, keep;  ///< keep = 1 - dampening, and 1 in the first step
  bool nesterov;

  SEGNET_INLINE SEGNET_HOST_DEVICE void plain(T& p, T g) const { p -= lr * (g + weight_decay * p); }
  SEGNET_INLINE SEGNET_HOST_DEVICE void heavy_ball(T& p, T g, T& b) const {
    b = momentum * b + keep * (g + weight_decay * p);
    p -= lr * b;
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE void look_ahead(T& p, T g, T& b) const {
    const T decayed = g + weight_decay * p;
    b = momentum * b + keep * decayed;
    p -= lr * (decayed + momentum * b);
  }
};
/// g' = g + d p, or p -= l d p first where the decay is `decoupled` (Loshchilov & Hutter, arXiv:1711.05101);
/// m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2;  p -= l / (1 - beta1^t) m / (sqrt(u / (1 - beta2^t)) + eps),
/// u = v, or the largest v so far (amsgrad, Reddi et al., arXiv:1904.09237). Kingma & Ba, arXiv:1412.6980.
template <class T>
struct AdamStep {
  T lr, weight_decay, beta1, beta2, eps;
  T step_size;  ///< l / (1 - beta1^t)
  T root_bias;  ///< sqrt(1 - beta2^t)
  bool decoupled;

  SEGNET_INLINE SEGNET_HOST_DEVICE void plain(T& p, T g, T& m, T& v) const {
    moments(p, g, m, v);
    apply(p, m, v);
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE void amsgrad(T& p, T g, T& m, T& v, T& top) const {
    moments(p, g, m, v);
    top = top > v ? top : v;
    apply(p, m, top);
  }

 private:
  SEGNET_INLINE SEGNET_HOST_DEVICE void moments(const T& p, T g, T& m, T& v) const {
    const T decayed = g + (decoupled ? T(0) : weight_decay) * p;
    m = beta1 * m + (T(1) - beta1) * decayed;
    v = beta2 * v + (T(1) - beta2) * decayed * decayed;
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE void apply(T& p, const T& m, const T& u) const {
    p = (decoupled ? T(1) - lr * weight_decay : T(1)) * p - step_size * m / (math::sqrt(u) / root_bias + eps);
  }
};
/// g' = g + d p;  v = alpha v + (1 - alpha) g'^2;  a = alpha a + (1 - alpha) g' (centered);
/// u = g' / (sqrt(v - a^2) + eps);  b = momentum b + u;  p -= l b. Tieleman & Hinton, lecture 6e, 2012; Graves, arXiv:1308.0850.
template <class T>
struct RmspropStep {
  T lr, weight_decay, alpha, eps, momentum;

  /// u
  SEGNET_INLINE SEGNET_HOST_DEVICE T plain(const T& p, T g, T& v) const {
    const T decayed = g + weight_decay * p;
    v = alpha * v + (T(1) - alpha) * decayed * decayed;
    return decayed / (math::sqrt(v) + eps);
  }
  SEGNET_INLINE SEGNET_HOST_DEVICE T centered(const T& p, T g, T& v, T& a) const {
    const T decayed = g + weight_decay * p;
    v = alpha * v + (T(1) - alpha) * decayed * decayed;
    a = alpha * a + (T(1) - alpha) * decayed;
    const T variance = v - a * a;  // rounding may take it below 0
    return decayed / (math::sqrt(variance < T(0) ? T(0) : variance) + eps);
  }
  /// u() is one of the above.
  template <class U>
  SEGNET_INLINE SEGNET_HOST_DEVICE void apply(T& p, const U& u) const {
    p -= lr * u();
  }
  template <class U>
  SEGNET_INLINE SEGNET_HOST_DEVICE void apply(T& p, const U& u, T& b) const {
    b = momentum * b + u();
    p -= lr * b;
  }
};

namespace detail {
/// Calls f(i) for i < n in the machine's vectors.
template <class F>
void update_elements(index_t n, const F& f) {
  parallel_for(n, 1 << 14, [&](index_t begin, index_t end) {
    vectorized([=, &f]() SEGNET_INLINE_LAMBDA {
      const F g = f;  // a local copy, which the stores below cannot change
      SEGNET_SIMD
      for (index_t i = begin; i < end; ++i) g(i);
    });
  });
}
}  // namespace detail

/// state: {b}, none without momentum.
template <class T>
void sgd_step(const SgdStep<T>& s, const Updates<T, Cpu>& updates) {
  for (const auto& [at, n] : updates) {
    T *p = at[0], *b = at[2];
    const T* g = at[1];
    if (!b) detail::update_elements(n, [=](index_t i) SEGNET_INLINE_LAMBDA { s.plain(p[i], g[i]); });
    else if (!s.nesterov) detail::update_elements(n, [=](index_t i) SEGNET_INLINE_LAMBDA { s.heavy_ball(p[i], g[i], b[i]); });
    else detail::update_elements(n, [=](index_t i) SEGNET_INLINE_LAMBDA { s.look_ahead(p[i], g[i], b[i]); });
  }
}
template <class T>  // cuda/optimizer_step.cuh, as all below
void sgd_step(const SgdStep<T>& s, const Updates<T, Cuda>& updates);

/// state: {m, v}, with amsgrad {m, v, the largest v}.
template <class T>
void adam_step(const AdamStep<T>& s, const Updates<T, Cpu>& updates) {
  for (const auto& [at, n] : updates) {
    T *p = at[0], *m = at[2], *v = at[3], *top = at[4];
    const T* g = at[1];
    if (!top) detail::update_elements(n, [=](index_t i) SEGNET_INLINE_LAMBDA { s.plain(p[i], g[i], m[i], v[i]); });
    else detail::update_elements(n, [=](index_t i) SEGNET_INLINE_LAMBDA { s.amsgrad(p[i], g[i], m[i], v[i], top[i]); });
  }
}
template <class T>
void adam_step(const AdamStep<T>& s, const Updates<T, Cuda>& updates);

/// state: {v, a, b}; a is null where not centered, b without momentum.
template <class T>
void rmsprop_step(const RmspropStep<T>& s, const Updates<T, Cpu>& updates) {
  for (const auto& [at, n] : updates) {
    T *p = at[0], *v = at[2], *a = at[3], *b = at[4];
    const T* g = at[1];
    const auto run = [=, size = n](const auto& u) {
      if (!b) {
        detail::update_elements(size, [=](index_t i) SEGNET_INLINE_LAMBDA { s.apply(p[i], [&]() SEGNET_INLINE_LAMBDA { return u(i); }); });
      } else {
        detail::update_elements(size,
                                [=](index_t i) SEGNET_INLINE_LAMBDA { s.apply(p[i], [&]() SEGNET_INLINE_LAMBDA { return u(i); }, b[i]); });
      }
    };
    if (a) run([=](index_t i) SEGNET_INLINE_LAMBDA { return s.centered(p[i], g[i], v[i], a[i]); });
    else run([=](index_t i) SEGNET_INLINE_LAMBDA { return s.plain(p[i], g[i], v[i]); });
  }
}
template <class T>
void rmsprop_step(const RmspropStep<T>& s, const Updates<T, Cuda>& updates);

/// How far all gradients are scaled so that their norm is no more than max_norm; 1 where the norm is not finite.
[[nodiscard]] SEGNET_HOST_DEVICE inline double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return std::isfinite(norm) && factor < 1 ? factor : 1;
}
/// result = {the 2-norm of all gradients as one vector, clip_factor}
template <class T>
void gradient_norm(const Batch<T, Cpu, 1>& gradients, double max_norm, View<double, Cpu> result) {
  double squares = 0;
  for (const auto& [at, n] : gradients) {
    const T* g = at[0];
    const auto sum = sum_losses(n, 1 << 14, [=](index_t begin, index_t end, LossSum& partial) {
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        constexpr index_t lanes = 32;
        double lane[lanes] = {};
        for (index_t first = begin; first < end; first += lanes) {
          const index_t count = std::min(lanes, end - first);
          SEGNET_SIMD
          for (index_t j = 0; j < count; ++j) lane[j] += static_cast<double>(g[first + j]) * static_cast<double>(g[first + j]);
        }
        for (const double l : lane) partial.loss += l;
      });
    });
    squares += sum.loss;
  }
  result[0] = std::sqrt(squares);
  result[1] = clip_factor(result[0], max_norm);
}
template <class T>
void gradient_norm(const Batch<T, Cuda, 1>& gradients, double max_norm, View<double, Cuda> result);

/// {to, from}: to = from times norm[1], which `gradient_norm` left.
template <class T>
void scale_gradients(const Batch<T, Cpu, 2>& gradients, View<const double, Cpu> norm) {
  const T factor = static_cast<T>(norm[1]);
  for (const auto& [at, n] : gradients) {
    T* to = at[0];
    const T* from = at[1];
    parallel_for(n, 1 << 15, [=](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) to[i] = from[i] * factor;
    });
  }
}
template <class T>
void scale_gradients(const Batch<T, Cuda, 2>& gradients, View<const double, Cuda> norm);

/// x in [-limit, limit]; NaN stays.
template <class T>
[[nodiscard]] SEGNET_INLINE SEGNET_HOST_DEVICE T limited(T x, T limit) {
  return x > limit ? limit : x < -limit ? -limit : x;
}
/// {to, from}: to = from, limited.
template <class T>
void limit_gradients(const Batch<T, Cpu, 2>& gradients, std::type_identity_t<T> limit) {
  for (const auto& [at, n] : gradients) {
    T* to = at[0];
    const T* from = at[1];
    parallel_for(n, 1 << 15, [=](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) to[i] = limited(from[i], limit);
    });
  }
}
template <class T>
void limit_gradients(const Batch<T, Cuda, 2>& gradients, std::type_identity_t<T> limit);

/// {average, weight}: average = keep average + (1 - keep) weight
template <class T>
void update_averages(const Batch<T, Cpu, 2>& pairs, std::type_identity_t<T> keep) {
  for (const auto& [at, n] : pairs) {
    T* average = at[0];
    const T* weight = at[1];
    parallel_for(n, 1 << 14, [=](index_t begin, index_t end) {
      vectorized([=]() SEGNET_INLINE_LAMBDA {
        SEGNET_SIMD
        for (index_t i = begin; i < end; ++i) average[i] = weight[i] + keep * (average[i] - weight[i]);
      });
    });
  }
}
template <class T>
void update_averages(const Batch<T, Cuda, 2>& pairs, std::type_identity_t<T> keep);

/// Exchanges two tensors' elements.
template <class T>
void swap_elements(const Batch<T, Cpu, 2>& pairs) {
  for (const auto& [at, n] : pairs)
    for (index_t i = 0; i < n; ++i) std::swap(at[0][i], at[1][i]);
}
template <class T>
void swap_elements(const Batch<T, Cuda, 2>& pairs);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_OPTIMIZER_STEP(TEMPLATE, T)                     \
  TEMPLATE void sgd_step(const SgdStep<T>&, const Updates<T, Cpu>&);   \
  TEMPLATE void adam_step(const AdamStep<T>&, const Updates<T, Cpu>&); \
  TEMPLATE void rmsprop_step(const RmspropStep<T>&, const Updates<T, Cpu>&);
SEGNET_EXTERN(SEGNET_KERNELS_OPTIMIZER_STEP)

}  // namespace segnet::kernels
