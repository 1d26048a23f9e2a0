// Boxes as corrections of other boxes: what networks predict.
#pragma once

#include <array>
#include <cmath>

#include "segnet/detection/boxes.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/unary.hpp"

namespace segnet {

namespace detail {
/// Centres and sizes of boxes [N, 4], each [N, 2].
template <class T, class D>
struct CentreAndSize {
  Tensor<T, D> centre, size;
  explicit CentreAndSize(const Tensor<T, D>& boxes) {
    const auto first = narrow(boxes, 1, 0, 2);
    size = narrow(boxes, 1, 2, 2) - first;
    centre = first + size * T(0.5);
  }
};
template <class T, class D>
void check_same_boxes(const char* op, const Tensor<T, D>& boxes, const Tensor<T, D>& reference) {
  if (boxes.rank() != 2 || boxes.dim(1) != 4) throw ShapeError(op, "boxes", "[N, 4]", boxes.shape());
  if (reference.shape() != boxes.shape()) throw ShapeError(op, "reference", to_string(boxes.shape()), reference.shape());
}
}  // namespace detail

/// Shifts relative to the size of a box and logarithms of the ratios of sizes (Girshick et al., "R-CNN", arXiv:1311.2524, appendix C):
///
///   tx = wx (x - xa) / wa,   tw = ww ln(w / wa),   y and h alike,   for the centre and size of the box, and of box a
struct BoxCoder {
  std::array<double, 4> weights{1, 1, 1, 1};  ///< wx, wy, ww, wh: 1 for proposals, {10, 10, 5, 5} for detections

  /// Codes of `boxes` as corrections of `reference`, [N, 4] each. Not finite where a reference has no area. @throws ShapeError
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> encode(const Tensor<T, D>& boxes, const Tensor<T, D>& reference) const {
    detail::check_same_boxes("BoxCoder::encode", boxes, reference);
    const detail::CentreAndSize<T, D> to(boxes), from(reference);
    return concat({weight<T, D>(0) * (to.centre - from.centre) / from.size, weight<T, D>(2) * log(to.size / from.size)}, 1);
  }
  /// The boxes that codes [N, 4 K] make of `reference` [N, 4]: K for each, [N, 4 K]. Sizes grow by at most 1000 / 16. Gradient to the
  /// codes.
  /// @throws ShapeError
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> decode(const Tensor<T, D>& codes, const Tensor<T, D>& reference) const {
    if (codes.rank() != 2 || codes.dim(1) % 4 != 0) throw ShapeError("BoxCoder::decode", "codes", "[N, 4 K]", codes.shape());
    if (reference.shape() != Shape{codes.dim(0), 4})
      throw ShapeError("BoxCoder::decode", "reference", to_string(Shape{codes.dim(0), 4}), reference.shape());
    const index_t N = codes.dim(0);
    const detail::CentreAndSize<T, D> from(reference);
    const auto centre = reshape(from.centre, Shape{N, 1, 2}), size = reshape(from.size, Shape{N, 1, 2});
    const auto each = reshape(codes, Shape{N, codes.dim(1) / 4, 4});
    const auto at = narrow(each, 2, 0, 2) / weight<T, D>(0) * size + centre;
    const auto half = exp(clamp_max(narrow(each, 2, 2, 2) / weight<T, D>(2), static_cast<Master<T>>(std::log(1000. / 16)))) * size * T(0.5);
    return reshape(concat({at - half, at + half}, 2), codes.shape());
  }

 private:
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> weight(std::size_t first) const {
    return Tensor<T, D>({2}, {static_cast<T>(weights[first]), static_cast<T>(weights[first + 1])});
  }
};

/// Distances from the centre of a box to the four sides (left, top, right, bottom) of another, in units of its width and height if
/// `normalize` (Tian et al., "FCOS", arXiv:1904.01355, eq. 1).
struct LinearBoxCoder {
  bool normalize = true;

  /// Distances to the sides of `boxes` from the centres of `reference`, [N, 4] each. @throws ShapeError
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> encode(const Tensor<T, D>& boxes, const Tensor<T, D>& reference) const {
    detail::check_same_boxes("LinearBoxCoder::encode", boxes, reference);
    const detail::CentreAndSize<T, D> from(reference);
    const auto codes = concat({from.centre - narrow(boxes, 1, 0, 2), narrow(boxes, 1, 2, 2) - from.centre}, 1);
    return normalize ? codes / concat({from.size, from.size}, 1) : codes;
  }
  /// The boxes at those distances, [N, 4]. Gradient to the codes. @throws ShapeError
  template <class T, class D>
  [[nodiscard]] Tensor<T, D> decode(const Tensor<T, D>& codes, const Tensor<T, D>& reference) const {
    detail::check_same_boxes("LinearBoxCoder::decode", codes, reference);
    const detail::CentreAndSize<T, D> from(reference);
    const auto distances = normalize ? codes * concat({from.size, from.size}, 1) : codes;
    return concat({from.centre - narrow(distances, 1, 0, 2), from.centre + narrow(distances, 1, 2, 2)}, 1);
  }
};

}  // namespace segnet
