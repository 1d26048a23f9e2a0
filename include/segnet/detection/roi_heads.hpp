// What happens to proposals: features from the right level of a pyramid, samples to learn from, losses, detections.
// Girshick, "Fast R-CNN", arXiv:1504.08083; Lin et al., "Feature pyramid networks", arXiv:1612.03144, section 4.2.
#pragma once

#include <cmath>
#include <concepts>
#include <vector>

#include "segnet/detection/rpn.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/roi_align.hpp"
#include "segnet/ops/softmax.hpp"

namespace segnet {

/// Boxes of a batch as rois: [K, 5], the number of the image in front. @param boxes [n, 4] of each image
[[nodiscard]] inline Tensor<float> boxes_to_rois(const std::vector<Tensor<float>>& boxes) {
  index_t K = 0;
  for (const auto& b : boxes) K += b.dim(0);
  Tensor<float> rois({K, 5});
  float* to = rois.data();
  for (std::size_t n = 0; n < boxes.size(); ++n)
    for (index_t i = 0; i < boxes[n].dim(0); ++i, to += 5) {
      to[0] = static_cast<float>(n);
      std::copy_n(boxes[n].data() + 4 * i, 4, to + 1);
    }
  return rois;
}

/// roi_align on the maps of a pyramid, each box on the level that suits its size (arXiv:1612.03144, eq. 1):
///
///   level = floor(4 + log2(sqrt(w h) / 224) + 1e-6), limited to the levels there are; level k has stride 2^k
struct MultiScaleRoiAlign {
  Extent2 output_size = 7;
  index_t sampling_ratio = 2;

  /// 2 for a stride of 4, ...: the power of two nearest to image / map.
  [[nodiscard]] static int level_of_map(const Shape& map, Extent2 image) {
    return static_cast<int>(std::round(std::log2(static_cast<double>(image.h) / static_cast<double>(map[1]))));
  }
  /// For each roi the number of its map, of levels first ... last.
  [[nodiscard]] static std::vector<std::size_t> assigned(const Tensor<float>& rois, int first, int last) {
    std::vector<std::size_t> maps;
    for (index_t k = 0; k < rois.dim(0); ++k) {
      const double area = detail::BoxOf<float>(rois.data() + 5 * k + 1).area();
      const double level = std::floor(4 + std::log2(std::sqrt(area) / 224) + 1e-6);
      maps.push_back(static_cast<std::size_t>(level >= first ? std::min(level, 1. * last) - first : 0));  // without area: the first
    }
    return maps;
  }

  /// @param maps [N, H, W, C], finest first   @param rois [K, 5]   @param image size of the batch in pixels
  /// @return [K, output_size.h, output_size.w, C]   @throws ShapeError, ValueError as roi_align
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> operator()(const std::vector<Tensor<T, D>>& maps, const Tensor<float>& rois, Extent2 image) const {
    const int first = level_of_map(maps.front().shape(), image), last = level_of_map(maps.back().shape(), image);
    const auto map_of = assigned(rois, first, last);
    std::vector<Tensor<T, D>> features;
    std::vector<index_t> place(map_of.size());  // of each roi among the features
    index_t count = 0;
    for (std::size_t m = 0; m < maps.size(); ++m) {
      std::vector<index_t> here;
      for (std::size_t k = 0; k < map_of.size(); ++k) {
        if (map_of[k] != m) continue;
        here.push_back(static_cast<index_t>(k));
        place[k] = count++;
      }
      const double scale = std::exp2(-level_of_map(maps[m].shape(), image));
      features.push_back(
          roi_align(maps[m], rows_at(rois, here), {.output_size = output_size, .spatial_scale = scale, .sampling_ratio = sampling_ratio}));
    }
    return detail::rows(concat(features, 0), place);
  }
};

struct RoiSampleOptions {
  MatcherOptions matcher{};
  index_t samples = 512;  ///< proposals of each image that are asked
  double positive_fraction = 0.25;
  BoxCoder coder{{10, 10, 5, 5}};
};

/// Proposals of one image to learn from.
struct RoiSamples {
  Tensor<float> boxes;           ///< [n, 4]
  Tensor<index_t> labels;        ///< [n], 0 for the background
  Tensor<float> codes;           ///< [n, 4], what the head is to predict; without meaning for the background
  std::vector<index_t> objects;  ///< the target of each; 0 for the background
};

/// Matches proposals, and the objects themselves, to the objects, and draws some.
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] RoiSamples sample_rois(const Tensor<T>& proposals, const DetectionTarget& target, Generator& random,
                                     const RoiSampleOptions& options = {}) {
  const NoGrad guard;
  const Tensor<float> objects = detail::boxes_of(target), all = concat({proposals, objects}, 0);
  const auto matches = match(box_iou(objects, all), options.matcher);
  std::vector<index_t> label;
  for (const index_t m : matches) label.push_back(m >= 0 ? target.labels.at(m) : m == matched_background ? 0 : -1);
  const auto chosen = balanced_sample(label, options.samples, options.positive_fraction, random).all();
  RoiSamples samples{rows_at(all, chosen), Tensor<index_t>({static_cast<index_t>(chosen.size())}), {}, {}};
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const auto from = static_cast<std::size_t>(chosen[i]);
    samples.labels.data()[i] = label[from];
    samples.objects.push_back(std::max<index_t>(matches[from], 0));
  }
  samples.codes = objects.dim(0) > 0 ? options.coder.encode(rows_at(objects, samples.objects), samples.boxes)
                                     : zeros<float>({static_cast<index_t>(chosen.size()), 4});
  return samples;
}

