// Positions in a tensor as threads of a GPU take them apart: quotients and remainders by sizes that are known beforehand.
#pragma once

#include "segnet/core/config.hpp"

namespace segnet::kernels {

/// Division by a number that is known when the kernel starts, since GPUs have no instruction for it: a multiplication where numbers are
/// below 2^31 (Granlund and Montgomery, PLDI 1994), else what the compiler makes of it. `Index` is std::uint32_t or index_t.
template <class Index>
struct Divider {
  index_t divisor = 1;
  Divider() = default;
  explicit Divider(index_t d) : divisor(d) {}
  SEGNET_HOST_DEVICE index_t quotient(index_t n) const { return n / divisor; }
  /// n becomes the quotient; returns the remainder.
  SEGNET_HOST_DEVICE index_t split(index_t& n) const {
    const index_t q = n / divisor, r = n - q * divisor;
    n = q;
    return r;
  }
};
template <>
struct Divider<std::uint32_t> {
  std::uint32_t divisor = 1, multiplier = 1, shift = 0;
  Divider() = default;
  explicit Divider(index_t d) : divisor(static_cast<std::uint32_t>(d)) {  // 1 <= d < 2^31
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  SEGNET_HOST_DEVICE std::uint32_t quotient(std::uint32_t n) const {
    return (static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * multiplier) >> 32) + n) >> shift;
  }
  SEGNET_HOST_DEVICE std::uint32_t split(std::uint32_t& n) const {
    const std::uint32_t q = quotient(n), r = n - q * divisor;
    n = q;
    return r;
  }
};

}  // namespace segnet::kernels
