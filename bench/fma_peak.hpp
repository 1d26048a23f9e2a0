// What this machine's multipliers deliver, measured beside each compute-bound benchmark.
#pragma once

#include <algorithm>
#include <chrono>

#include "segnet/core/parallel.hpp"
#include "segnet/kernels/simd.hpp"

/// Floating-point operations per second of fused multiply-adds on registers alone, all threads, the best of five.
template <class T = float>
double fma_peak() {
  using namespace segnet;
  using clock = std::chrono::steady_clock;
  constexpr index_t steps = 1 << 20, chains = 12;  // enough chains to hide the latency, few enough for 16 registers
  const index_t threads = num_threads();
  double best = 1e300;
  const index_t lanes = kernels::vector_bytes(current_isa()) / static_cast<index_t>(sizeof(T));
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto start = clock::now();
    parallel_chunks(threads, [&](index_t) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        using S = kernels::Simd<T, decltype(isa)::value>;
        typename S::Vector acc[chains], factor = typename S::Vector{} + T(0.999);
        SEGNET_UNROLL for (int i = 0; i < chains; ++i) acc[i] = typename S::Vector{} + T(i);
        for (index_t step = 0; step < steps; ++step) {
          SEGNET_UNROLL for (int i = 0; i < chains; ++i) acc[i] = acc[i] * factor + factor;
          asm volatile("" ::: "memory");
        }
        typename S::Vector sum{};
        SEGNET_UNROLL for (int i = 0; i < chains; ++i) sum += acc[i];
        volatile T sink = sum[0];
        static_cast<void>(sink);
      });
    });
    best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
  }
  return 2.0 * static_cast<double>(threads * steps * chains * lanes) / best;
}