template <class T, class D = Cpu>
struct FastRcnnLoss {
  Tensor<T, D> classifier;  ///< mean cross entropy of all rows
  Tensor<T, D> box;         ///< smooth L1 (beta 1/9) of the true class's codes, objects only, summed, over the number of all rows
};

/// arXiv:1504.08083, eq. 1. @param logits [R, K]   @param deltas [R, 4 K]   @param labels [R], 0 for the background   @param codes [R, 4]
/// @throws ShapeError; ValueError: a label that is no class
template <class T, class D>
[[nodiscard]] FastRcnnLoss<T, D> fast_rcnn_loss(const Tensor<T, D>& logits, const Tensor<T, D>& deltas, const Tensor<index_t>& labels,
                                                const Tensor<T>& codes) {
  const index_t R = logits.dim(0), K = logits.dim(1);
  if (deltas.shape() != Shape{R, 4 * K}) throw ShapeError("fast_rcnn_loss", "deltas", to_string(Shape{R, 4 * K}), deltas.shape());
  if (codes.shape() != Shape{R, 4}) throw ShapeError("fast_rcnn_loss", "codes", to_string(Shape{R, 4}), codes.shape());
  const auto classifier = cross_entropy(logits, labels.template to<D>());
  std::vector<index_t> objects, entries;
  for (index_t r = 0; r < R; ++r)
    if (labels.at(r) > 0) {
      objects.push_back(r);
      entries.push_back(r * K + labels.at(r));
    }
  const auto off = smooth_l1_loss(detail::rows(reshape(deltas, Shape{R * K, 4}), entries), rows_at(codes, objects).template to<D>(),
                                  {.beta = 1. / 9, .reduction = segnet::Reduction::sum});
  return {classifier, off * static_cast<T>(1. / static_cast<double>(std::max<index_t>(R, 1)))};
}

struct DetectionOptions {
  double score_threshold = 0.05;
  double nms_threshold = 0.5;
  index_t most = 100;  ///< detections of an image
  double min_size = 1e-2;
  BoxCoder coder{{10, 10, 5, 5}};
};

/// What the heads found in one image: every class of every proposal whose probability is above the threshold is a candidate, with a box of
/// its own; those left by non-maximum suppression within each class; the best. No gradients.
/// @param logits [R, K]   @param deltas [R, 4 K]   @param proposals [R, 4]   @throws ShapeError
template <std::same_as<float> T = float>  // so that nothing of it is compiled where it is not called
[[nodiscard]] Detections detections(const Tensor<T>& logits, const Tensor<T>& deltas, const Tensor<T>& proposals, Extent2 image,
                                    const DetectionOptions& options = {}) {
  const NoGrad guard;
  const index_t R = logits.dim(0), K = logits.dim(1);
  if (deltas.shape() != Shape{R, 4 * K}) throw ShapeError("detections", "deltas", to_string(Shape{R, 4 * K}), deltas.shape());
  const Tensor<float> probability = softmax(logits);
  std::vector<index_t> entries, from, label;
  for (index_t i = 0; i < R * K; ++i) {
    if (i % K == 0 || !(probability.data()[i] > static_cast<float>(options.score_threshold))) continue;
    entries.push_back(i);
    from.push_back(i / K);
    label.push_back(i % K);
  }
  Tensor<float> boxes = clip_boxes(options.coder.decode(rows_at(deltas.alias({R * K, 4}), entries), rows_at(proposals, from)), image);
  Tensor<float> scores = rows_at(probability.alias({R * K}), entries);
  Tensor<index_t> labels = detail::index_tensor(label);
  const auto keep_only = [&](const std::vector<index_t>& keep) {
    boxes = rows_at(boxes, keep);
    scores = rows_at(scores, keep);
    labels = rows_at(labels, keep);
  };
  keep_only(boxes_not_smaller(boxes, options.min_size));
  auto keep = batched_nms(boxes, scores, labels, options.nms_threshold);
  keep.resize(std::min(keep.size(), static_cast<std::size_t>(options.most)));
  keep_only(keep);
  return {boxes, scores, labels, {}, {}, {}};
}

}  // namespace segnet
