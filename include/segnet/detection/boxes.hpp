// Boxes: (x1, y1, x2, y2) in pixels, continuous, x to the right and y down, so that width = x2 - x1. They live on the host: there are few.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/indexing.hpp"
#include "segnet/ops/slice.hpp"

namespace segnet {

/// How four numbers name a box: two corners; the first corner and the size; the centre and the size.
enum class BoxFormat { xyxy, xywh, cxcywh };

/// What is compared of two boxes, all 1 for equal ones. With I and U the areas of intersection and union, E that of the smallest box
/// around both, d the distance of the centres and c the diagonal of E:
enum class BoxOverlap {
  iou,   ///< I / U, in [0, 1]
  giou,  ///< I / U - (E - U) / E, in (-1, 1] (Rezatofighi et al., arXiv:1902.09630)
  diou,  ///< I / U - d^2 / c^2 (Zheng et al., arXiv:1911.08287, eq. 7)
  ciou   ///< diou - a v, v = (4 / pi^2) (atan(w'/h') - atan(w/h))^2, a = v / (1 - I / U + v) (eq. 8 to 11)
};

namespace detail {

template <class T>
void check_boxes(const char* op, const char* argument, const Tensor<T>& boxes) {
  if (boxes.rank() != 2 || boxes.dim(1) != 4) throw ShapeError(op, argument, "[N, 4]", boxes.shape());
}

/// One box, as numbers.
template <class T>
struct BoxOf {
  T x1, y1, x2, y2;
  explicit BoxOf(const T* p) : x1(p[0]), y1(p[1]), x2(p[2]), y2(p[3]) {}
  [[nodiscard]] T width() const { return x2 - x1; }
  [[nodiscard]] T height() const { return y2 - y1; }
  [[nodiscard]] T area() const { return width() * height(); }
};

template <class T>
[[nodiscard]] T intersection(const BoxOf<T>& a, const BoxOf<T>& b) {
  const T w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1), h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  return (w > 0 ? w : T(0)) * (h > 0 ? h : T(0));
}
/// NaN for two boxes without area.
template <class T>
[[nodiscard]] T intersection_over_union(const BoxOf<T>& a, const BoxOf<T>& b) {
  const T i = intersection(a, b);
  return i / (a.area() + b.area() - i);
}

template <class T>
[[nodiscard]] T overlap(BoxOverlap kind, const BoxOf<T>& a, const BoxOf<T>& b) {
  constexpr T eps = T(1e-7);
  const T i = intersection(a, b), u = a.area() + b.area() - i, iou = i / u;
  if (kind == BoxOverlap::iou) return iou;
  const T w = std::max(a.x2, b.x2) - std::min(a.x1, b.x1), h = std::max(a.y2, b.y2) - std::min(a.y1, b.y1);
  if (kind == BoxOverlap::giou) return iou - (w * h - u) / (w * h);
  const T dx = (a.x1 + a.x2 - b.x1 - b.x2) / 2, dy = (a.y1 + a.y2 - b.y1 - b.y2) / 2;
  const T diou = iou - (dx * dx + dy * dy) / (w * w + h * h + eps);
  if (kind == BoxOverlap::diou) return diou;
  const T angle = std::atan(a.width() / a.height()) - std::atan(b.width() / b.height());
  const T v = T(4 / (M_PI * M_PI)) * angle * angle;
  return diou - v / (1 - iou + v + eps) * v;
}

}  // namespace detail

/// Areas, [N, 4] -> [N].
template <class T>
[[nodiscard]] Tensor<T> box_area(const Tensor<T>& boxes) {
  detail::check_boxes("box_area", "boxes", boxes);
  const Tensor<T> y({boxes.dim(0)});
  for (index_t i = 0; i < y.numel(); ++i) y.data()[i] = detail::BoxOf<T>(boxes.data() + 4 * i).area();
  return y;
}

/// How much each box of a overlaps each of b, [N, 4] and [M, 4] -> [N, M]. Boxes without area give NaN where the formula does.
/// @throws ShapeError
template <class T>
[[nodiscard]] Tensor<T> box_iou(const Tensor<T>& a, const Tensor<T>& b, BoxOverlap kind = BoxOverlap::iou) {
  detail::check_boxes("box_iou", "a", a);
  detail::check_boxes("box_iou", "b", b);
  const index_t N = a.dim(0), M = b.dim(0);
  const Tensor<T> y({N, M});
  parallel_for(N, std::max<index_t>(1, 4096 / std::max<index_t>(M, 1)), [&](index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) {
      const detail::BoxOf<T> box(a.data() + 4 * n);
      for (index_t m = 0; m < M; ++m) y.data()[n * M + m] = detail::overlap(kind, box, detail::BoxOf<T>(b.data() + 4 * m));
    }
  });
  return y;
}

