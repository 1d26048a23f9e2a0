// The instruction set is chosen at run time: users compile without -march and still get the machine's vectors.
//
// A hot loop is written once, as a callable whose body is inlined into a function compiled for each instruction set:
//
//   vectorized([&]() SEGNET_INLINE_LAMBDA { loop(...); });          // the compiler vectorises the loop
//   vectorized([&](auto isa) SEGNET_INLINE_LAMBDA { ... });         // isa::value is Isa::avx512, avx2 or baseline
//   with_isa([&](auto isa) SEGNET_INLINE_LAMBDA { ... });           // and what it reads or writes is laid out for isa
//
// Everything that the body calls must be inlined into it (SEGNET_INLINE), or it is compiled for the baseline.
#pragma once

#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "segnet/core/config.hpp"

#define SEGNET_INLINE inline __attribute__((always_inline))
#define SEGNET_INLINE_LAMBDA __attribute__((always_inline))

#if defined(__x86_64__)  // in nvcc's host code too: both compilers must make the same inline functions
#define SEGNET_X86 1
#else
#define SEGNET_X86 0
#endif

/// Before an innermost loop whose iterations are independent.
#if defined(_OPENMP)
#define SEGNET_SIMD _Pragma("omp simd")
#elif defined(__clang__)
#define SEGNET_SIMD _Pragma("clang loop vectorize(enable)")
#else
#define SEGNET_SIMD _Pragma("GCC ivdep")
#endif

/// Before a short loop of constant length over registers: unrolls it completely.
#if defined(__clang__) || defined(__CUDA_ARCH__)
#define SEGNET_UNROLL _Pragma("unroll")
#else
#define SEGNET_UNROLL _Pragma("GCC unroll 64")
#endif

namespace segnet {

/// Whether code that is compiled several times over, for speed, gains any: not without optimisation, and not where a sanitizer looks at
/// every access. Compiling it once halves what such builds take.
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool specialized = false;
#elif defined(__has_feature)
constexpr bool specialized = !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer);
#else
constexpr bool specialized = true;
#endif

enum class Isa { baseline, avx2, avx512 };

[[nodiscard]] inline const char* to_string(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "baseline"; }

/// The best instruction set of this processor.
[[nodiscard]] inline Isa machine_isa() {
#if SEGNET_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
      return Isa::avx512;
    return Isa::avx2;
  }
#endif
  return Isa::baseline;
}

/// That one, or a lesser one named by the environment variable SEGNET_ISA (avx512, avx2, baseline), read once.
[[nodiscard]] inline Isa current_isa() {
  static const Isa chosen = [] {
    const Isa best = machine_isa();
    if (const char* wish = std::getenv("SEGNET_ISA")) {
      if (std::strcmp(wish, "baseline") == 0) return Isa::baseline;
      if (std::strcmp(wish, "avx2") == 0) return best < Isa::avx2 ? best : Isa::avx2;
    }
    return best;
  }();
  return chosen;
}

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"  // SEGNET_SIMD on a loop that calls the library (sin, pow, ...) is no mistake
#endif

namespace detail {
template <Isa isa, class F>
SEGNET_INLINE void call(const F& f) {
  if constexpr (std::is_invocable_v<const F&>) f();
  else f(std::integral_constant<Isa, isa>{});
}
#if SEGNET_X86
template <class F>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"), noinline)) void run_avx512(const F& f) {
  call<Isa::avx512>(f);
}
template <class F>
__attribute__((target("avx2,fma"), noinline)) void run_avx2(const F& f) {
  call<Isa::avx2>(f);
}
#endif
}  // namespace detail

/// Calls f() or f(isa), compiled for the chosen instruction set; see the head of this file.
template <class F>
void with_isa(const F& f) {
#if SEGNET_X86
  switch (current_isa()) {
    case Isa::avx512:
      return detail::run_avx512(f);
    case Isa::avx2:
      return detail::run_avx2(f);
    case Isa::baseline:
      break;
  }
#endif
  detail::call<Isa::baseline>(f);
}

/// The same where any instruction set serves, so that one body does if no speed is to be had.
template <class F>
void vectorized(const F& f) {
  if constexpr (specialized) with_isa(f);
  else detail::call<Isa::baseline>(f);
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

}  // namespace segnet
