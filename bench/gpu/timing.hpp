// Time on the GPU: device events around many calls, contenders taking turns, medians.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace gpu_bench {

inline void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(code));
  std::exit(1);
}
#define GPU_BENCH_CHECK(call) ::gpu_bench::check((call), #call)

/// Seconds of `calls` calls of f(i), i = 0, 1, ..., on this thread's stream.
template <class F>
double seconds(int calls, const F& f) {
  static const auto events = [] {
    std::pair<cudaEvent_t, cudaEvent_t> pair;
    GPU_BENCH_CHECK(cudaEventCreate(&pair.first));
    GPU_BENCH_CHECK(cudaEventCreate(&pair.second));
    return pair;
  }();
  GPU_BENCH_CHECK(cudaEventRecord(events.first, cudaStreamPerThread));
  for (int i = 0; i < calls; ++i) f(i);
  GPU_BENCH_CHECK(cudaEventRecord(events.second, cudaStreamPerThread));
  GPU_BENCH_CHECK(cudaEventSynchronize(events.second));
  float ms = 0;
  GPU_BENCH_CHECK(cudaEventElapsedTime(&ms, events.first, events.second));
  return static_cast<double>(ms) * 1e-3;
}

/// What takes part in a comparison. run(i) is one call; i chooses among `copies` sets of buffers, so that no call finds its inputs in
/// the L2 cache.
struct Contender {
  std::string name;
  std::function<void(int i)> run;
};

/// Median seconds of a call of each contender: warmed up, then turn by turn, `rounds` times about 3 ms each.
inline std::vector<double> compare(const std::vector<Contender>& contenders, int rounds = 7) {
  std::vector<int> calls;
  std::vector<std::vector<double>> times(contenders.size());
  for (const Contender& c : contenders) {
    seconds(2, c.run);
    calls.push_back(std::clamp(static_cast<int>(3e-3 / std::max(seconds(1, c.run), 1e-7)), 1, 200));
  }
  for (int round = 0; round < rounds; ++round)
    for (std::size_t k = 0; k < contenders.size(); ++k) times[k].push_back(seconds(calls[k], contenders[k].run) / calls[k]);
  std::vector<double> medians;
  for (auto& t : times) {
    std::nth_element(t.begin(), t.begin() + rounds / 2, t.end());
    medians.push_back(t[static_cast<std::size_t>(rounds / 2)]);
  }
  return medians;
}

/// Sets of buffers of `bytes` each that together are far larger than the L2 cache.
inline int copies_for(double bytes) { return std::clamp(static_cast<int>(256e6 / bytes) + 1, 1, 16); }

/// Rows of a report: a Markdown table on standard output, JSON in a file.
struct Row {
  std::string name, pass, type;
  double seconds = 0, flop = 0, bytes = 0;  ///< bytes: read or written at least once
  double of_peak = 0;                       ///< of the nearer of the two measured ceilings
  double peer_seconds = 0;                  ///< 0: no peer
};

}  // namespace gpu_bench
