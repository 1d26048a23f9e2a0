// Average precision as COCO has it (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py): of boxes, or of masks.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "segnet/metrics/rle.hpp"

namespace segnet {

/// An object that is in an image.
struct CocoObject {
  index_t image, category;
  std::array<double, 4> box;  ///< x, y, width, height
  Rle mask;                   ///< may be left out for AP of boxes
  double area;                ///< decides whether it counts as small, medium or large
  bool crowd = false;         ///< many objects, outlined together: finding it is neither right nor wrong
};

/// One that was found.
struct CocoDetection {
  index_t image, category;
  double score;
  std::array<double, 4> box;  ///< x, y, width, height
  Rle mask;
};

/// What detections and objects are compared by.
enum class CocoOverlap { boxes, masks };

/// Indices: 10 thresholds of IoU (0.50, 0.55 ... 0.95), 101 recalls (0, 0.01 ... 1), the categories, 4 ranges of areas (all, small below
/// 32^2, medium, large from 96^2), 3 numbers of detections of an image (1, 10, 100). -1 where a category has no objects.
struct CocoScores {
  Tensor<double> precision;  ///< [10, 101, categories, 4, 3]
  Tensor<double> recall;     ///< [10, categories, 4, 3]

  /// The mean precision of a range of areas with 100 detections, over all categories and recalls; `threshold` < 0: and all thresholds. -1
  /// where there is nothing to average.
  [[nodiscard]] double average_precision(index_t threshold = -1, index_t area = 0) const {
    const index_t K = precision.dim(2);
    return mean_of_defined(threshold, 101 * K, [=, this](index_t t, index_t i) { return precision.at(t, i / K, i % K, area, 2); });
  }
  /// The mean over thresholds and categories of the largest recall, with 1, 10 or 100 detections (`most` 0, 1, 2).
  [[nodiscard]] double average_recall(index_t most = 2, index_t area = 0) const {
    return mean_of_defined(-1, recall.dim(1), [=, this](index_t t, index_t k) { return recall.at(t, k, area, most); });
  }
  /// The twelve numbers of COCO's summary: AP, AP50, AP75, AP of small, medium and large objects, AR with 1, 10 and 100 detections, AR of
  /// small, medium and large objects.
  [[nodiscard]] std::array<double, 12> summary() const {
    const auto& s = *this;
    return {s.average_precision(),      s.average_precision(0),     s.average_precision(5), s.average_precision(-1, 1),
            s.average_precision(-1, 2), s.average_precision(-1, 3), s.average_recall(0),    s.average_recall(1),
            s.average_recall(2),        s.average_recall(2, 1),     s.average_recall(2, 2), s.average_recall(2, 3)};
  }

 private:
  template <class F>
  static double mean_of_defined(index_t threshold, index_t n, const F& value) {
    double sum = 0;
    index_t count = 0;
    for (index_t t = threshold < 0 ? 0 : threshold; t < (threshold < 0 ? 10 : threshold + 1); ++t)
      for (index_t i = 0; i < n; ++i)
        if (const double v = value(t, i); v > -1) {
          sum += v;
          ++count;
        }
    return count > 0 ? sum / static_cast<double>(count) : -1;
  }
};

namespace detail {

[[nodiscard]] inline double coco_threshold(index_t t) { return t == 9 ? 0.95 : static_cast<double>(t) * ((0.95 - 0.5) / 9) + 0.5; }
inline constexpr double coco_areas[4][2] = {{0, 1e10}, {0, 32. * 32}, {32. * 32, 96. * 96}, {96. * 96, 1e10}};
inline constexpr index_t coco_most[3] = {1, 10, 100};

/// IoU; with a crowd the common part of the detection.
[[nodiscard]] inline double coco_overlap(CocoOverlap kind, const CocoDetection& d, const CocoObject& o) {
  if (kind == CocoOverlap::masks) return rle_iou(d.mask, o.mask, o.crowd);
  const auto &a = d.box, &b = o.box;
  const double w = std::min(a[0] + a[2], b[0] + b[2]) - std::max(a[0], b[0]), h = std::min(a[1] + a[3], b[1] + b[3]) - std::max(a[1], b[1]);
  if (w <= 0 || h <= 0) return 0;
  const double i = w * h, area = a[2] * a[3];
  return i / (o.crowd ? area : area + b[2] * b[3] - i);
}

/// One category in one image: detections by falling score, at most 100, and their overlap with each object.
template <class Object>
struct CocoPairs {
  std::vector<const CocoDetection*> found;
  std::vector<const Object*> objects;
  std::vector<double> overlap;  // [found, objects]

  void finish(CocoOverlap kind) {
    std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) {  // all from one list, whose order decides between equals
      return a->score != b->score ? a->score > b->score : a < b;
    });
    found.resize(std::min<std::size_t>(found.size(), 100));
    for (const auto* d : found)
      for (const auto* o : objects) overlap.push_back(coco_overlap(kind, *d, *o));
  }
};

/// What became of a detection.
enum class CocoOutcome : std::uint8_t { right, wrong, ignored };

