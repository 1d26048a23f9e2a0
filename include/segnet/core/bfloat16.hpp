// bfloat16: the upper half of a float, as GPUs' matrix units take it. A type to store and to move; arithmetic is done in float.
#pragma once

#include <cstdint>
#include <type_traits>

#include "segnet/core/config.hpp"

namespace segnet {

/// 8 bits of exponent, 7 of mantissa: a float's range with two to three decimal digits. The same bits as CUDA's __nv_bfloat16.
/// Converts to float exactly and from float by rounding to nearest even.
struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  template <class A>
    requires std::is_arithmetic_v<A>
  SEGNET_HOST_DEVICE explicit bfloat16(A value) : bits(rounded(static_cast<float>(value))) {}
  SEGNET_HOST_DEVICE operator float() const {  // NOLINT: exact, so that expressions compute in float
    return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
  }

 private:
  SEGNET_HOST_DEVICE static std::uint16_t rounded(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800  // one instruction
    std::uint16_t nearest;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(nearest) : "f"(value));
    return nearest;
#else
    const std::uint32_t b = __builtin_bit_cast(std::uint32_t, value);
    if ((b & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((b >> 16) | 0x40u);  // NaN stays NaN
    return static_cast<std::uint16_t>((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
#endif
  }
};

/// float, double, bfloat16: the element types that have gradients.
template <class T>
inline constexpr bool is_real = std::is_floating_point_v<T> || std::is_same_v<T, bfloat16>;

namespace detail {
template <class T>
struct MasterType {
  using type = T;
};
template <>
struct MasterType<bfloat16> {
  using type = float;
};
}  // namespace detail

/// What T is computed with, and what a layer of T keeps its parameters in: float for bfloat16, else T itself.
template <class T>
using Master = typename detail::MasterType<T>::type;

}  // namespace segnet
