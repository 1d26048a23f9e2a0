// Sorting along a dimension, with the places that the elements came from.
#pragma once

#include <algorithm>
#include <vector>

#include "segnet/kernels/reduction.hpp"

namespace segnet::kernels {

/// The first k elements of each line of x in order, and their places: values, indices [outer, k, inner] of x [outer, reduced, inner].
/// Stable: equal elements stay in order. NaN counts as larger than every number.
template <class T>
void sort(const ReducedExtents& e, View<T, Cuda> x, index_t k, bool descending, View<T, Cuda> values,
          View<index_t, Cuda> indices);  // cuda/sort.cuh
template <class T>
void sort(const ReducedExtents& e, View<T, Cpu> x, index_t k, bool descending, View<T, Cpu> values, View<index_t, Cpu> indices) {
  const index_t n = e.reduced, inner = e.inner;
  const auto less = [](T a, T b) { return a < b || (a == a && b != b); };
  parallel_for(e.outer * inner, std::max<index_t>(1, 4096 / std::max<index_t>(n, 1)), [&](index_t begin, index_t end) {
    struct Item {
      T value;
      index_t place;
    };
    const auto before = [&](const Item& a, const Item& b) {
      if (descending ? less(b.value, a.value) : less(a.value, b.value)) return true;
      if (descending ? less(a.value, b.value) : less(b.value, a.value)) return false;
      return a.place < b.place;
    };
    std::vector<Item> items(static_cast<std::size_t>(n));
    for (index_t line = begin; line < end; ++line) {
      const T* from = x.data + line / inner * n * inner + line % inner;
      for (index_t i = 0; i < n; ++i) items[static_cast<std::size_t>(i)] = {from[i * inner], i};
      if (k < n / 16) {
        std::partial_sort(items.begin(), items.begin() + k, items.end(), before);
      } else {  // no heap of so many
        if (k < n) std::nth_element(items.begin(), items.begin() + k, items.end(), before);
        std::sort(items.begin(), items.begin() + k, before);
      }
      const index_t to = line / inner * k * inner + line % inner;
      for (index_t i = 0; i < k; ++i) {
        values[to + i * inner] = items[static_cast<std::size_t>(i)].value;
        indices[to + i * inner] = items[static_cast<std::size_t>(i)].place;
      }
    }
  });
}

}  // namespace segnet::kernels
