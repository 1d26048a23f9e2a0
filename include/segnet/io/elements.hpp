// Elements as files hold them: type names, conversions, tensors made of bytes that lie anywhere in a mapped file.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "segnet/core/tensor.hpp"

namespace segnet::detail {

static_assert(std::endian::native == std::endian::little, "tensors are mapped from little-endian files without a copy");

/// The float with the bits of an IEEE 754 half.
inline float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);  // infinity, NaN
  if (exponent == 0) {                                                                   // zero, subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}
/// The float of which a bfloat16 is the upper half.
inline float float_from_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// An element type of a file, by the name that safetensors gives it.
struct ElementType {
  std::string_view name;
  std::size_t size;
};
/// All that occur. The ones that have no Tensor are known by size, so that their neighbours can be read.
inline constexpr ElementType element_types[] = {{"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2},    {"I64", 8},
                                                {"I32", 4}, {"U8", 1},  {"BOOL", 1}, {"I8", 1},      {"I16", 2},
                                                {"U16", 2}, {"U32", 4}, {"U64", 8},  {"F8_E4M3", 1}, {"F8_E5M2", 1}};

/// The name of T in files.
template <class T>
constexpr std::string_view element_name() {
  if constexpr (std::is_same_v<T, double>) return "F64";
  else if constexpr (std::is_same_v<T, float>) return "F32";
  else if constexpr (std::is_same_v<T, std::int64_t>) return "I64";
  else if constexpr (std::is_same_v<T, std::int32_t>) return "I32";
  else if constexpr (std::is_same_v<T, std::uint8_t>) return "U8";
  else if constexpr (std::is_same_v<T, bool>) return "BOOL";
  else static_assert(!sizeof(T), "files hold float, double, int32, int64, uint8 and bool");
}

/// Bytes of a tensor, or false when they do not fit 63 bits; neither do those of a shape that is empty only because of a 0 further on.
inline bool size_in_bytes(const Shape& shape, std::size_t element, std::size_t& bytes) {
  bytes = element;
  for (const index_t length : shape)
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(length ? length : 1), &bytes) || bytes > std::size_t{INT64_MAX})
      return false;
  if (shape.numel() == 0) bytes = 0;
  return true;
}

/// From is read byte by byte, since it may be anywhere in a file.
template <class T, class From, class F>
Tensor<T> converted(const std::byte* bytes, const Shape& shape, const F& convert) {
  Tensor<T> t(shape);
  for (index_t i = 0, n = shape.numel(); i < n; ++i) {
    From value;
    std::memcpy(&value, bytes + static_cast<std::size_t>(i) * sizeof(From), sizeof(From));
    t.data()[i] = convert(value);
  }
  return t;
}

/// The tensor whose elements of that type lie at `bytes`, which `owner` keeps: the very bytes where type and alignment allow, else
/// a copy. Floating-point types are converted into each other, others must be T. Undefined if that cannot be done.
template <class T>
Tensor<T> tensor_of_bytes(std::string_view type, std::byte* bytes, const Shape& shape, const std::shared_ptr<const void>& owner) {
  if constexpr (std::is_same_v<T, bool>) {  // any byte may be there, but a bool must be 0 or 1
    if (type == "BOOL") return converted<T, std::uint8_t>(bytes, shape, [](std::uint8_t v) { return v != 0; });
  } else if (type == element_name<T>()) {
    if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(T) == 0)
      return Tensor<T>::from_external(reinterpret_cast<T*>(bytes), shape, owner);
    return converted<T, T>(bytes, shape, [](T v) { return v; });
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (type == "F64") return converted<T, double>(bytes, shape, [](double v) { return static_cast<T>(v); });
    if (type == "F32") return converted<T, float>(bytes, shape, [](float v) { return static_cast<T>(v); });
    if (type == "F16") return converted<T, std::uint16_t>(bytes, shape, [](auto v) { return static_cast<T>(float_from_half(v)); });
    if (type == "BF16") return converted<T, std::uint16_t>(bytes, shape, [](auto v) { return static_cast<T>(float_from_bfloat16(v)); });
  }
  return {};
}

/// @throws ValueError when a name is there twice
inline void check_each_once(std::string_view operation, std::vector<std::string_view> names) {
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw ValueError(operation, "entries", "each name once", concat("'", *twice, "' twice"));
}

}  // namespace segnet::detail

namespace segnet {

/// A tensor to be saved, of any type, under a name.
struct TensorEntry {
  template <class T>
  TensorEntry(std::string tensor_name, const Tensor<T, Cpu>& tensor)
      : name(std::move(tensor_name)),
        dtype(detail::element_name<T>()),
        shape(tensor.shape()),
        data(tensor.data()),
        bytes(static_cast<std::size_t>(tensor.numel()) * sizeof(T)),
        width(sizeof(T)),
        defined(bool(tensor)),
        owner(std::make_shared<Tensor<T, Cpu>>(tensor.detach())) {}

  std::string name;
  std::string_view dtype;
  Shape shape;
  const void* data;
  std::size_t bytes, width;
  bool defined;
  std::shared_ptr<const void> owner;
};

}  // namespace segnet
