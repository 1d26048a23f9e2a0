// Normalisation and ReLU of feature maps that lie side by side in tensors of their own, into one tensor: what a DenseNet's layers read.
//
// The parts are read, and their gradients added to, where they are, in chunks of rows whose side in the one tensor stays in cache until
// all parts have been there.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/kernels/normalization.hpp"

namespace segnet::kernels {

namespace detail {

/// f(i, its channels, its first channel in the concatenation) for each of the parts [g.P, Ci].
template <class T, class F>
void for_parts(const std::vector<ConstView<T>>& parts, const F& f) {
  index_t at = 0;
  for (std::size_t i = 0; i < parts.size(); at += parts[i++].shape[-1]) f(i, parts[i].shape[-1], at);
}

}  // namespace detail

/// relu of `normalize_channels` of the concatenation of `parts`, whose channels add up to g.C, with coefficients [5, g.C]; g.S = 1.
template <class T>
void normalize_concatenated(const NormGeometry& g, const std::vector<ConstView<T>>& parts, ConstView<T> coefficients, View<T> y) {
  detail::for_norm_chunks(g, [&](index_t, index_t, index_t first, index_t rows) {
    detail::for_parts<T>(parts, [&](std::size_t part, index_t channels, index_t at) {
      const T *centre = coefficients.data + at, *factor = centre + norm_factor * g.C, *offset = centre + norm_offset * g.C;
      const T* x = parts[part].data;
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        for (index_t r = first; r < first + rows; ++r)
          for_channels<T>(channels, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
            const T* in = x + r * channels + c;
            assign<count()>(y.data + r * g.C + at + c, [&](int i) SEGNET_INLINE_LAMBDA {
              const T z = (in[i] - centre[c + i]) * factor[c + i] + offset[c + i];
              return z <= 0 ? T(0) : z;
            });
          });
      });
    });
  });
}

/// `channel_gradient_sums` of the same, dy being [g.P, g.C].
template <class T>
void concatenated_gradient_sums(const NormGeometry& g, ConstView<T> dy, const std::vector<ConstView<T>>& parts, ConstView<T> coefficients,
                                View<double> sums) {
  const Tensor<T> partial({g.chunks(), 2, g.C});
  detail::for_norm_chunks(g, [&](index_t chunk, index_t, index_t first, index_t rows) {
    T* const chunk_sums = partial.data() + chunk * 2 * g.C;
    std::fill(chunk_sums, chunk_sums + 2 * g.C, T(0));
    detail::for_parts<T>(parts, [&](std::size_t part, index_t channels, index_t at) {
      const T *centre = coefficients.data + at, *factor = centre + norm_factor * g.C, *offset = centre + norm_offset * g.C;
      const T *x = parts[part].data + first * channels, *gradients = dy.data + first * g.C + at;
      T *plain = chunk_sums + at, *weighted = plain + g.C;
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        detail::for_row_groups<T>(rows, channels, [&](index_t r, auto group, index_t c, auto count) SEGNET_INLINE_LAMBDA {
          T a[count()] = {}, b[count()] = {};
          for (int k = 0; k < group(); ++k) {
            const T *in = x + (r + k) * channels + c, *gradient = gradients + (r + k) * g.C + c;
            for (int i = 0; i < count(); ++i) {
              const T d = in[i] - centre[c + i], u = math::select(d * factor[c + i] + offset[c + i] > 0, gradient[i], T(0));
              a[i] += u;
              b[i] += u * d;
            }
          }
          assign<count()>(plain + c, [&](int i) SEGNET_INLINE_LAMBDA { return plain[c + i] + a[i]; });
          assign<count()>(weighted + c, [&](int i) SEGNET_INLINE_LAMBDA { return weighted[c + i] + b[i]; });
        });
      });
    });
  });
  detail::add_chunks(g, 2 * g.C, partial.data(), sums.data);
}

/// dx[i] += what `normalize_channels_backward` gives for part i; those without data are not wanted.
template <class T>
void add_concatenated_backward(const NormGeometry& g, ConstView<T> dy, const std::vector<ConstView<T>>& parts, ConstView<T> coefficients,
                               ConstView<T> dx_coefficients, const std::vector<View<T>>& dx) {
  detail::for_norm_chunks(g, [&](index_t, index_t, index_t first, index_t rows) {
    detail::for_parts<T>(parts, [&](std::size_t part, index_t channels, index_t at) {
      const T *centre = coefficients.data + at, *factor = centre + norm_factor * g.C, *offset = centre + norm_offset * g.C;
      const T *a = dx_coefficients ? dx_coefficients.data + at : factor, *b = a + g.C, *k = b + g.C;
      const T* x = parts[part].data;
      T* const to = dx[part].data;
      if (!to) return;
      const auto run = [&](auto constant) SEGNET_INLINE_LAMBDA {
        for (index_t r = first; r < first + rows; ++r)
          for_channels_once<T>(channels, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
            const T *in = x + r * channels + c, *gradient = dy.data + r * g.C + at + c;
            T* const sum = to + r * channels + c;
            assign<count()>(sum, [&](int i) SEGNET_INLINE_LAMBDA {
              const T d = in[i] - centre[c + i], u = math::select(d * factor[c + i] + offset[c + i] > 0, gradient[i], T(0));
              if constexpr (constant()) return sum[i] + factor[c + i] * u;
              else return sum[i] + (a[c + i] * u + (b[c + i] * d + k[c + i]));
            });
          });
      };
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        if (dx_coefficients) run(std::false_type{});
        else run(std::true_type{});
      });
    });
  });
}

}  // namespace segnet::kernels
