// What a data set is: samples, their classes, and a handle for programs that choose a data set at run time.
#pragma once

#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "segnet/core/tensor.hpp"
#include "segnet/io/label_map.hpp"

namespace segnet::data {

/// A picture and what is where in it.
struct Sample {
  Tensor<std::uint8_t> image;     ///< [H, W, 3] RGB
  Tensor<std::int32_t> label;     ///< [H, W] class ids, or the data set's `ignore_index`
  Tensor<std::int32_t> instance;  ///< [H, W] 1, 2, ... for the objects, 0 elsewhere; undefined where a data set has none
  std::string name;               ///< says in messages which one it is
};

struct DatasetInfo {
  std::vector<std::string> classes;  ///< names; a class id is a position here
  Palette palette;                   ///< their colours
  std::int32_t ignore_index = 255;   ///< the label that loss and metrics leave out
  std::vector<bool> is_thing = {};   ///< per class: countable objects; empty where a data set has no instances

  [[nodiscard]] index_t num_classes() const { return static_cast<index_t>(classes.size()); }
};

/// @throws ValueError naming the first label that is neither a class nor ignored, and its place
inline void check_labels(const Sample& sample, const DatasetInfo& info) {
  const Tensor<std::int32_t>& label = sample.label;
  for (index_t i = 0; i < label.numel(); ++i) {
    const std::int32_t value = label.data()[i];
    if (value != info.ignore_index && (value < 0 || value >= info.num_classes()))
      throw ValueError("data", "label", concat("a class from 0 to ", info.num_classes() - 1, ", or ", info.ignore_index, " (ignored)"),
                       concat(value, " at row ", i / label.dim(1), ", column ", i % label.dim(1)));
  }
}

enum class Split { train, val, test };

[[nodiscard]] inline std::string to_string(Split split) { return split == Split::train ? "train" : split == Split::val ? "val" : "test"; }

/// A data set: `get` may be called by several threads at once. It may also have `std::string name(index_t) const`, which says
/// which sample it is without reading it.
template <class D>
concept DatasetLike = requires(const D& dataset, index_t i) {
  { dataset.size() } -> std::convertible_to<index_t>;
  { dataset.get(i) } -> std::convertible_to<Sample>;
  { dataset.info() } -> std::convertible_to<const DatasetInfo&>;
};

/// Any data set. Copies share it.
class Dataset {
 public:
  template <class D>
    requires(DatasetLike<D> && !std::same_as<D, Dataset>)
  Dataset(D dataset) : self_(std::make_shared<Model<D>>(std::move(dataset))) {}  // NOLINT: every data set is one of these

  [[nodiscard]] index_t size() const { return self_->size(); }
  /// @throws ValueError when i is not in [0, size()), and what the data set throws
  [[nodiscard]] Sample get(index_t i) const {
    if (i < 0 || i >= size()) throw ValueError("Dataset::get", "i", concat("a number from 0 to ", size() - 1), concat(i));
    return self_->get(i);
  }
  [[nodiscard]] const DatasetInfo& info() const { return self_->info(); }
  /// The name of sample i, or "sample i" where the data set does not know it without reading.
  [[nodiscard]] std::string name(index_t i) const { return self_->name(i); }

 private:
  struct Concept {
    virtual ~Concept() = default;
    virtual index_t size() const = 0;
    virtual Sample get(index_t i) const = 0;
    virtual const DatasetInfo& info() const = 0;
    virtual std::string name(index_t i) const = 0;
  };
  template <class D>
  struct Model final : Concept {
    explicit Model(D d) : dataset(std::move(d)) {}
    index_t size() const override { return dataset.size(); }
    Sample get(index_t i) const override { return dataset.get(i); }
    const DatasetInfo& info() const override { return dataset.info(); }
    std::string name(index_t i) const override {
      if constexpr (requires { std::string(dataset.name(i)); }) return dataset.name(i);
      else return concat("sample ", i);
    }
    D dataset;
  };
  std::shared_ptr<const Concept> self_;
};

/// The samples of `dataset` at `indices`, in that order: a part to validate on, a fold, a share of a machine.
class Subset {
 public:
  /// @throws ValueError when an index is out of range
  Subset(Dataset dataset, std::vector<index_t> indices) : dataset_(std::move(dataset)), indices_(std::move(indices)) {
    for (const index_t i : indices_)
      if (i < 0 || i >= dataset_.size())
        throw ValueError("Subset", "indices", concat("numbers from 0 to ", dataset_.size() - 1), concat(i));
  }
  /// The first `count` samples, or all when there are fewer.
  static Subset first(const Dataset& dataset, index_t count) {
    std::vector<index_t> indices;
    for (index_t i = 0; i < count && i < dataset.size(); ++i) indices.push_back(i);
    return {dataset, std::move(indices)};
  }
  [[nodiscard]] index_t size() const { return static_cast<index_t>(indices_.size()); }
  [[nodiscard]] Sample get(index_t i) const { return dataset_.get(indices_.at(static_cast<std::size_t>(i))); }
  [[nodiscard]] const DatasetInfo& info() const { return dataset_.info(); }
  [[nodiscard]] std::string name(index_t i) const { return dataset_.name(indices_.at(static_cast<std::size_t>(i))); }

 private:
  Dataset dataset_;
  std::vector<index_t> indices_;
};

}  // namespace segnet::data
