// Elastic deformations of training samples, the augmentation that biomedical segmentation lives on: O. Ronneberger, P. Fischer, T. Brox,
// "U-Net", arXiv:1505.04597, section 3.1. Random vectors on a coarse grid, interpolated bicubically, say where pixels come from.
#pragma once

#include <vector>

#include "segnet/data/geometry.hpp"

namespace segnet::data {

namespace detail {

/// [pixels * nodes]: how much of each node is at each pixel, when the first and last nodes lie at the first and last pixels. Cubic
/// convolution (Keys 1981, a = -1/2); beyond the ends the nodes go on in a line, so that what is linear stays so. At least two nodes.
[[nodiscard]] inline std::vector<double> cubic_weights(index_t nodes, index_t pixels) {
  std::vector<double> weights(static_cast<std::size_t>(nodes * pixels));
  for (index_t p = 0; p < pixels; ++p) {
    double* of = weights.data() + p * nodes;
    const double t = pixels > 1 ? static_cast<double>(p * (nodes - 1)) / static_cast<double>(pixels - 1) : 0;
    const index_t i = std::min(static_cast<index_t>(t), nodes - 2);
    const double f = t - static_cast<double>(i);
    const double taps[4] = {((2 - f) * f - 1) * f / 2, (3 * f - 5) * f * f / 2 + 1, ((4 - 3 * f) * f + 1) * f / 2, (f - 1) * f * f / 2};
    for (index_t k = 0; k < 4; ++k) {
      const index_t node = i - 1 + k, end = node < 0 ? 0 : node >= nodes ? nodes - 1 : node, next = node < 0 ? 1 : nodes - 2;
      of[end] += node == end ? taps[k] : 2 * taps[k];
      if (node != end) of[next] -= taps[k];
    }
  }
  return weights;
}

}  // namespace detail

/// Bent by vectors on a grid that spans the sample: a pixel shows what lies at its place plus the vector there, interpolated bicubically.
/// What comes from outside is `colour`, `ignore_index` and 0, as in `warped`.
/// @param vectors [rows, columns, 2], at least 2 x 2: pixels down and to the right   @throws ShapeError
[[nodiscard]] inline Sample deformed(const Sample& sample, const Tensor<double>& vectors, std::int32_t ignore_index, const Rgb& colour) {
  if (vectors.rank() != 3 || vectors.dim(0) < 2 || vectors.dim(1) < 2 || vectors.dim(2) != 2)
    throw ShapeError("data::deformed", "vectors", "[rows, columns, 2] with at least two rows and columns", vectors.shape());
  const index_t rows = vectors.dim(0), columns = vectors.dim(1);
  const std::vector<double> down = detail::cubic_weights(rows, sample.image.dim(0)),
                            right = detail::cubic_weights(columns, sample.image.dim(1));
  const auto place = [&](index_t row, index_t column) {
    Place at{static_cast<double>(row), static_cast<double>(column)};
    const double* vector = vectors.data();
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j, vector += 2) {
        const double share = down[static_cast<std::size_t>(row * rows + i)] * right[static_cast<std::size_t>(column * columns + j)];
        at.row += share * vector[0];
        at.column += share * vector[1];
      }
    return at;
  };
  return warped(sample, place, ignore_index, colour);
}

}  // namespace segnet::data
