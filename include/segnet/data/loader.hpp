// Batches for training, prepared by background threads while the network computes.
#pragma once

#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/data/augment.hpp"
#include "segnet/data/sample.hpp"

namespace segnet::data {

/// N samples of one size.
struct Batch {
  Tensor<float> images;            ///< [N, H, W, 3], normalised
  Tensor<std::int32_t> labels;     ///< [N, H, W]
  Tensor<std::int32_t> instances;  ///< [N, H, W], or undefined where a sample has none
  Tensor<float> weights;           ///< [N, H, W] of the loss, or undefined: `Augmentation::border`
  std::vector<std::string> names;
};

struct LoaderOptions {
  index_t batch = 8;
  std::uint64_t seed = 0;
  int workers = 1;         ///< background threads; 0: batches are made when they are asked for
  bool shuffle = false;    ///< a new order in every epoch
  bool drop_last = false;  ///< leave out the last batch of an epoch when it is not full
  int prefetch = 2;        ///< batches ready or in the making, per worker
};

/// A sample could not be read or put into its batch.
class SampleError : public Error {
 public:
  SampleError(const std::string& sample_name, index_t sample_index, std::string_view what_is_wrong)
      : Error(concat("sample '", sample_name, "' (number ", sample_index, "): ", what_is_wrong)), name(sample_name), index(sample_index) {}
  std::string name;
  index_t index;
};

/// Goes through a data set in batches, epoch by epoch:
///
///   Loader loader(dataset, {.flip = 0.5}, {.batch = 8, .seed = 1, .workers = 2, .shuffle = true});
///   for (int epoch = 0; epoch < epochs; ++epoch) {
///     loader.start(epoch);
///     while (auto batch = loader.next()) train(batch->images, batch->labels);
///   }
///
/// Batch b of epoch e is a pure function of (data set, options, e, b): the order depends on (seed, epoch), the augmentation of a sample
/// on (seed, epoch, its number), nothing on workers. Training that stops after batch b goes on with `start(epoch, b)`.
/// Workers run loops of their own on one thread each. Not itself for use by several threads at once.
class Loader {
 public:
  /// @throws ValueError for options out of range
  Loader(Dataset dataset, const Augmentation& augmentation, const LoaderOptions& options)
      : dataset_(std::move(dataset)), augmentation_(augmentation), options_(options) {
    if (options.batch < 1) throw ValueError("data::Loader", "batch", "at least 1", concat(options.batch));
    if (options.workers < 0) throw ValueError("data::Loader", "workers", "at least 0", concat(options.workers));
    if (options.prefetch < 1) throw ValueError("data::Loader", "prefetch", "at least 1", concat(options.prefetch));
    for (int i = 0; i < options.workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Loader() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
      end_ = 0;
    }
    wake_workers_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Batches in an epoch.
  [[nodiscard]] index_t batches() const {
    return options_.drop_last ? dataset_.size() / options_.batch : (dataset_.size() + options_.batch - 1) / options_.batch;
  }

  /// Goes to an epoch and the first batch of it that is wanted. @throws ValueError when that is not in [0, batches()]
  void start(index_t epoch, index_t batch = 0) {
    if (batch < 0 || batch > batches()) throw ValueError("data::Loader::start", "batch", concat("0 to ", batches()), concat(batch));
    std::vector<index_t> order = order_of(epoch);
    {
      std::lock_guard lock(mutex_);
      ++generation_;  // what is in the making belongs to the past
      ready_.clear();
      order_ = std::make_shared<const std::vector<index_t>>(std::move(order));
      epoch_ = epoch;
      consumed_ = taken_ = batch;
      end_ = batches();
    }
    wake_workers_.notify_all();
  }

  /// The next batch of the epoch, or nothing after the last; before any `start`, epoch 0 starts.
  /// @throws SampleError naming the sample that could not be read, has labels that are no class, or has another size than the first of its
  /// batch. The loader then stands behind that batch.
  [[nodiscard]] std::optional<Batch> next() {
    if (!order_) start(0);
    std::unique_lock lock(mutex_);
    if (consumed_ == end_) return {};
    const index_t wanted = consumed_++;
    if (threads_.empty()) {
      lock.unlock();
      return make(*order_, epoch_, wanted);
    }
    wake_consumer_.wait(lock, [&] { return ready_.contains(wanted); });
    Result result = std::move(ready_.extract(wanted).mapped());
    lock.unlock();
    wake_workers_.notify_one();
    if (result.error) std::rethrow_exception(result.error);
    return std::move(result.batch);
  }

 private:
  struct Result {
    Batch batch;
    std::exception_ptr error;
  };

  std::vector<index_t> order_of(index_t epoch) const {
    std::vector<index_t> order(static_cast<std::size_t>(dataset_.size()));
    std::iota(order.begin(), order.end(), index_t{0});
    Generator random = Generator{options_.seed}.split(0).split(static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size(); options_.shuffle && i-- > 1;)
      std::swap(order[i], order[static_cast<std::size_t>(random.below(static_cast<index_t>(i) + 1))]);
    return order;
  }

  Batch make(const std::vector<index_t>& order, index_t epoch, index_t number) const {
    const index_t first = number * options_.batch, n = std::min(options_.batch, static_cast<index_t>(order.size()) - first);
    const Generator of_epoch = Generator{options_.seed}.split(1).split(static_cast<std::uint64_t>(epoch));
    Batch batch;
    for (index_t i = 0; i < n; ++i) {
      const index_t index = order[static_cast<std::size_t>(first + i)];
      try {
        Generator random = of_epoch.split(static_cast<std::uint64_t>(index));
        Sample sample = dataset_.get(index);
        check_labels(sample, dataset_.info());
        put(batch, i, n, augmented(std::move(sample), augmentation_, random));
      } catch (const std::exception& error) {
        throw SampleError(dataset_.name(index), index, error.what());
      }
    }
    return batch;
  }

  static void put(Batch& batch, index_t i, index_t n, Example example) {
    const index_t h = example.image.dim(0), w = example.image.dim(1);
    if (i == 0) {
      batch.images = Tensor<float>({n, h, w, 3});
      batch.labels = Tensor<std::int32_t>({n, h, w});
      if (example.instance) batch.instances = Tensor<std::int32_t>({n, h, w});
      if (example.weight) batch.weights = Tensor<float>({n, h, w});
    }
    const Shape size{h, w}, first{batch.labels.dim(1), batch.labels.dim(2)};
    if (size != first)
      throw ShapeError("data::Loader", "image",
                       concat(first, " (height, width) as the first of its batch ('", batch.names[0], "'): a crop gives all the same size"),
                       size);
    if (example.label.shape() != size) throw ShapeError("data::Loader", "label", concat(size, " as its image"), example.label.shape());
    if (example.instance && example.instance.shape() != size)
      throw ShapeError("data::Loader", "instance", concat(size, " as its image"), example.instance.shape());
    batch.images.alias({h, w, 3}, i * h * w * 3).copy_from(example.image);
    batch.labels.alias({h, w}, i * h * w).copy_from(example.label);
    if (!example.instance) batch.instances = {};
    if (batch.instances) batch.instances.alias({h, w}, i * h * w).copy_from(example.instance);
    if (batch.weights) batch.weights.alias({h, w}, i * h * w).copy_from(example.weight);
    batch.names.push_back(std::move(example.name));
  }

  void work() {
    set_num_threads(1);
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_workers_.wait(lock, [&] { return closing_ || (taken_ < end_ && taken_ - consumed_ < options_.prefetch * options_.workers); });
      if (closing_) return;
      const index_t number = taken_++, epoch = epoch_;
      const std::uint64_t generation = generation_;
      const std::shared_ptr<const std::vector<index_t>> order = order_;
      lock.unlock();
      Result result;
      try {
        result.batch = make(*order, epoch, number);
      } catch (...) {
        result.error = std::current_exception();
      }
      lock.lock();
      if (generation != generation_) continue;
      ready_.emplace(number, std::move(result));
      wake_consumer_.notify_one();
    }
  }

  const Dataset dataset_;
  const Augmentation augmentation_;
  const LoaderOptions options_;

  std::mutex mutex_;  // guards everything below, but threads_
  std::condition_variable wake_workers_, wake_consumer_;
  std::shared_ptr<const std::vector<index_t>> order_;  // of the samples in this epoch
  index_t epoch_ = 0;
  index_t consumed_ = 0, taken_ = 0, end_ = 0;  // batches handed out, batches begun, batches of the epoch
  std::uint64_t generation_ = 0;                // counts calls of `start`
  std::map<index_t, Result> ready_;
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace segnet::data
