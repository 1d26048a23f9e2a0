// What LibTorch's tensors hold, as its allocator tells the profiler.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>

/// Counts what this thread allocates and frees, from its construction on. (oneDNN's scratch memory does not pass here.)
class TorchMemory {
 public:
  double peak_mib() const { return static_cast<double>(counter_->peak) / 1048576; }

 private:
  struct Counter final : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, int64_t, int64_t, c10::Device) override { peak = std::max(peak, now += bytes); }
    bool memoryProfilingEnabled() const override { return true; }
    int64_t now = 0, peak = 0;
  };
  std::shared_ptr<Counter> counter_ = std::make_shared<Counter>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, counter_};
};
