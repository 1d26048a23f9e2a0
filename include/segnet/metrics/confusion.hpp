// The confusion matrix of semantic segmentation, and the scores that come out of it.
//
// Counts are summed over all images of a split; scores are computed once, at the end. (Averaging scores of single images gives other
// numbers than those that papers report.)
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"
#include "segnet/kernels/confusion.hpp"

namespace segnet {

/// What a class that occurs neither in the targets nor in the predictions means to a mean.
enum class AbsentClasses {
  skip,  ///< nothing: the mean goes over the others (FCN, PASCAL VOC tools, mmsegmentation)
  zero   ///< a score of 0 (HRNet's code)
};

/// n[t][p]: pixels of class t that were predicted as p. Pixels whose target is `ignore_index` are left out.
///
///   ConfusionMatrix confusion(19, 255);
///   for (const auto& batch : validation) confusion.add_logits(net(batch.images), batch.labels);
///   std::puts(confusion.table(class_names).c_str());
///
/// With t_i = sum_p n[i][p], p_i = sum_t n[t][i]. A score that is 0/0 has no value: std::nullopt.
class ConfusionMatrix {
 public:
  /// @throws ValueError: num_classes < 1
  explicit ConfusionMatrix(index_t num_classes, index_t ignore_index = 255) : classes_(num_classes), ignore_index_(ignore_index) {
    if (num_classes < 1) throw ValueError("ConfusionMatrix", "num_classes", "at least 1", concat(num_classes));
    counts_.assign(static_cast<std::size_t>(classes_ * classes_), 0);
  }

  /// Counts label maps of the same shape. Nothing is counted when something is wrong.
  /// @throws ShapeError: shapes differ; ValueError: a target that is neither a class nor ignore_index, or a prediction that is no class
  /// where the target counts
  template <class Prediction, class Target>
    requires(std::is_integral_v<Prediction> && std::is_integral_v<Target>)
  void add(const Tensor<Prediction>& prediction, const Tensor<Target>& target) {
    if (prediction.shape() != target.shape())
      throw ShapeError("ConfusionMatrix::add", "prediction", concat(target.shape(), " like the target"), prediction.shape());
    const Prediction* p = prediction.data();
    count(target, [=](index_t i) { return static_cast<index_t>(p[i]); });
  }

  /// Counts logits or probabilities [N, ..., C] against labels [N, ...]: the class with the largest value, the first of equals.
  /// @throws as `add`
  template <class T, class Target>
    requires std::is_floating_point_v<T>
  void add_logits(const Tensor<T>& logits, const Tensor<Target>& target) {
    check_logits(logits.shape(), target.shape());
    const T* x = logits.data();
    count(target, [=, C = classes_](index_t i) {
      const T* row = x + i * C;
      index_t best = 0;
      for (index_t c = 1; c < C; ++c)
        if (row[c] > row[best]) best = c;
      return best;
    });
  }

  /// The same for labels on the GPU, which counts them; what is waited for are the counts. @throws as above
  template <class Prediction, class Target>
    requires(std::is_integral_v<Prediction> && std::is_integral_v<Target>)
  void add(const Tensor<Prediction, Cuda>& prediction, const Tensor<Target, Cuda>& target) {
    if (prediction.shape() != target.shape())
      throw ShapeError("ConfusionMatrix::add", "prediction", concat(target.shape(), " like the target"), prediction.shape());
    const Tensor<std::int64_t, Cuda> counts({classes_, classes_});
    const Tensor<kernels::LossSum, Cuda> found(Shape{});
    kernels::count_pairs<Prediction, Target>(prediction.view(), target.view(), ignore_index_, counts.view(), found.view());
    const std::vector<std::int64_t> more = counts.to_vector();
    if (const index_t i = found.item().bad_label; i >= 0)
      throw_bad_pair(static_cast<index_t>(target.alias({}, i).item()), static_cast<index_t>(prediction.alias({}, i).item()), i,
                     target.shape());
    for (std::size_t k = 0; k < counts_.size(); ++k) counts_[k] += more[k];
  }
  template <class T, class Target>
    requires is_real<T>
  void add_logits(const Tensor<T, Cuda>& logits, const Tensor<Target, Cuda>& target) {
    check_logits(logits.shape(), target.shape());
    const Tensor<std::int32_t, Cuda> prediction(target.shape());
    kernels::best_class<T>(logits.view(), prediction.view());
    add(prediction, target);
  }

