// Unary energies: what a dense or grid CRF begins with. Lower is better.
#pragma once

#include <cmath>

#include "segnet/core/tensor.hpp"
#include "segnet/kernels/softmax.hpp"

namespace segnet::crf {

/// U = -log max(p, clip): no label is ever impossible. @param p probabilities [..., labels]   @throws ValueError: clip
template <class T>
[[nodiscard]] Tensor<T> unary_from_probabilities(const Tensor<T>& p, double clip = 1e-5) {
  if (!(clip > 0 && clip < 1)) throw ValueError("crf::unary_from_probabilities", "clip", "between 0 and 1", concat(clip));
  Tensor<T> u(p.shape());
  for (index_t i = 0; i < p.numel(); ++i) u.data()[i] = p.data()[i] <= T(clip) ? -std::log(T(clip)) : -std::log(p.data()[i]);
  return u;
}

/// The same of softmax(logits). Without the clipping it is -logits, but for a constant per pixel. @param logits [..., labels]
template <class T>
[[nodiscard]] Tensor<T> unary_from_logits(const Tensor<T>& logits, double clip = 1e-5) {
  Tensor<T> p(logits.shape());
  kernels::softmax<T>(logits.view(), logits.rank() - 1, p.view());
  return unary_from_probabilities(p, clip);
}

struct LabelUnaryOptions {
  double certainty = 0.5;      ///< probability of the label that is given; the others share the rest
  std::int32_t unknown = 255;  ///< this label says nothing: all are equally likely
};

/// Unaries of a map that somebody drew or another program made. pydensecrf's `unary_from_labels` counts the same labels from 1, with 0 for
/// unknown pixels.
/// @param map [...], 0 ... labels - 1   @return [..., labels]   @throws ValueError: labels, certainty, a label that is neither
template <class T = float>
[[nodiscard]] Tensor<T> unary_from_labels(const Tensor<std::int32_t>& map, index_t labels, const LabelUnaryOptions& options = {}) {
  constexpr const char* op = "crf::unary_from_labels";
  if (labels < 2) throw ValueError(op, "labels", "at least 2", concat(labels));
  if (!(options.certainty > 0 && options.certainty < 1)) throw ValueError(op, "certainty", "between 0 and 1", concat(options.certainty));
  const T given = static_cast<T>(-std::log(options.certainty)), nothing = static_cast<T>(std::log(static_cast<double>(labels))),
          other = static_cast<T>(-std::log((1 - options.certainty) / static_cast<double>(labels - 1)));
  Shape shape = map.shape();
  shape.push_back(labels);
  Tensor<T> u(shape);
  for (index_t p = 0; p < map.numel(); ++p) {
    const std::int32_t label = map.data()[p];
    if (label != options.unknown && (label < 0 || label >= labels))
      throw ValueError(op, "map", concat("labels 0 to ", labels - 1, " or ", options.unknown), concat(label));
    for (index_t l = 0; l < labels; ++l) u.data()[p * labels + l] = label == options.unknown ? nothing : l == label ? given : other;
  }
  return u;
}

}  // namespace segnet::crf
