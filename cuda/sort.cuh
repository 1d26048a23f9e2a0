// Sorting along a dimension. Short lines: each element counts those that come before it, which is its place. Long lines: all of them at
// once, by a radix sort of keys that order like the elements.
#pragma once

#include "launch.cuh"
#include "radix_sort.cuh"
#include "segnet/kernels/sort.hpp"

namespace segnet {

namespace cuda {

constexpr index_t sort_by_counting = 128;  ///< elements of a line, at most

/// Element p of line i of [outer, n, inner].
SEGNET_HOST_DEVICE inline index_t line_element(index_t line, index_t p, index_t n, index_t inner) {
  return (line / inner * n + p) * inner + line % inner;
}

/// Unsigned numbers in the order of the elements: -0 equals 0, NaN comes last. Of key_bits<T> bits.
template <class T>
inline constexpr int key_bits = sizeof(Master<T>) == 8 ? 64 : 32;
template <class T>
SEGNET_HOST_DEVICE std::uint64_t sort_key(T value, bool descending) {
  using Bits = std::conditional_t<key_bits<T> == 64, std::uint64_t, std::uint32_t>;
  constexpr Bits sign = Bits{1} << (key_bits<T> - 1);
  Bits key;
  if constexpr (std::is_integral_v<T>) key = static_cast<Bits>(value) ^ (std::is_signed_v<T> ? sign : Bits{0});
  else {
    const Master<T> v = value;
    const Bits bits = __builtin_bit_cast(Bits, v);
    key = v != v ? ~Bits{0} : v == 0 ? sign : bits & sign ? static_cast<Bits>(~bits) : bits | sign;
  }
  return descending ? static_cast<Bits>(~key) : key;
}

/// One element of [outer, n, inner] finds its place in its line.
template <class T>
struct SortByCounting {
  const T* x;
  T* values;
  index_t* indices;
  index_t n, inner, k;
  bool descending;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t j = i % inner, p = i / inner % n, o = i / (inner * n);
    const T* const line = x + o * n * inner + j;
    const std::uint64_t key = sort_key(x[i], descending);
    index_t place = 0;
    for (index_t q = 0; q < n; ++q) {
      const std::uint64_t other = sort_key(line[q * inner], descending);
      place += other < key || (other == key && q < p);
    }
    if (place >= k) return;
    const index_t to = (o * k + place) * inner + j;
    values[to] = x[i];
    indices[to] = p;
  }
};

/// Keys of all lines, one behind the other, and the elements' numbers. Where it fits, the line's number is in front of the key.
template <class T>
struct SortKeys {
  const T* x;
  std::uint64_t* keys;
  index_t* elements;
  index_t n, inner;
  bool descending;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t line = i / n;
    const std::uint64_t key = sort_key(x[line_element(line, i % n, n, inner)], descending);
    keys[i] = key_bits<T> == 64 ? key : static_cast<std::uint64_t>(line) << 32 | key;
    elements[i] = i;
  }
};
struct LineKeys {
  const index_t* elements;
  std::uint64_t* keys;
  index_t n;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { keys[i] = static_cast<std::uint64_t>(elements[i] / n); }
};
template <class T>
struct TakeSorted {
  const T* x;
  const index_t* elements;
  T* values;
  index_t* indices;
  index_t n, inner, k;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t line = i / k, r = i % k, p = elements[line * n + r] % n, to = line_element(line, r, k, inner);
    values[to] = x[line_element(line, p, n, inner)];
    indices[to] = p;
  }
};

}  // namespace cuda

namespace kernels {

template <class T>
void sort(const ReducedExtents& e, View<T, Cuda> x, index_t k, bool descending, View<T, Cuda> values, View<index_t, Cuda> indices) {
  const index_t n = e.reduced, inner = e.inner, lines = e.outer * inner, total = lines * n;
  if (total == 0 || k == 0) return;
  if (n <= cuda::sort_by_counting)
    return cuda::for_each(total, cuda::SortByCounting<T>{x.data, values.data, indices.data, n, inner, k, descending});

  const cuda::Scratch<std::uint64_t> keys(total), sorted_keys(total);
  const cuda::Scratch<index_t> elements(total), sorted(total);
  const index_t* in_order = sorted.data();
  cuda::for_each(total, cuda::SortKeys<T>{x.data, keys.data(), elements.data(), n, inner, descending});
  if constexpr (cuda::key_bits<T> == 32) {
    cuda::sort_pairs(keys.data(), sorted_keys.data(), elements.data(), sorted.data(), total, 32 + cuda::bits_below(lines));
  } else {  // by key, then, which keeps that order, by line
    cuda::sort_pairs(keys.data(), sorted_keys.data(), elements.data(), sorted.data(), total, 64);
    if (lines > 1) {
      cuda::for_each(total, cuda::LineKeys{sorted.data(), keys.data(), n});
      cuda::sort_pairs(keys.data(), sorted_keys.data(), sorted.data(), elements.data(), total, cuda::bits_below(lines));
      in_order = elements.data();
    }
  }
  cuda::for_each(lines * k, cuda::TakeSorted<T>{x.data, in_order, values.data, indices.data, n, inner, k});
}

}  // namespace kernels

}  // namespace segnet
