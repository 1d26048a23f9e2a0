// Local response norm: an element a thread; a pixel's channels are in the L1 cache for all who are near.
#pragma once

#include "launch.cuh"
#include "segnet/kernels/local_response_norm.hpp"

namespace segnet {

namespace cuda {

/// What the elements of x [pixels, C] need: d = k + alpha / size * (sum of squares around them), and its power -beta.
template <class T>
struct ResponseAt {
  using M = Master<T>;
  index_t C, before, behind;
  M scale, k, beta;
  bool by_roots;  ///< beta = 3/4, the papers' choice
  const T* x;

  ResponseAt(const kernels::ResponseNorm& norm, index_t channels, const T* values)
      : C(channels),
        before(norm.size / 2),
        behind((norm.size - 1) / 2),
        scale(static_cast<M>(norm.alpha / static_cast<double>(norm.size))),
        k(static_cast<M>(norm.k)),
        beta(static_cast<M>(norm.beta)),
        by_roots(norm.beta == 0.75),
        x(values) {}

  SEGNET_HOST_DEVICE M value(index_t i) const { return static_cast<M>(x[i]); }
  /// Sum of f(j) over the elements of the same pixel from `first` to `last`, both relative to i.
  template <class F>
  SEGNET_HOST_DEVICE M sum_around(index_t i, index_t ahead, index_t after, const F& f) const {
    const index_t c = i % C, low = c < ahead ? 0 : c - ahead, high = after < C - 1 - c ? c + after : C - 1;
    M sum = 0;
    for (index_t j = low; j <= high; ++j) sum += f(i - c + j);
    return sum;
  }
  SEGNET_HOST_DEVICE M d(index_t i) const {
    return k + scale * sum_around(i, before, behind, [&](index_t j) { return value(j) * value(j); });
  }
  SEGNET_HOST_DEVICE M power(M d) const {
    if (!by_roots) return pow(d, -beta);
    const M root = sqrt(d);
    return M(1) / (root * sqrt(root));
  }
};

template <class T>
struct LocalResponseNorm {
  ResponseAt<T> at;
  T* y;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { y[i] = static_cast<T>(at.value(i) * at.power(at.d(i))); }
};

/// ratio[i] = dy * x * d^(-beta-1) and plain[i] = dy * d^-beta: what the neighbours of i, and i itself, need of it.
template <class T>
struct LocalResponseNormTerms {
  ResponseAt<T> at;
  const T* dy;
  Master<T>*ratio, *plain;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const Master<T> d = at.d(i), scaled = static_cast<Master<T>>(dy[i]) * at.power(d);
    plain[i] = scaled;
    ratio[i] = scaled * at.value(i) / d;
  }
};
/// The neighbourhood turned round: c reaches j where j reaches c.
template <class T>
struct LocalResponseNormBackward {
  ResponseAt<T> at;
  Master<T> scale;
  const Master<T>*ratio, *plain;
  T* dx;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const Master<T> sum = at.sum_around(i, at.behind, at.before, [&](index_t j) { return ratio[j]; });
    dx[i] = static_cast<T>(plain[i] - scale * at.value(i) * sum);
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void local_response_norm(const ResponseNorm& norm, ConstView<T, Cuda> x, index_t C, View<T, Cuda> y) {
  cuda::for_each(x.size(), cuda::LocalResponseNorm<T>{{norm, C, x.data}, y.data});
}

template <class T>
void local_response_norm_backward(const ResponseNorm& norm, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, index_t C, View<T, Cuda> dx) {
  const cuda::ResponseAt<T> at(norm, C, x.data);
  const cuda::Scratch<Master<T>> ratio(x.size()), plain(x.size());
  const auto scale = static_cast<Master<T>>(2 * norm.alpha * norm.beta / static_cast<double>(norm.size));
  cuda::for_each(x.size(), cuda::LocalResponseNormTerms<T>{at, dy.data, ratio.data(), plain.data()});
  cuda::for_each(x.size(), cuda::LocalResponseNormBackward<T>{at, scale, ratio.data(), plain.data(), dx.data});
}

}  // namespace kernels
}  // namespace segnet