/// The same boxes in other numbers, [..., 4]. Gradients flow through, on either device. @throws ShapeError
template <class T, class D>
[[nodiscard]] Tensor<T, D> box_convert(const Tensor<T, D>& boxes, BoxFormat from, BoxFormat to) {
  if (boxes.rank() < 1 || boxes.dim(-1) != 4) throw ShapeError("box_convert", "boxes", "[..., 4]", boxes.shape());
  if (from == to) return boxes;
  const auto first = narrow(boxes, -1, 0, 2), second = narrow(boxes, -1, 2, 2);
  const auto joined = [](const Tensor<T, D>& a, const Tensor<T, D>& b) { return concat({a, b}, -1); };
  if (from == BoxFormat::xywh) {
    if (to == BoxFormat::xyxy) return joined(first, first + second);
    return joined(first + second * T(0.5), second);
  }
  if (from == BoxFormat::cxcywh) {
    const auto corner = first - second * T(0.5);
    return to == BoxFormat::xywh ? joined(corner, second) : joined(corner, first + second * T(0.5));
  }
  return to == BoxFormat::xywh ? joined(first, second - first) : joined((first + second) * T(0.5), second - first);
}

/// Corners moved into an image of that size. @param boxes [N, 4]   @throws ShapeError
template <class T>
[[nodiscard]] Tensor<T> clip_boxes(const Tensor<T>& boxes, Extent2 image) {
  detail::check_boxes("clip_boxes", "boxes", boxes);
  const Tensor<T> y(boxes.shape());
  for (index_t i = 0; i < y.numel(); ++i)  // NaN stays
    y.data()[i] = std::clamp(boxes.data()[i], T(0), static_cast<T>(i % 2 == 0 ? image.w : image.h));
  return y;
}

/// The numbers of the boxes whose sides are both at least min_size, in rising order; none with a NaN among its sides.
/// @param boxes [N, 4]   @throws ShapeError
template <class T>
[[nodiscard]] std::vector<index_t> boxes_not_smaller(const Tensor<T>& boxes, double min_size) {
  detail::check_boxes("boxes_not_smaller", "boxes", boxes);
  std::vector<index_t> keep;
  for (index_t i = 0; i < boxes.dim(0); ++i) {
    const detail::BoxOf<T> box(boxes.data() + 4 * i);
    if (box.width() >= static_cast<T>(min_size) && box.height() >= static_cast<T>(min_size)) keep.push_back(i);
  }
  return keep;
}

/// The box around each mask: first and last column and row that is set, [N, H, W] -> [N, 4]; all 0 for an empty mask.
/// @throws ShapeError
[[nodiscard]] inline Tensor<float> masks_to_boxes(const Tensor<std::uint8_t>& masks) {
  if (masks.rank() != 3) throw ShapeError("masks_to_boxes", "masks", "[N, H, W]", masks.shape());
  const Tensor<float> boxes = zeros<float>({masks.dim(0), 4});
  const index_t H = masks.dim(1), W = masks.dim(2);
  for (index_t n = 0; n < masks.dim(0); ++n) {
    index_t x1 = W, y1 = H, x2 = -1, y2 = -1;
    for (index_t p = 0; p < H * W; ++p) {
      if (masks.data()[n * H * W + p] == 0) continue;
      x1 = std::min(x1, p % W), x2 = std::max(x2, p % W);
      y1 = std::min(y1, p / W), y2 = p / W;
    }
    if (x2 < 0) continue;
    const index_t box[] = {x1, y1, x2, y2};
    for (int k = 0; k < 4; ++k) boxes.data()[4 * n + k] = static_cast<float>(box[k]);
  }
  return boxes;
}

/// Rows of a table by their numbers, not recorded: the boxes, scores or labels that are kept.
template <class T>
[[nodiscard]] Tensor<T> rows_at(const Tensor<T>& table, const std::vector<index_t>& rows) {
  return no_grad([&] { return index_select(table, 0, Tensor<index_t>({static_cast<index_t>(rows.size())}, rows)); });
}

}  // namespace segnet
