// What the thread sanitizer is told of the emulated GPU, so that it sees races between the threads of a block as a GPU would have them:
// each of these is a fiber of its own to it, and only barriers order what they do. The machine itself is compiled without the sanitizer, so
// it says what instructions in software read and write. Nothing happens in programs without the sanitizer, which then lack its functions.
#pragma once

#include <cstddef>

extern "C" {
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void __tsan_acquire(void* place);
[[gnu::weak]] void __tsan_release(void* place);
[[gnu::weak]] void __tsan_read_range(void* place, unsigned long bytes);
[[gnu::weak]] void __tsan_write_range(void* place, unsigned long bytes);
[[gnu::weak]] void __tsan_ignore_thread_begin();
[[gnu::weak]] void __tsan_ignore_thread_end();
}

namespace segnet::emulated::races {

[[nodiscard]] inline bool watched() { return __tsan_create_fiber != nullptr; }

[[nodiscard]] inline void* fiber() { return watched() ? __tsan_create_fiber(0) : nullptr; }
[[nodiscard]] inline void* fiber_in_use() { return watched() ? __tsan_get_current_fiber() : nullptr; }
inline void destroy(void* fiber) {
  if (watched()) __tsan_destroy_fiber(fiber);
}
/// From now on what is done is done by `fiber`. That orders nothing.
inline void go_to(void* fiber) {
  if (watched()) __tsan_switch_to_fiber(fiber, 1);
}

/// What those who gave at a place did before is before what those do who take from there afterwards.
inline void give(const void* place) {
  if (watched()) __tsan_release(const_cast<void*>(place));
}
inline void take(const void* place) {
  if (watched()) __tsan_acquire(const_cast<void*>(place));
}

inline void reads(const void* from, std::size_t bytes) {
  if (watched()) __tsan_read_range(const_cast<void*>(from), bytes);
}
inline void writes(const void* to, std::size_t bytes) {
  if (watched()) __tsan_write_range(const_cast<void*>(to), bytes);
}

/// In its scope nothing counts as read or written.
struct Unseen {
  Unseen() {
    if (watched()) __tsan_ignore_thread_begin();
  }
  ~Unseen() {
    if (watched()) __tsan_ignore_thread_end();
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

/// f() as a unit that works beside the threads, after what was given at `place`; what then takes from there is after f.
template <class F>
void beside(const void* place, const F& f) {
  static thread_local void* const unit = fiber();
  void* const me = fiber_in_use();
  go_to(unit);
  take(place);
  f();
  give(place);
  go_to(me);
}

}  // namespace segnet::emulated::races
