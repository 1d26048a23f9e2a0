// Region proposals: Ren, He, Girshick, Sun, "Faster R-CNN", arXiv:1506.01497, section 3.1, on a feature pyramid (Lin et al.,
// arXiv:1612.03144, section 4.1).
#pragma once

#include <cmath>
#include <concepts>
#include <vector>

#include "segnet/detection/box_coder.hpp"
#include "segnet/detection/matcher.hpp"
#include "segnet/detection/nms.hpp"
#include "segnet/detection/targets.hpp"
#include "segnet/ops/activation.hpp"
#include "segnet/ops/pointwise_loss.hpp"
#include "segnet/ops/reduction.hpp"

namespace segnet {

struct ProposalOptions {
  index_t before_nms = 1000;  ///< the best of each map that go on (training: 2000)
  index_t after_nms = 1000;   ///< the best of all maps that are kept (training: 2000)
  double nms_threshold = 0.7;
  double score_threshold = 0;
  double min_size = 1e-3;
};

/// Boxes that may be objects, with their probabilities, best first.
struct RpnProposals {
  Tensor<float> boxes;   ///< [n, 4]
  Tensor<float> scores;  ///< [n]
};

/// Of each map the best by logit, corrected and clipped to the image (not to its padding); without those that are too small or whose
/// probability is too low; those left by non-maximum suppression within each map; the best of these. No gradients.
/// @param anchors [A, 4]   @param logits [N, A]   @param deltas [N, A, 4]   @param level_sizes anchors of each map, A in all
/// @param images sizes of the N images   @throws ShapeError
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] std::vector<RpnProposals> rpn_proposals(const Tensor<T>& anchors, const Tensor<T>& logits, const Tensor<T>& deltas,
                                                      const std::vector<index_t>& level_sizes, const std::vector<Extent2>& images,
                                                      const ProposalOptions& options = {}) {
  const NoGrad guard;
  detail::check_boxes("rpn_proposals", "anchors", anchors);
  const index_t A = anchors.dim(0), N = static_cast<index_t>(images.size());
  if (logits.shape() != Shape{N, A}) throw ShapeError("rpn_proposals", "logits", to_string(Shape{N, A}), logits.shape());
  if (deltas.shape() != Shape{N, A, 4}) throw ShapeError("rpn_proposals", "deltas", to_string(Shape{N, A, 4}), deltas.shape());
  std::vector<RpnProposals> result;
  for (index_t n = 0; n < N; ++n) {
    std::vector<index_t> chosen, level;
    index_t first = 0;
    for (std::size_t l = 0; l < level_sizes.size(); first += level_sizes[l++]) {
      auto order = detail::by_falling_score(logits.alias({level_sizes[l]}, n * A + first));
      order.resize(std::min(order.size(), static_cast<std::size_t>(options.before_nms)));
      for (const index_t i : order) {
        chosen.push_back(first + i);
        level.push_back(static_cast<index_t>(l));
      }
    }
    const auto codes = rows_at(deltas.alias({A, 4}, n * A * 4), chosen);
    Tensor<float> boxes = clip_boxes(BoxCoder{}.decode(codes, rows_at(anchors, chosen)), images[static_cast<std::size_t>(n)]);
    Tensor<float> scores = sigmoid(rows_at(logits.alias({A}, n * A), chosen));
    std::vector<index_t> keep;
    for (const index_t i : boxes_not_smaller(boxes, options.min_size))
      if (scores.at(i) >= static_cast<float>(options.score_threshold)) keep.push_back(i);
    boxes = rows_at(boxes, keep);
    scores = rows_at(scores, keep);
    const Tensor<index_t> levels = rows_at(Tensor<index_t>({static_cast<index_t>(level.size())}, level), keep);
    keep = batched_nms(boxes, scores, levels, options.nms_threshold);
    keep.resize(std::min(keep.size(), static_cast<std::size_t>(options.after_nms)));
    result.push_back({rows_at(boxes, keep), rows_at(scores, keep)});
  }
  return result;
}

struct RpnLossOptions {
  MatcherOptions matcher{.high = 0.7, .low = 0.3, .allow_low_quality = true};
  index_t samples = 256;  ///< anchors of each image that are asked
  double positive_fraction = 0.5;
};

template <class T, class D = Cpu>
struct RpnLoss {
  Tensor<T, D> objectness;  ///< mean binary cross entropy of the sampled anchors
  Tensor<T, D> box;         ///< smooth L1 (beta 1/9) of the positive ones, summed, over the number of all sampled ones
};

namespace detail {
[[nodiscard]] inline Tensor<index_t> index_tensor(const std::vector<index_t>& list) { return {{static_cast<index_t>(list.size())}, list}; }

/// Rows of x [R, ...], recorded.
template <class T, class D>
[[nodiscard]] Tensor<T, D> rows(const Tensor<T, D>& x, const std::vector<index_t>& list) {
  return index_select(x, 0, index_tensor(list).template to<D>());
}
}  // namespace detail

/// What the proposals' head is to learn (arXiv:1506.01497, eq. 1): each image's anchors are matched to its objects, and some of them drawn.
/// An image without objects has negative anchors alone. @param logits [N, A]   @param deltas [N, A, 4]   @param targets N of them
template <class T, class D>
[[nodiscard]] RpnLoss<T, D> rpn_loss(const Tensor<float>& anchors, const Tensor<T, D>& logits, const Tensor<T, D>& deltas,
                                     const std::vector<DetectionTarget>& targets, Generator& random, const RpnLossOptions& options = {}) {
  const index_t A = anchors.dim(0), N = logits.dim(0);
  std::vector<index_t> sampled, positive;
  std::vector<T> labels;
  std::vector<Tensor<float>> codes;
  for (index_t n = 0; n < N; ++n) {
    const Tensor<float> objects = detail::boxes_of(targets[static_cast<std::size_t>(n)]);
    std::vector<index_t> matches = match(box_iou(objects, anchors), options.matcher), label = matches;
    for (index_t& l : label) l = l >= 0 ? 1 : l == matched_background ? 0 : -1;
    const BalancedSample sample = balanced_sample(label, options.samples, options.positive_fraction, random);
    for (const index_t i : sample.all()) {
      sampled.push_back(n * A + i);
      labels.push_back(static_cast<T>(label[static_cast<std::size_t>(i)]));
    }
    std::vector<index_t> objects_of;
    for (const index_t i : sample.positive) {
      positive.push_back(n * A + i);
      objects_of.push_back(matches[static_cast<std::size_t>(i)]);
    }
    codes.push_back(BoxCoder{}.encode(rows_at(objects, objects_of), rows_at(anchors, sample.positive)));
  }
  const auto wanted = cast<T>(concat(codes, 0)).template to<D>();
  const auto asked = detail::rows(reshape(logits, Shape{N * A}), sampled);
  const Tensor<T, D> expected({static_cast<index_t>(labels.size())}, labels);
  const auto off = smooth_l1_loss(detail::rows(reshape(deltas, Shape{N * A, 4}), positive), wanted,
                                  {.beta = 1. / 9, .reduction = segnet::Reduction::sum});
  return {binary_cross_entropy_with_logits(asked, expected), off * static_cast<T>(1 / std::max(1., static_cast<double>(sampled.size())))};
}

}  // namespace segnet
