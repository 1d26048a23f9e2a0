// Loops over the channels of one pixel in blocks of a fixed size, for kernels that gather a channel from several places.
//
// The body sees a compile-time count: its loops over a block vectorise whole, without remainders, and its local arrays of that
// size live in registers or the first cache line. (A plain loop over C would leave small C, and the end of any C, to scalars.)
#pragma once

#include <cstdint>
#include <type_traits>

#include "segnet/core/isa.hpp"

namespace segnet::kernels {

/// The next narrower block.
constexpr int narrower(int count) { return specialized ? count / 2 : 1; }

/// Calls f(c, count) so that the blocks [c, c + count) cover [0, n): one cache line of T each, the last one overlapping the one before
/// when n is no multiple; narrower only where n itself is smaller. So f must assign, not accumulate. `count` is an integral_constant.
template <class T, int count = 64 / static_cast<int>(sizeof(T)), class F>
SEGNET_INLINE void for_channels(index_t n, const F& f) {
  constexpr std::integral_constant<int, count> block{};
  if constexpr (count > 1) {
    if (n < count) return for_channels<T, narrower(count)>(n, f);
  }
  // One call, so that the body is compiled once per width.
  for (index_t c = 0; c < n; c += count) f(c + count <= n ? c : n - count, block);
}

/// The same, for f that accumulates: every channel exactly once, the remainder in blocks of falling powers of two.
template <class T, int count = 64 / static_cast<int>(sizeof(T)), class F>
SEGNET_INLINE void for_channels_once(index_t n, const F& f, index_t c = 0) {
  for (; c + count <= n; c += count) f(c, std::integral_constant<int, count>{});
  if constexpr (count > 1) {
    if (c < n) for_channels_once<T, narrower(count)>(n, f, c);
  }
}

/// Before a block that a pass over memory reads: asks for what the pass comes to 4 KiB later. The processor's own prefetching starts
/// anew at each page, and a loop that computes more than a sum then waits up to twice as long.
template <class T>
SEGNET_INLINE void prefetch_ahead(const T* p) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + 4096);
}

/// to[i] = f(i) for i in [0, count). All of f is computed before anything is written: what f reads may be `to`, and the compiler need
/// not fear that it is, which would keep it from vectorising.
template <int count, class T, class F>
SEGNET_INLINE void assign(T* to, const F& f) {
  T values[count];
  for (int i = 0; i < count; ++i) values[i] = f(i);
  for (int i = 0; i < count; ++i) to[i] = values[i];
}

/// condition ? a : b without a branch, which a loop could not be vectorised around.
SEGNET_INLINE std::int32_t select(bool condition, std::int32_t a, std::int32_t b) {
  const std::int32_t mask = -static_cast<std::int32_t>(condition);
  return (a & mask) | (b & ~mask);
}

}  // namespace segnet::kernels
