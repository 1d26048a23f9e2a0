// segnet's part in the comparison of whole networks.
#pragma once

#include "segnet/core/memory.hpp"
#include "segnet/core/tensor.hpp"
#include "whole_network.hpp"

struct SegnetRunner : NetworkRunner {
  void watch_memory() final {
    segnet::release_cached_memory();
    segnet::reset_peak_memory();
    before_ = segnet::memory_stats().in_use;
  }
  double watched_mib() final { return static_cast<double>(segnet::memory_stats().peak - before_) / 1048576; }

 private:
  std::size_t before_ = 0;
};
