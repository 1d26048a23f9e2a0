// The updates of the optimisers: each reads the gradient and the parameter once and writes parameter and state, in one pass.
//
// Notation: p parameter, g gradient, l learning rate, d weight decay, t number of the step, counted from 1.
#pragma once

#include <cmath>

#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

/// g' = g + d p;  b = momentum b + (1 - dampening) g';  p -= l (nesterov ? g' + momentum b : b). Sutskever et al., ICML 2013.
template <class T>
struct SgdStep {
  T lr, weight_decay, momentum, keep;  ///< keep = 1 - dampening, and 1 in the first step
  bool nesterov;
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
};
/// g' = g + d p;  v = alpha v + (1 - alpha) g'^2;  a = alpha a + (1 - alpha) g' (centered);
/// u = g' / (sqrt(v - a^2) + eps);  b = momentum b + u;  p -= l b. Tieleman & Hinton, lecture 6e, 2012; Graves, arXiv:1308.0850.
template <class T>
struct RmspropStep {
  T lr, weight_decay, alpha, eps, momentum;
};

namespace detail {
/// Calls f(i) for i < n in the machine's vectors.
template <class F>
void update_elements(index_t n, const F& f) {
  parallel_for(n, 1 << 14, [&](index_t begin, index_t end) {
    with_isa([=, &f](auto) SEGNET_INLINE_LAMBDA {
      const F g = f;  // a local copy, which the stores below cannot change
      SEGNET_SIMD
      for (index_t i = begin; i < end; ++i) g(i);
    });
  });
}
}  // namespace detail

/// buffer: b, or null without momentum.
template <class T>
void sgd_step(const SgdStep<T>& s, View<T> parameter, ConstView<T> gradient, View<T> buffer) {
  T *p = parameter.data, *b = buffer.data;
  const T* g = gradient.data;
  if (!b) {
    detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA { p[i] -= s.lr * (g[i] + s.weight_decay * p[i]); });
  } else if (!s.nesterov) {
    detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA {
      b[i] = s.momentum * b[i] + s.keep * (g[i] + s.weight_decay * p[i]);
      p[i] -= s.lr * b[i];
    });
  } else {
    detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA {
      const T decayed = g[i] + s.weight_decay * p[i];
      b[i] = s.momentum * b[i] + s.keep * decayed;
      p[i] -= s.lr * (decayed + s.momentum * b[i]);
    });
  }
}

/// first: m; second: v; largest: the largest v, or null without amsgrad.
template <class T>
void adam_step(const AdamStep<T>& s, View<T> parameter, ConstView<T> gradient, View<T> first, View<T> second, View<T> largest) {
  T *p = parameter.data, *m = first.data, *v = second.data, *top = largest.data;
  const T* g = gradient.data;
  const T kept = s.decoupled ? T(1) - s.lr * s.weight_decay : T(1), added = s.decoupled ? T(0) : s.weight_decay;
  const auto moments = [=](index_t i) SEGNET_INLINE_LAMBDA {
    const T decayed = g[i] + added * p[i];
    m[i] = s.beta1 * m[i] + (T(1) - s.beta1) * decayed;
    v[i] = s.beta2 * v[i] + (T(1) - s.beta2) * decayed * decayed;
  };
  if (!top) {
    detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA {
      moments(i);
      p[i] = kept * p[i] - s.step_size * m[i] / (math::sqrt(v[i]) / s.root_bias + s.eps);
    });
  } else {
    detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA {
      moments(i);
      top[i] = top[i] > v[i] ? top[i] : v[i];
      p[i] = kept * p[i] - s.step_size * m[i] / (math::sqrt(top[i]) / s.root_bias + s.eps);
    });
  }
}

/// square: v; average: a, or null where not centered; buffer: b, or null without momentum.
template <class T>
void rmsprop_step(const RmspropStep<T>& s, View<T> parameter, ConstView<T> gradient, View<T> square, View<T> average, View<T> buffer) {
  T *p = parameter.data, *v = square.data, *a = average.data, *b = buffer.data;
  const T* g = gradient.data;
  const auto plain = [=](index_t i) SEGNET_INLINE_LAMBDA {
    const T decayed = g[i] + s.weight_decay * p[i];
    v[i] = s.alpha * v[i] + (T(1) - s.alpha) * decayed * decayed;
    return decayed / (math::sqrt(v[i]) + s.eps);
  };
  const auto centered = [=](index_t i) SEGNET_INLINE_LAMBDA {
    const T decayed = g[i] + s.weight_decay * p[i];
    v[i] = s.alpha * v[i] + (T(1) - s.alpha) * decayed * decayed;
    a[i] = s.alpha * a[i] + (T(1) - s.alpha) * decayed;
    const T variance = v[i] - a[i] * a[i];  // rounding may take it below 0
    return decayed / (math::sqrt(variance < T(0) ? T(0) : variance) + s.eps);
  };
  const auto apply = [=](const auto& scaled) {
    if (!b) {
      detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA { p[i] -= s.lr * scaled(i); });
    } else {
      detail::update_elements(parameter.size(), [=](index_t i) SEGNET_INLINE_LAMBDA {
        b[i] = s.momentum * b[i] + scaled(i);
        p[i] -= s.lr * b[i];
      });
    }
  };
  if (a) apply(centered);
  else apply(plain);
}

}  // namespace segnet::kernels
