// Which target each anchor or proposal is to learn: arXiv:1506.01497, section 3.1.2. And which of them are asked: balanced samples.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/core/random.hpp"
#include "segnet/detection/boxes.hpp"

namespace segnet {

struct MatcherOptions {
  double high = 0.5, low = 0.5;  ///< IoU of at least `high`: a match; below `low`: background; between: neither
  /// Every box whose IoU with some target is the largest that this target has gets its own best target back, however small the IoU.
  bool allow_low_quality = false;
};

/// Entries of `match` that are no target.
inline constexpr index_t matched_background = -1, matched_nothing = -2;

/// For each of N boxes the number of its best target (of equals the first), or one of the two above; all background where there is no
/// target. @param quality [targets, N], IoU   @throws ShapeError; ValueError: low > high
[[nodiscard]] inline std::vector<index_t> match(const Tensor<float>& quality, const MatcherOptions& options) {
  if (quality.rank() != 2) throw ShapeError("match", "quality", "[targets, N]", quality.shape());
  if (options.low > options.high) throw ValueError("match", "low", concat("at most high = ", options.high), concat(options.low));
  const index_t M = quality.dim(0), N = quality.dim(1);
  std::vector<index_t> best(static_cast<std::size_t>(N), matched_background), matches;
  std::vector<float> value(static_cast<std::size_t>(N), -1);
  for (index_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < best.size(); ++n)
      if (const float q = quality.data()[m * N + static_cast<index_t>(n)]; q > value[n]) {
        value[n] = q;
        best[n] = m;
      }
  matches = best;
  for (std::size_t n = 0; n < best.size(); ++n) {
    if (value[n] < static_cast<float>(options.low)) matches[n] = matched_background;
    else if (value[n] < static_cast<float>(options.high)) matches[n] = matched_nothing;
  }
  for (index_t m = 0; m < (options.allow_low_quality && N > 0 ? M : 0); ++m) {
    const float *const row = quality.data() + m * N, largest = *std::max_element(row, row + N);
    for (std::size_t n = 0; n < best.size(); ++n)
      if (row[n] == largest) matches[n] = best[n];
  }
  return matches;
}

/// Numbers of the positives and negatives that were drawn, each in rising order.
struct BalancedSample {
  std::vector<index_t> positive, negative;

  /// Both, in rising order.
  [[nodiscard]] std::vector<index_t> all() const {
    std::vector<index_t> both(positive.size() + negative.size());
    std::merge(positive.begin(), positive.end(), negative.begin(), negative.end(), both.begin());
    return both;
  }
};

/// Draws `count` boxes: at most count * positive_fraction of the positives (labels of at least 1), then negatives (0) until there are
/// `count`, or all there are. Others are never drawn.
[[nodiscard]] inline BalancedSample balanced_sample(const std::vector<index_t>& labels, index_t count, double positive_fraction,
                                                    Generator& random) {
  BalancedSample sample;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 1) sample.positive.push_back(static_cast<index_t>(i));
    else if (labels[i] == 0) sample.negative.push_back(static_cast<index_t>(i));
  }
  const auto draw = [&](std::vector<index_t>& from, index_t most) {
    const auto n = static_cast<index_t>(from.size()), wanted = std::min(n, most);
    for (index_t i = 0; i < wanted && wanted < n; ++i)
      std::swap(from[static_cast<std::size_t>(i)], from[static_cast<std::size_t>(i + random.below(n - i))]);
    from.resize(static_cast<std::size_t>(wanted));
    std::sort(from.begin(), from.end());
  };
  draw(sample.positive, static_cast<index_t>(static_cast<double>(count) * positive_fraction));
  draw(sample.negative, count - static_cast<index_t>(sample.positive.size()));
  return sample;
}

}  // namespace segnet
