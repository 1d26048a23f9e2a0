// A callable of any type, owned. std::function does more, it copies what it holds, and takes longer to compile than most closures.
#pragma once

#include <memory>
#include <utility>

namespace segnet {

template <class Signature>
class Closure;

/// Holds an f that is called as f(args...), or nothing. Moved, not copied.
template <class Result, class... Args>
class Closure<Result(Args...)> {
 public:
  Closure() = default;
  template <class F>
  Closure(F f) : object_(new F(std::move(f)), &destroy<F>), call_(&call<F>) {}  // NOLINT: a lambda is a closure

  explicit operator bool() const { return object_ != nullptr; }
  Result operator()(Args... args) const { return call_(object_.get(), std::forward<Args>(args)...); }

 private:
  template <class F>
  static void destroy(void* f) {
    delete static_cast<F*>(f);
  }
  template <class F>
  static Result call(void* f, Args... args) {
    return (*static_cast<F*>(f))(std::forward<Args>(args)...);
  }

  std::unique_ptr<void, void (*)(void*)> object_{nullptr, nullptr};
  Result (*call_)(void*, Args...) = nullptr;
};

}  // namespace segnet