/// Matches detections, best first, to objects: each to the one that it overlaps most, of those that are left; a crowd is never used up. To
/// what counts in this range of areas first, to the rest only if nothing of that fits. Of equal overlaps the last.
template <class Object>
[[nodiscard]] std::vector<CocoOutcome> coco_match(const CocoPairs<Object>& p, double threshold, const double (&area)[2], CocoOverlap kind) {
  const auto outside = [&](double a) { return a < area[0] || a > area[1]; };
  const auto ignored = [&](std::size_t o) { return p.objects[o]->crowd || outside(p.objects[o]->area); };
  std::vector<std::size_t> order;
  for (const bool last : {false, true})
    for (std::size_t o = 0; o < p.objects.size(); ++o)
      if (ignored(o) == last) order.push_back(o);
  std::vector<bool> used(p.objects.size(), false);
  std::vector<CocoOutcome> outcomes;
  for (std::size_t d = 0; d < p.found.size(); ++d) {
    double best = std::min(threshold, 1 - 1e-10);
    std::size_t match = order.size();
    for (const std::size_t o : order) {
      if (used[o] && !p.objects[o]->crowd) continue;
      if (match < order.size() && !ignored(match) && ignored(o)) break;
      if (p.overlap[d * order.size() + o] < best) continue;
      best = p.overlap[d * order.size() + o];
      match = o;
    }
    if (match < order.size()) {
      used[match] = true;
      outcomes.push_back(ignored(match) ? CocoOutcome::ignored : CocoOutcome::right);
    } else {
      const auto& box = p.found[d]->box;
      const double size = kind == CocoOverlap::masks ? static_cast<double>(rle_area(p.found[d]->mask)) : box[2] * box[3];
      outcomes.push_back(outside(size) ? CocoOutcome::ignored : CocoOutcome::wrong);
    }
  }
  return outcomes;
}

}  // namespace detail

/// The scores of detections in a set of images. Per category, threshold and range of areas the detections of all images are put in order
/// of their scores; precision at a recall is the largest that is reached at that recall or a higher one.
/// @param categories in the order of the result   @throws ValueError: a score that is NaN
template <std::same_as<CocoObject> Object = CocoObject>  // so that nothing of it is compiled where it is not called
[[nodiscard]] CocoScores coco_scores(const std::vector<Object>& objects, const std::vector<CocoDetection>& found,
                                     const std::vector<index_t>& categories, CocoOverlap kind = CocoOverlap::boxes) {
  const auto K = static_cast<index_t>(categories.size());
  std::map<index_t, std::map<index_t, detail::CocoPairs<Object>>> by_category;  // category, image
  for (const auto& o : objects) by_category[o.category][o.image].objects.push_back(&o);
  for (const auto& d : found) {
    if (std::isnan(d.score)) throw ValueError("coco_scores", "found", "scores that are numbers", "nan");
    by_category[d.category][d.image].found.push_back(&d);
  }
  CocoScores scores{full<double>({10, 101, K, 4, 3}, -1), full<double>({10, K, 4, 3}, -1)};
  for (index_t k = 0; k < K; ++k) {
    auto& images = by_category[categories[static_cast<std::size_t>(k)]];
    for (auto& [image, pairs] : images) pairs.finish(kind);
    for (index_t a = 0; a < 4; ++a) {
      const auto& area = detail::coco_areas[a];
      index_t wanted = 0;
      for (const auto& [image, pairs] : images)
        for (const auto* o : pairs.objects) wanted += !o->crowd && o->area >= area[0] && o->area <= area[1];
      if (wanted == 0) continue;
      for (index_t t = 0; t < 10; ++t) {
        std::vector<std::vector<detail::CocoOutcome>> outcomes;
        for (const auto& [image, pairs] : images) outcomes.push_back(detail::coco_match(pairs, detail::coco_threshold(t), area, kind));
        for (index_t m = 0; m < 3; ++m) {
          std::vector<std::pair<double, detail::CocoOutcome>> all;
          std::size_t i = 0;
          for (const auto& [image, pairs] : images) {
            for (std::size_t d = 0; d < std::min(pairs.found.size(), static_cast<std::size_t>(detail::coco_most[m])); ++d)
              all.emplace_back(pairs.found[d]->score, outcomes[i][d]);
            ++i;
          }
          std::vector<std::size_t> order(all.size());
          std::iota(order.begin(), order.end(), std::size_t{0});
          std::sort(order.begin(), order.end(),
                    [&](std::size_t x, std::size_t y) { return all[x].first != all[y].first ? all[x].first > all[y].first : x < y; });
          std::vector<double> recall, precision;
          double right = 0, wrong = 0;
          for (const std::size_t o : order) {
            right += all[o].second == detail::CocoOutcome::right;
            wrong += all[o].second == detail::CocoOutcome::wrong;
            recall.push_back(right / static_cast<double>(wanted));
            precision.push_back(right / (right + wrong + std::numeric_limits<double>::epsilon()));
          }
          for (std::size_t r = precision.size(); r-- > 1;) precision[r - 1] = std::max(precision[r - 1], precision[r]);
          scores.recall.at(t, k, a, m) = recall.empty() ? 0 : recall.back();
          for (index_t r = 0; r <= 100; ++r) {
            const auto at = std::lower_bound(recall.begin(), recall.end(), static_cast<double>(r) * 0.01) - recall.begin();
            scores.precision.at(t, r, k, a, m) = at < std::ssize(recall) ? precision[static_cast<std::size_t>(at)] : 0;
          }
        }
      }
    }
  }
  return scores;
}

}  // namespace segnet
