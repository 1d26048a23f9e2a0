// The sums behind the Dice loss, per image and class, and the gradient that is linear in target and prediction.
#pragma once

#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"

namespace segnet::kernels {

/// Targets of the Dice loss: values t [pixels, C], or labels [pixels] that stand for 0 and 1.
template <class T>
struct DenseTarget {
  const T* t;
  index_t C;
  SEGNET_HOST_DEVICE bool ignored(index_t) const { return false; }
  SEGNET_HOST_DEVICE T operator()(index_t pixel, index_t c) const { return t[pixel * C + c]; }
};
template <class T, class Label>
struct LabelTarget {
  const Label* label;
  index_t ignore_index;
  SEGNET_HOST_DEVICE bool ignored(index_t pixel) const { return static_cast<index_t>(label[pixel]) == ignore_index; }
  SEGNET_HOST_DEVICE T operator()(index_t pixel, index_t c) const { return static_cast<index_t>(label[pixel]) == c ? T(1) : T(0); }
};

/// What Dice = 2 overlap / (prediction + target) is made of.
struct DiceSums {
  double overlap = 0;     ///< sum of p t
  double prediction = 0;  ///< sum of p, or of p^2
  double target = 0;      ///< sum of t, or of t^2
};

/// p [images, pixels, C] -> [images * C] sums over the pixels that are not ignored.
template <class T, class Target>
[[nodiscard]] std::vector<DiceSums> dice_sums(View<const T> p, const Target& target, index_t images, index_t pixels, index_t C,
                                              bool squared) {
  constexpr index_t chunk = 2048;  // pixels
  const index_t chunks = (pixels + chunk - 1) / chunk;
  std::vector<DiceSums> partial(static_cast<std::size_t>(images * chunks * C)), total(static_cast<std::size_t>(images * C));
  parallel_chunks(images * chunks, [&](index_t k) {
    const index_t first = k / chunks * pixels, begin = first + k % chunks * chunk, end = std::min(first + pixels, begin + chunk);
    DiceSums* sums = partial.data() + k * C;
    for (index_t i = begin; i < end; ++i) {
      if (target.ignored(i)) continue;
      for (index_t c = 0; c < C; ++c) {
        const double a = static_cast<double>(p[i * C + c]), t = static_cast<double>(target(i, c));
        sums[c].overlap += a * t;
        sums[c].prediction += squared ? a * a : a;
        sums[c].target += squared ? t * t : t;
      }
    }
  });
  for (index_t k = 0; k < images * chunks; ++k)
    for (index_t c = 0; c < C; ++c) {
      const DiceSums& from = partial[static_cast<std::size_t>(k * C + c)];
      DiceSums& to = total[static_cast<std::size_t>(k / chunks * C + c)];
      to.overlap += from.overlap;
      to.prediction += from.prediction;
      to.target += from.target;
    }
  return total;
}

/// dp = by_target t + by_prediction (1, or 2 p): coefficients per image and class [images * C]; 0 where ignored.
template <class T, class Target>
void dice_grad(ConstView<T> p, const Target& target, const std::vector<T>& by_target, const std::vector<T>& by_prediction, index_t pixels,
               index_t C, bool squared, View<T> dp) {
  parallel_for(C ? dp.size() / C : 0, 2048, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const T* a = by_target.data() + i / pixels * C;
      const T* b = by_prediction.data() + i / pixels * C;
      const bool ignored = target.ignored(i);
      for (index_t c = 0; c < C; ++c) dp[i * C + c] = ignored ? T(0) : a[c] * target(i, c) + b[c] * (squared ? T(2) * p[i * C + c] : T(1));
    }
  });
}

}  // namespace segnet::kernels
