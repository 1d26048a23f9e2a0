// The sums behind the Dice loss, per image and class, and the gradient that is linear in target and prediction.
#pragma once

#include <vector>

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/view.hpp"
#include "segnet/kernels/loss_sum.hpp"

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

/// loss = 1 - a / b with a = 2 overlap + smooth, b = prediction + target + smooth; d loss = (a / b^2) db - (1 / b) da
struct DiceTerms {
  double a, b;
  SEGNET_HOST_DEVICE DiceTerms(const DiceSums& s, double smooth) : a(2 * s.overlap + smooth), b(s.prediction + s.target + smooth) {}
  SEGNET_HOST_DEVICE double loss() const { return 1 - a / b; }
  SEGNET_HOST_DEVICE double by_target() const { return -2 / b; }
  SEGNET_HOST_DEVICE double by_prediction() const { return a / (b * b); }
};

/// p [images, pixels, C] -> total [images * C]: sums over the pixels that are not ignored.
template <class T, class Target>
void dice_sums(View<const T, Cpu> p, const Target& target, index_t images, index_t pixels, index_t C, bool squared,
               View<DiceSums, Cpu> total) {
  constexpr index_t chunk = 2048;  // pixels
  const index_t chunks = (pixels + chunk - 1) / chunk;
  std::vector<DiceSums> partial(static_cast<std::size_t>(images * chunks * C));
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
  for (index_t k = 0; k < images * C; ++k) total[k] = {};
  for (index_t k = 0; k < images * chunks; ++k)
    for (index_t c = 0; c < C; ++c) {
      const DiceSums& from = partial[static_cast<std::size_t>(k * C + c)];
      DiceSums& to = total[k / chunks * C + c];
      to.overlap += from.overlap;
      to.prediction += from.prediction;
      to.target += from.target;
    }
}
template <class T, class Target>  // cuda/dice_loss.cuh
void dice_sums(View<const T, Cuda> p, const Target& target, index_t images, index_t pixels, index_t C, bool squared,
               View<DiceSums, Cuda> total);

/// The losses of sums [n], each to `loss` unless it is null, and their sum.
template <class T>
void dice_loss(View<const DiceSums, Cpu> sums, double smooth, View<T, Cpu> loss, View<LossSum, Cpu> sum) {
  LossSum total;
  total.weight = static_cast<double>(sums.size());
  for (index_t k = 0; k < sums.size(); ++k) {
    const double value = DiceTerms(sums[k], smooth).loss();
    if (loss) loss[k] = static_cast<T>(value);
    total.loss += value;
  }
  sum[0] = total;
}
template <class T>  // cuda/dice_loss.cuh
void dice_loss(View<const DiceSums, Cuda> sums, double smooth, View<T, Cuda> loss, View<LossSum, Cuda> sum);

/// dp = g (by_target t + by_prediction (1, or 2 p)), with coefficients per image and class [images * C]; 0 where ignored.
template <class T, class Target>
void dice_grad(View<const T, Cpu> p, const Target& target, View<const DiceSums, Cpu> sums, double smooth, const Upstream<T>& upstream,
               index_t pixels, index_t C, bool squared, View<T, Cpu> dp) {
  std::vector<T> by_target, by_prediction;
  for (index_t k = 0; k < sums.size(); ++k) {
    const DiceTerms terms(sums[k], smooth);
    by_target.push_back(static_cast<T>(terms.by_target()) * upstream(k));
    by_prediction.push_back(static_cast<T>(terms.by_prediction()) * upstream(k));
  }
  parallel_for(C ? dp.size() / C : 0, 2048, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const T* a = by_target.data() + i / pixels * C;
      const T* b = by_prediction.data() + i / pixels * C;
      const bool ignored = target.ignored(i);
      for (index_t c = 0; c < C; ++c) dp[i * C + c] = ignored ? T(0) : a[c] * target(i, c) + b[c] * (squared ? T(2) * p[i * C + c] : T(1));
    }
  });
}
template <class T, class Target>  // cuda/dice_loss.cuh
void dice_grad(View<const T, Cuda> p, const Target& target, View<const DiceSums, Cuda> sums, double smooth,
               const Upstream<Master<T>>& upstream, index_t pixels, index_t C, bool squared, View<T, Cuda> dp);

}  // namespace segnet::kernels
