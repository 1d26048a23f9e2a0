#pragma once

#include "exercise.hpp"

namespace exercise {

/// A convolution without padding, stride 1.
inline Row convolve(const Row& x, const Row& kernel) {
  Row y = zeros(size(x) - size(kernel) + 1);
  for (int o = 0; o < size(y); ++o)
    for (int t = 0; t < size(kernel); ++t) at(y, o) += at(kernel, t) * at(x, o + t);
  return y;
}

/// The score of each window: first layer `kernel`, then a fully connected layer.
inline Row sliding_window(const Row& signal, const Row& kernel, const Row& connected) {
  const int window = size(kernel) + size(connected) - 1;
  Row scores;
  for (int start = 0; start + window <= size(signal); ++start) {
    const Row hidden = convolve(Row(signal.begin() + start, signal.begin() + start + window), kernel);
    double score = 0;
    for (int t = 0; t < size(connected); ++t) score += at(connected, t) * at(hidden, t);
    scores.push_back(score);
  }
  return scores;
}

/// The same scores, every difference computed once.
inline Row fully_convolutional(const Row& signal, const Row& kernel, const Row& connected) {
  return zeros(size(signal) - size(kernel) - size(connected) + 2);  // GAP
}

}  // namespace exercise
