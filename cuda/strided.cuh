// Copies between arrays whose elements lie apart. Elements are only moved, so that their type does not matter, but their size.
#pragma once

#include "launch.cuh"
#include "segnet/core/layout.hpp"
#include "segnet/kernels/strided.hpp"

namespace segnet {

namespace cuda {

/// The largest power of two, at most 16, that divides all these numbers.
template <class... N>
[[nodiscard]] int common_word(N... numbers) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(numbers) | ...) | 16;
  return static_cast<int>(bits & (~bits + 1));
}

/// Calls f with a word of that many bytes: 1, 2, 4, 8 or 16.
template <class F>
void with_word(int bytes, const F& f) {
  switch (bytes) {
    case 1:
      return f(std::uint8_t{});
    case 2:
      return f(std::uint16_t{});
    case 4:
      return f(std::uint32_t{});
    case 8:
      return f(std::uint64_t{});
    default:
      return f(uint4{});
  }
}

/// Copies elements of `bytes` bytes, in words as wide as rows, strides and addresses allow. In strided.cu.
void copy_box(const kernels::StridedBox& box, const void* from, void* to, int bytes);

}  // namespace cuda

namespace kernels {
template <class T>
void copy_strided(StridedBox box, ConstView<T, Cuda> x, View<T, Cuda> y) {
  cuda::copy_box(box, x.data, y.data, static_cast<int>(sizeof(T)));
}
}  // namespace kernels

namespace detail {
template <class T>
void swap_inner(ConstView<T, Cuda> src, View<T, Cuda> dst, index_t outer, index_t a, index_t b) {
  kernels::StridedBox box;
  box.push_back(outer, a * b, a * b);
  box.push_back(b, 1, a);
  box.push_back(a, b, 1);
  kernels::copy_strided(box, src, dst);
}
}  // namespace detail

}  // namespace segnet