  /// Adds the counts of another part of the split. @throws ValueError: another number of classes
  void merge(const ConfusionMatrix& other) {
    if (other.classes_ != classes_)
      throw ValueError("ConfusionMatrix::merge", "other", concat(classes_, " classes"), concat(other.classes_));
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  }
  void reset() { counts_.assign(counts_.size(), 0); }

  [[nodiscard]] index_t num_classes() const { return classes_; }
  [[nodiscard]] index_t ignore_index() const { return ignore_index_; }
  /// n[target][prediction]
  [[nodiscard]] std::int64_t count(index_t target, index_t prediction) const {
    return counts_[static_cast<std::size_t>(target * classes_ + prediction)];
  }
  /// The whole matrix, [C, C].
  [[nodiscard]] Tensor<std::int64_t> counts() const { return {{classes_, classes_}, counts_}; }
  /// t_c
  [[nodiscard]] std::int64_t target_pixels(index_t c) const {
    std::int64_t sum = 0;
    for (index_t p = 0; p < classes_; ++p) sum += count(c, p);
    return sum;
  }
  /// p_c
  [[nodiscard]] std::int64_t predicted_pixels(index_t c) const {
    std::int64_t sum = 0;
    for (index_t t = 0; t < classes_; ++t) sum += count(t, c);
    return sum;
  }
  /// All pixels that count.
  [[nodiscard]] std::int64_t pixels() const {
    std::int64_t sum = 0;
    for (const std::int64_t n : counts_) sum += n;
    return sum;
  }

  /// Intersection over union, n_cc / (t_c + p_c - n_cc). A class that is predicted but does not occur has 0.
  [[nodiscard]] std::optional<double> iou(index_t c) const {
    return ratio(count(c, c), target_pixels(c) + predicted_pixels(c) - count(c, c));
  }
  /// n_cc / t_c: the share of the class that was found, also called recall.
  [[nodiscard]] std::optional<double> accuracy(index_t c) const { return ratio(count(c, c), target_pixels(c)); }
  /// n_cc / p_c
  [[nodiscard]] std::optional<double> precision(index_t c) const { return ratio(count(c, c), predicted_pixels(c)); }
  /// 2 n_cc / (t_c + p_c), also called F1.
  [[nodiscard]] std::optional<double> dice(index_t c) const { return ratio(2 * count(c, c), target_pixels(c) + predicted_pixels(c)); }

  /// sum n_cc / sum t_c
  [[nodiscard]] std::optional<double> pixel_accuracy() const {
    std::int64_t correct = 0;
    for (index_t c = 0; c < classes_; ++c) correct += count(c, c);
    return ratio(correct, pixels());
  }
  [[nodiscard]] std::optional<double> mean_iou(AbsentClasses absent = AbsentClasses::skip) const {
    return mean(&ConfusionMatrix::iou, absent);
  }
  [[nodiscard]] std::optional<double> mean_accuracy(AbsentClasses absent = AbsentClasses::skip) const {
    return mean(&ConfusionMatrix::accuracy, absent);
  }
  [[nodiscard]] std::optional<double> mean_precision(AbsentClasses absent = AbsentClasses::skip) const {
    return mean(&ConfusionMatrix::precision, absent);
  }
  [[nodiscard]] std::optional<double> mean_dice(AbsentClasses absent = AbsentClasses::skip) const {
    return mean(&ConfusionMatrix::dice, absent);
  }
  /// sum_c t_c / (sum t) IoU_c
  [[nodiscard]] std::optional<double> frequency_weighted_iou() const {
    const std::int64_t all = pixels();
    if (all == 0) return std::nullopt;
    double sum = 0;
    for (index_t c = 0; c < classes_; ++c)
      if (const std::int64_t t = target_pixels(c)) sum += static_cast<double>(t) * *iou(c);
    return sum / static_cast<double>(all);
  }

