// A loader's batches on the device that computes with them.
#pragma once

#include <deque>

#include "segnet/data/loader.hpp"

namespace segnet::data {

template <class D>
struct DeviceBatch {
  Tensor<float, D> images;         ///< [N, H, W, 3]
  Tensor<std::int32_t, D> labels;  ///< [N, H, W]
  Tensor<float, D> weights;        ///< [N, H, W] or undefined
};

/// Hands out the batches of a loader, in its order. For the GPU a thread copies the next `ahead` of them while the network computes:
/// copies would otherwise wait for its kernels, and these for the copies. While it lives the loader belongs to it.
template <class D>
class Feeder {
 public:
  explicit Feeder(Loader& loader, std::size_t ahead = 2) : loader_(loader), ahead_(ahead) {}
  ~Feeder() { stop(); }
  Feeder(const Feeder&) = delete;
  Feeder& operator=(const Feeder&) = delete;

  /// As Loader::start; needed before the first `next`.
  void start(index_t epoch, index_t batch = 0) {
    stop();
    loader_.start(epoch, batch);
    if constexpr (!std::is_same_v<D, Cpu>) {
      ready_.clear();
      stopping_ = false;
      thread_ = std::thread([this] { work(); });
    }
  }

  /// As Loader::next, and what it throws; also DeviceError.
  [[nodiscard]] std::optional<DeviceBatch<D>> next() {
    if constexpr (std::is_same_v<D, Cpu>) {
      auto batch = loader_.next();
      if (!batch) return {};
      return DeviceBatch<D>{std::move(batch->images), std::move(batch->labels), std::move(batch->weights)};
    } else {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !ready_.empty(); });
      Result& first = ready_.front();
      if (first.error) std::rethrow_exception(first.error);
      if (!first.batch) return {};  // the end stays in the queue
      std::optional<DeviceBatch<D>> batch = std::move(first.batch);
      ready_.pop_front();
      changed_.notify_all();
      return batch;
    }
  }

 private:
  struct Result {
    std::optional<DeviceBatch<D>> batch;
    std::exception_ptr error;
  };

  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void work() {
    for (bool more = true; more;) {
      Result result;
      try {
        if (auto batch = loader_.next()) {
          result.batch = DeviceBatch<D>{batch->images.template to<D>(), batch->labels.template to<D>(), {}};
          if (batch->weights) result.batch->weights = batch->weights.template to<D>();
          cuda::synchronize();  // other threads' streams do not wait for this one's copies
        }
      } catch (...) {
        result.error = std::current_exception();
      }
      more = result.batch.has_value();
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || ready_.size() < ahead_; });
      if (stopping_) return;
      ready_.push_back(std::move(result));
      changed_.notify_all();
    }
  }

  Loader& loader_;
  const std::size_t ahead_;
  std::mutex mutex_;  // guards what follows, but the thread
  std::condition_variable changed_;
  std::deque<Result> ready_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace segnet::data
