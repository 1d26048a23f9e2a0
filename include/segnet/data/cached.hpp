// Samples that stay in memory once they were read: decoding a JPEG file takes longer than a GPU needs to train on it.
#pragma once

#include <mutex>
#include <vector>

#include "segnet/data/sample.hpp"

namespace segnet::data {

/// The samples of `dataset`, each read when it is first asked for and kept, as long as all that is kept takes no more than `bytes`; what
/// finds no room is read again every time. The tensors of a sample are handles of what is kept: clone them before writing to them.
/// Copies share what they keep.
class Cached {
 public:
  Cached(Dataset dataset, std::size_t bytes) : dataset_(std::move(dataset)), store_(std::make_shared<Store>()) {
    store_->samples.resize(static_cast<std::size_t>(dataset_.size()));
    store_->room = bytes;
  }

  [[nodiscard]] index_t size() const { return dataset_.size(); }
  [[nodiscard]] const DatasetInfo& info() const { return dataset_.info(); }
  [[nodiscard]] std::string name(index_t i) const { return dataset_.name(i); }
  [[nodiscard]] Sample get(index_t i) const {
    Sample& kept = store_->samples.at(static_cast<std::size_t>(i));
    {
      std::lock_guard lock(store_->mutex);
      if (kept.image) return kept;
    }
    Sample sample = dataset_.get(i);  // two threads may both read it: better than one waiting for the other
    const auto bytes_of = [](const auto& t) { return static_cast<std::size_t>(t.numel()) * sizeof(*t.data()); };
    const std::size_t bytes = bytes_of(sample.image) + bytes_of(sample.label) + bytes_of(sample.instance);
    std::lock_guard lock(store_->mutex);
    if (!kept.image && bytes <= store_->room) {
      store_->room -= bytes;
      kept = sample;
    }
    return sample;
  }

 private:
  struct Store {
    std::mutex mutex;  // guards what follows
    std::vector<Sample> samples;
    std::size_t room = 0;  // bytes
  };
  Dataset dataset_;
  std::shared_ptr<Store> store_;
};

}  // namespace segnet::data
