// What this machine's memory delivers, measured beside each memory-bound benchmark.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"

/// Bytes per second of copying arrays of that size with all threads, counting what is read and what is written: the best of seven.
inline double copy_bandwidth(std::size_t bytes) {
  using clock = std::chrono::steady_clock;
  const auto n = static_cast<segnet::index_t>(bytes);
  const auto from = segnet::zeros<std::uint8_t>({n}), to = segnet::zeros<std::uint8_t>({n});
  double best = 1e300;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const auto start = clock::now();
    segnet::parallel_for(n, 1 << 17, [&](segnet::index_t begin, segnet::index_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
    benchmark::DoNotOptimize(to.data());
    best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
  }
  return 2 * static_cast<double>(bytes) / best;
}

/// Counters of a benchmark that must move `bytes` per iteration: bytes per second, and per cent of `copy`, a bandwidth taken just
/// before, so that the ratio survives a busy machine.
inline void report_bandwidth(benchmark::State& state, double bytes, double copy) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["B/s"] = benchmark::Counter(bytes, rate);
  state.counters["%copy"] = benchmark::Counter(100 * bytes / copy, rate);
}
