// What kernels see of a tensor: a pointer and a shape, passed by value.
#pragma once

#include <type_traits>

#include "segnet/core/device.hpp"
#include "segnet/core/shape.hpp"

namespace segnet {

/// Contiguous, row-major elements on device D. Owns nothing.
template <class T, class D = Cpu>
struct View {
  T* data = nullptr;
  Shape shape;

  SEGNET_HOST_DEVICE index_t size() const { return shape.numel(); }
  SEGNET_HOST_DEVICE index_t dim(int i) const { return shape[i]; }
  SEGNET_HOST_DEVICE T& operator[](index_t i) const { return data[i]; }
  SEGNET_HOST_DEVICE explicit operator bool() const { return data != nullptr; }

  operator View<const T, D>() const  // NOLINT: reading what may be written
    requires(!std::is_const_v<T>)
  {
    return {data, shape};
  }
};

/// A kernel's input. T is deduced from the kernel's output, so that a `View<T>` converts to it.
template <class T, class D = Cpu>
using ConstView = View<const std::type_identity_t<T>, std::type_identity_t<D>>;

}  // namespace segnet
