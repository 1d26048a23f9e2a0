// Lets somebody watch the layers of a network at work: `summary` counts with it. Costs one test of a pointer per call.
#pragma once

#include <functional>

#include "segnet/core/tensor.hpp"

namespace segnet::nn {

/// One call of a layer.
struct LayerCall {
  const void* layer;  ///< its address
  const char* type;   ///< "Conv2d"
  Shape input, output;
  index_t multiply_adds = 0;  ///< of convolutions and matrix products; a bias, a norm or an activation counts none
};

using Observer = std::function<void(const LayerCall&)>;

namespace detail {
inline const Observer*& current_observer() {
  thread_local const Observer* observer = nullptr;
  return observer;
}
}  // namespace detail

/// While it lives, `observer` hears of every layer call on this thread.
class ObserveLayers {
 public:
  explicit ObserveLayers(const Observer& observer) : before_(detail::current_observer()) { detail::current_observer() = &observer; }
  ~ObserveLayers() { detail::current_observer() = before_; }
  ObserveLayers(const ObserveLayers&) = delete;
  ObserveLayers& operator=(const ObserveLayers&) = delete;

 private:
  const Observer* before_;
};

namespace detail {
/// A layer's last step: reports the call, passes y on.
template <class T, class D>
const Tensor<T, D>& observed(const void* layer, const char* type, const Tensor<T, D>& x, const Tensor<T, D>& y, index_t multiply_adds = 0) {
  if (const Observer* observer = current_observer()) (*observer)({layer, type, x.shape(), y.shape(), multiply_adds});
  return y;
}
}  // namespace detail

}  // namespace segnet::nn
