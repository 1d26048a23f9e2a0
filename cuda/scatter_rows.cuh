// Rows that are sent to other rows and added up there, as the gradient of an image is whose pixels were read at any places. No atomics:
// what is sent is sorted by its destination, which keeps its order, and each destination adds up its own.
#pragma once

#include "channel_tiles.cuh"
#include "radix_sort.cuh"

namespace segnet::cuda {

/// Number i is i.
struct CountUp {
  index_t* to;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = i; }
};

/// first[r] = how many of the n sorted numbers are below r, for r = 0, ..., rows.
struct FirstOfRow {
  const std::uint64_t* sorted;
  index_t n;
  index_t* first;
  SEGNET_HOST_DEVICE void operator()(index_t r) const {
    index_t low = 0, high = n;
    while (low < high) {
      const index_t middle = (low + high) / 2;
      if (sorted[middle] < static_cast<std::uint64_t>(r)) low = middle + 1;
      else high = middle;
    }
    first[r] = low;
  }
};

template <class T, int V>
struct AddSentRows {
  const index_t *first, *sent;  ///< row r is sent sent[first[r]], ..., sent[first[r + 1] - 1]
  const Master<T>* weight;
  const T* x;
  T* y;
  index_t taps, C;
  __device__ void operator()(index_t, index_t, index_t r, index_t c) const {
    Master<T> sum[V] = {};
    for (index_t p = first[r]; p < first[r + 1]; ++p) {
      const index_t k = sent[p];
      const Master<T> w = weight[k];
      Master<T> value[V];
      load_as<V>(x + k / taps * C + c, value);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += w * value[i];
    }
    store_as<V>(y + r * C + c, sum);
  }
};

/// y[r, :] = sum of weight[k] * x[k / taps, :] over the k with to[k] = r, in rising order of k: row i of x [n, C] is sent to `taps` rows of
/// y [rows, C], or to fewer, where `to` is `rows`. Always the same bits.
template <class T>
void scatter_rows(const std::uint64_t* to, const Master<T>* weight, index_t taps, const T* x, index_t n, T* y, index_t rows, index_t C) {
  if (rows * C == 0) return;
  const index_t count = n * taps;
  const Scratch<std::uint64_t> sorted(count);
  const Scratch<index_t> numbers(count), sent(count), first(rows + 1);
  for_each(count, CountUp{numbers.data()});
  if (count > 0) sort_pairs(to, sorted.data(), numbers.data(), sent.data(), count, bits_below(rows + 1));
  for_each(rows + 1, FirstOfRow{sorted.data(), count, first.data()});
  with_packs<T>(C, {x, y},
                [&](auto V) { for_pixels<V()>(1, 1, rows, C, AddSentRows<T, V()>{first.data(), sent.data(), weight, x, y, taps, C}); });
}

}  // namespace segnet::cuda
