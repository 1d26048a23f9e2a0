// Loops over threads. Work is cut at places that do not depend on the number of threads, so that results do not either.
#pragma once

#include <algorithm>

#include "segnet/core/config.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace segnet {

/// Threads that loops started from this thread use; 1 where OpenMP is not compiled in.
[[nodiscard]] inline int num_threads() {
#if defined(_OPENMP)
  return omp_in_parallel() ? 1 : omp_get_max_threads();
#else
  return 1;
#endif
}

/// Sets that number for loops started from the calling thread.
inline void set_num_threads([[maybe_unused]] int threads) {
#if defined(_OPENMP)
  omp_set_num_threads(std::max(threads, 1));
#endif
}

namespace detail {
/// A reference to something that can be called: the loops below are compiled once, not once for each body.
template <class... Args>
class Body {
 public:
  template <class F>
  Body(const F& f) : object_(&f), call_(&call<F>) {}  // NOLINT: made where a loop is given its body
  void operator()(Args... args) const { call_(object_, args...); }

 private:
  template <class F>
  static void call(const void* f, Args... args) {
    (*static_cast<const F*>(f))(args...);
  }
  const void* object_;
  void (*call_)(const void*, Args...);
};
}  // namespace detail

/// Calls f(chunk, worker) for chunk = 0 ... chunks - 1, each once, spread over the threads in any order. Calls that run at the same time
/// have different workers, 0 <= worker < num_threads() as it was before the loop: for scratch memory, allocated outside since f must not
/// throw.
inline void parallel_workers(index_t chunks, detail::Body<index_t, int> f) {
#if defined(_OPENMP)
  if (chunks > 1 && num_threads() > 1) {
#pragma omp parallel for schedule(dynamic, 1)
    for (index_t chunk = 0; chunk < chunks; ++chunk) f(chunk, omp_get_thread_num());
    return;
  }
#endif
  for (index_t chunk = 0; chunk < chunks; ++chunk) f(chunk, 0);
}

/// The same with f(chunk).
inline void parallel_chunks(index_t chunks, detail::Body<index_t> f) {
  parallel_workers(chunks, [&](index_t chunk, int) { f(chunk); });
}

/// Calls f(begin, end) over pieces of [0, n) of `grain` elements each (the last may be shorter). f must not throw.
inline void parallel_for(index_t n, index_t grain, detail::Body<index_t, index_t> f) {
  grain = std::max<index_t>(grain, 1);
  parallel_workers((n + grain - 1) / grain, [&](index_t chunk, int) { f(chunk * grain, std::min(n, (chunk + 1) * grain)); });
}

}  // namespace segnet
