// Local response normalisation: each channel divided by a power of the squares of its neighbours, pixel by pixel.
#pragma once

#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/channels.hpp"
#include "segnet/kernels/math.hpp"

namespace segnet::kernels {

/// y[c] = x[c] / d[c]^beta,  d[c] = k + alpha / size * (sum of x[j]^2 over the channels j in [c - size/2, c + (size-1)/2])
struct ResponseNorm {
  index_t size;
  double alpha, beta, k;
};

namespace detail {

/// One pixel's neighbourhoods. Keeps scratch for rows of C channels, with `size - 1` zeros around one of them.
template <class T>
class ResponseWindow {
 public:
  ResponseWindow(const ResponseNorm& norm, index_t C)
      : norm_(norm), C_(C), padded_(static_cast<std::size_t>(C + norm.size - 1), T(0)), base_(static_cast<std::size_t>(C)), power_(base_) {}

  /// d and d^-beta of the pixel x.
  SEGNET_INLINE void look_at(const T* x) {
    const T scale = static_cast<T>(norm_.alpha / static_cast<double>(norm_.size)), k = static_cast<T>(norm_.k);
    T *d = base_.data(), *power = power_.data();
    sum_neighbours(
        norm_.size / 2, [&](index_t c) SEGNET_INLINE_LAMBDA { return x[c] * x[c]; },
        [&](index_t c, T sum) SEGNET_INLINE_LAMBDA { d[c] = k + scale * sum; });
    if (norm_.beta == 0.75) {  // as in the papers: by square roots
      for_channels<T>(C_, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
        for (int i = 0; i < count(); ++i) {
          const T root = math::sqrt(d[c + i]);
          power[c + i] = T(1) / (root * math::sqrt(root));
        }
      });
    } else {
      for (index_t c = 0; c < C_; ++c) power[c] = std::pow(d[c], static_cast<T>(-norm_.beta));
    }
  }
  /// put(c, sum of value(j) over j in [c - before, c + size - 1 - before]) for every channel.
  template <class Value, class Put>
  SEGNET_INLINE void sum_neighbours(index_t before, const Value& value, const Put& put) {
    T* padded = padded_.data();
    std::fill_n(padded, before, T(0));
    std::fill_n(padded + before + C_, norm_.size - 1 - before, T(0));
    for_channels<T>(C_, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
      for (int i = 0; i < count(); ++i) padded[before + c + i] = value(c + i);
    });
    for_channels<T>(C_, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
      T sum[count()] = {};
      for (index_t j = 0; j < norm_.size; ++j)
        for (int i = 0; i < count(); ++i) sum[i] += padded[c + j + i];
      for (int i = 0; i < count(); ++i) put(c + i, sum[i]);
    });
  }
  const T* base() const { return base_.data(); }    ///< d
  const T* power() const { return power_.data(); }  ///< d^-beta

 private:
  ResponseNorm norm_;
  index_t C_;
  std::vector<T> padded_, base_, power_;
};

}  // namespace detail

/// x, y [pixels, C]
template <class T>
void local_response_norm(const ResponseNorm& norm, ConstView<T> x, index_t C, View<T> y) {
  const index_t pixels = C ? x.size() / C : 0;
  parallel_for(pixels, std::max<index_t>(1, (index_t{1} << 14) / std::max<index_t>(C, 1)), [&](index_t begin, index_t end) {
    detail::ResponseWindow<T> window(norm, C);
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      for (index_t p = begin; p < end; ++p) {
        const T* in = x.data + p * C;
        T* out = y.data + p * C;
        window.look_at(in);
        const T* power = window.power();
        for_channels<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          for (int i = 0; i < count(); ++i) out[c + i] = in[c + i] * power[c + i];
        });
      }
    });
  });
}

/// dx[j] = dy[j] * d[j]^-beta - 2 * alpha * beta / size * x[j] * (sum of dy[c] * x[c] * d[c]^(-beta-1) over the c that j is near to)
template <class T>
void local_response_norm_backward(const ResponseNorm& norm, ConstView<T> dy, ConstView<T> x, index_t C, View<T> dx) {
  const index_t pixels = C ? x.size() / C : 0;
  const T scale = static_cast<T>(2 * norm.alpha * norm.beta / static_cast<double>(norm.size));
  parallel_for(pixels, std::max<index_t>(1, (index_t{1} << 14) / std::max<index_t>(C, 1)), [&](index_t begin, index_t end) {
    detail::ResponseWindow<T> window(norm, C);
    with_isa([&](auto) SEGNET_INLINE_LAMBDA {
      for (index_t p = begin; p < end; ++p) {
        const T *in = x.data + p * C, *gradient = dy.data + p * C;
        T* out = dx.data + p * C;
        window.look_at(in);
        const T *base = window.base(), *power = window.power();
        window.sum_neighbours((norm.size - 1) / 2,  // the window turned round: c reaches j where j reaches c
                              [&](index_t c) SEGNET_INLINE_LAMBDA { return gradient[c] * in[c] * power[c] / base[c]; },
                              [&](index_t c, T sum) SEGNET_INLINE_LAMBDA { out[c] = gradient[c] * power[c] - scale * in[c] * sum; });
      }
    });
  });
}

}  // namespace segnet::kernels