  /// Scores in per cent, a line per class and one for the means; "-" where there is no value. Names are UTF-8; classes without one
  /// are called by their number.
  [[nodiscard]] std::string table(const std::vector<std::string>& class_names = {}) const {
    const auto name = [&](index_t c) {
      const auto i = static_cast<std::size_t>(c);
      return i < class_names.size() ? class_names[i] : concat(c);
    };
    std::size_t widest = 5;
    for (index_t c = 0; c < classes_; ++c) widest = std::max(widest, columns_of(name(c)));
    std::string text;
    const auto line = [&](const std::string& label, const std::vector<std::string>& cells) {
      text += label + std::string(widest - columns_of(label), ' ');
      for (const std::string& cell : cells) text += std::string(cell.size() < 11 ? 11 - cell.size() : 1, ' ') + cell;
      text += '\n';
    };
    line("class", {"IoU", "accuracy", "precision", "Dice", "pixels"});
    for (index_t c = 0; c < classes_; ++c)
      line(name(c), {per_cent(iou(c)), per_cent(accuracy(c)), per_cent(precision(c)), per_cent(dice(c)), concat(target_pixels(c))});
    line("mean", {per_cent(mean_iou()), per_cent(mean_accuracy()), per_cent(mean_precision()), per_cent(mean_dice()), concat(pixels())});
    text += concat("pixel accuracy ", per_cent(pixel_accuracy()), ", frequency-weighted IoU ", per_cent(frequency_weighted_iou()), "\n");
    return text;
  }

 private:
  static std::optional<double> ratio(std::int64_t part, std::int64_t whole) {
    if (whole == 0) return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
  }
  std::optional<double> mean(std::optional<double> (ConfusionMatrix::*score)(index_t) const, AbsentClasses absent) const {
    double sum = 0;
    index_t n = 0;
    for (index_t c = 0; c < classes_; ++c) {
      const std::optional<double> value = (this->*score)(c);
      if (!value && absent == AbsentClasses::skip) continue;
      sum += value.value_or(0);
      ++n;
    }
    if (n == 0) return std::nullopt;
    return sum / static_cast<double>(n);
  }
  static std::string per_cent(const std::optional<double>& value) {
    if (!value) return "-";
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.2f", 100 * *value);
    return digits;
  }
  /// Code points of a UTF-8 text.
  static std::size_t columns_of(const std::string& text) {
    std::size_t n = 0;
    for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
    return n;
  }

  void check_logits(const Shape& logits, const Shape& target) const {
    Shape expected = target;
    expected.push_back(classes_);
    if (logits != expected) throw ShapeError("ConfusionMatrix::add_logits", "logits", concat(expected, " for target ", target), logits);
  }
  /// Of element i, t or p is wrong.
  [[noreturn]] void throw_bad_pair(index_t t, index_t p, index_t i, const Shape& shape) const {
    const bool target_wrong = t < 0 || t >= classes_;
    throw ValueError("ConfusionMatrix::add", target_wrong ? "target" : "prediction",
                     target_wrong ? concat("classes in [0, ", classes_, ") or ignore_index = ", ignore_index_)
                                  : concat("classes in [0, ", classes_, ")"),
                     concat(target_wrong ? t : p, " at element ", i, " of ", shape));
  }

  /// Counts n[target[i]][predicted(i)] over all pixels.
  template <class Target, class Predicted>
  void count(const Tensor<Target>& target, const Predicted& predicted) {
    const index_t n = target.numel(), C = classes_;
    const Target* labels = target.data();
    const index_t blocks = std::min<index_t>((n + 65535) / 65536, 16);  // each with a matrix of its own
    std::vector<std::vector<std::int64_t>> parts(static_cast<std::size_t>(blocks));
    std::vector<index_t> bad(static_cast<std::size_t>(blocks), -1);
    parallel_chunks(blocks, [&](index_t b) {
      std::vector<std::int64_t>& part = parts[static_cast<std::size_t>(b)];
      part.assign(counts_.size(), 0);
      for (index_t i = n * b / blocks; i < n * (b + 1) / blocks; ++i) {
        const index_t t = static_cast<index_t>(labels[i]);
        if (t == ignore_index_) continue;
        const index_t p = predicted(i);
        if (t < 0 || t >= C || p < 0 || p >= C) {
          bad[static_cast<std::size_t>(b)] = i;
          return;
        }
        ++part[static_cast<std::size_t>(t * C + p)];
      }
    });
    for (const index_t i : bad)
      if (i >= 0) throw_bad_pair(static_cast<index_t>(labels[i]), predicted(i), i, target.shape());
    for (const auto& part : parts)
      for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += part[i];
  }

  index_t classes_, ignore_index_;
  std::vector<std::int64_t> counts_;  // [C, C], target major
};

}  // namespace segnet
