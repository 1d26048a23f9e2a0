// Normalisation of feature maps that lie side by side in tensors of their own, into one tensor: what a DenseNet's layers read.
#pragma once

#include <vector>

#include "segnet/kernels/normalization.hpp"

namespace segnet::kernels {

/// `normalize_channels` of the concatenation of `parts` [g.P, Ci], whose channels add up to g.C, with coefficients [5, g.C]; g.S = 1.
/// The parts are read where they are, in chunks of rows whose results stay in cache until they are complete.
template <class T>
void normalize_concatenated(const NormGeometry& g, const std::vector<ConstView<T>>& parts, ConstView<T> coefficients, bool relu,
                            View<T> y) {
  detail::for_norm_chunks(g, [&](index_t, index_t, index_t first, index_t rows) {
    index_t at = 0;  // the part's first channel in y
    for (const auto& part : parts) {
      const index_t channels = part.shape[-1];
      const T *centre = coefficients.data + at, *factor = centre + norm_factor * g.C, *offset = centre + norm_offset * g.C;
      const auto run = [&](auto clip) SEGNET_INLINE_LAMBDA {
        for (index_t r = first; r < first + rows; ++r)
          for_channels<T>(channels, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
            const T* in = part.data + r * channels + c;
            assign<count()>(y.data + r * g.C + at + c, [&](int i) SEGNET_INLINE_LAMBDA {
              const T z = (in[i] - centre[c + i]) * factor[c + i] + offset[c + i];
              return clip() && z <= 0 ? T(0) : z;
            });
          });
      };
      vectorized([&]() SEGNET_INLINE_LAMBDA {
        if (relu) run(std::true_type{});
        else run(std::false_type{});
      });
      at += channels;
    }
  });
}

}  // namespace segnet::kernels
