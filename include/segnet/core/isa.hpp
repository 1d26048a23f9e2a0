// The instruction set is chosen at run time: users compile without -march and still get the machine's vectors.
//
// A hot loop is written once, as a callable whose body is inlined into a function compiled for each instruction set:
//
//   vectorized([&]() SEGNET_INLINE_LAMBDA { loop(...); });          // the compiler vectorises the loop
//   vectorized([&](auto isa) SEGNET_INLINE_LAMBDA { ... });         // isa::value is Isa::avx512, avx2 or baseline
//
// Everything that the body calls must be inlined into it (SEGNET_INLINE), or it is compiled for the baseline.
//
// That is for speed. Where no speed is to be had, each body is compiled once, for the least of processors: without optimisation, which
// spares two thirds of the compile time, and under sanitizers, which look at every access (of the widest vectors, in steps).
#pragma once

#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "segnet/core/config.hpp"

// SEGNET_LAYOUT is the inline namespace of functions that hand each other data which is laid out for the instruction set. Its name is a
// part of theirs: files compiled with and without optimisation may be linked, and each kind calls its own.
#if !defined(__OPTIMIZE__)
#define SEGNET_ONE_ISA Isa::baseline
#define SEGNET_LAYOUT for_baseline
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEGNET_ONE_ISA Isa::avx512
#define SEGNET_LAYOUT for_avx512
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEGNET_ONE_ISA Isa::avx512
#define SEGNET_LAYOUT for_avx512
#endif
#endif
#if !defined(SEGNET_LAYOUT)
#define SEGNET_LAYOUT for_this_machine
#endif

#if defined(SEGNET_ONE_ISA)  // calls serve, and are compiled once; loops stay loops, which spares two thirds more under sanitizers
#define SEGNET_INLINE inline
#define SEGNET_INLINE_LAMBDA
#else
#define SEGNET_INLINE inline __attribute__((always_inline))
#define SEGNET_INLINE_LAMBDA __attribute__((always_inline))
#endif

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
#if defined(SEGNET_ONE_ISA) && !defined(__CUDA_ARCH__)
#define SEGNET_UNROLL
#elif defined(__clang__) || defined(__CUDA_ARCH__)
#define SEGNET_UNROLL _Pragma("unroll")
#else
#define SEGNET_UNROLL _Pragma("GCC unroll 64")
#endif

namespace segnet {

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

inline namespace SEGNET_LAYOUT {

#if defined(SEGNET_ONE_ISA)
constexpr bool specialized = false;  ///< whether bodies are compiled for each instruction set

/// What data is laid out for.
[[nodiscard]] inline Isa current_isa() { return SEGNET_ONE_ISA; }
#else
constexpr bool specialized = true;

/// The best instruction set of this processor, or a lesser one named by the environment variable SEGNET_ISA (avx512, avx2, baseline),
/// read once.
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
#endif

}  // namespace SEGNET_LAYOUT

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

/// Calls f() or f(isa), compiled for the current instruction set; see the head of this file.
template <class F>
void vectorized(const F& f) {
#if defined(SEGNET_ONE_ISA)
  detail::call<SEGNET_ONE_ISA>(f);
#else
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
#endif
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

}  // namespace segnet
