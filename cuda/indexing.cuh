// Elements picked by indices, and added up where indices say. No atomics on what is added: every destination walks its sources in order.
#pragma once

#include <algorithm>

#include "launch.cuh"
#include "radix_sort.cuh"
#include "segnet/core/tensor.hpp"
#include "segnet/kernels/indexing.hpp"
#include "strided.cuh"

namespace segnet {

namespace cuda {

/// A part of a list, as the argument of a kernel, of which 4 KiB is the most.
struct ListPart {
  static constexpr index_t most = 480;
  index_t values[most];
  index_t* to;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { to[i] = values[i]; }
};
/// A list of the host's on the device. Short ones go there as arguments of kernels, and so into recorded graphs, which copies from the host
/// cannot: networks that mirror the borders of images are recorded with the rest.
class DeviceList {
 public:
  DeviceList(const index_t* list, index_t length) : memory_(length) {
    const bool parts = length <= 8 * ListPart::most;
    if (!parts) segnet::detail::copy_bytes<Cuda, Cpu>(memory_.data(), list, static_cast<std::size_t>(length) * sizeof(index_t));
    ListPart part{};
    for (index_t first = 0; parts && first < length; first += ListPart::most) {
      const index_t count = std::min(ListPart::most, length - first);
      std::copy_n(list + first, count, part.values);
      part.to = memory_.data() + first;
      for_each(count, part);
    }
  }
  explicit DeviceList(const std::vector<index_t>& list) : DeviceList(list.data(), static_cast<index_t>(list.size())) {}
  [[nodiscard]] const index_t* data() const { return memory_.data(); }

 private:
  Scratch<index_t> memory_;
};

/// Calls f(std::uint32_t{}) when numbers up to n fit into 31 bits, else f(index_t{}).
template <class F>
void with_index(index_t n, const F& f) {
  if (n < index_t{1} << 31) f(std::uint32_t{});
  else f(index_t{});
}

/// Rows are only moved: in words W.
template <class W, class Index>
struct SelectRows {
  const W* x;           // [outer, n, inner]
  const index_t* list;  // [count]
  W* y;                 // [outer, count, inner]
  index_t n;
  Divider<Index> count, inner;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    Index row = static_cast<Index>(i);
    const Index j = inner.split(row), k = count.split(row);
    y[i] = x[(static_cast<index_t>(row) * n + list[k]) * inner.divisor + j];
  }
};

template <class T, class Index>
struct AddRows {
  const T* base;                     // [outer, n, inner] or null
  const T* x;                        // [outer, count, inner]
  const index_t *first, *positions;  // see kernels::Occurrences
  T* y;                              // [outer, n, inner]
  index_t count;
  Divider<Index> n, inner;
  Master<T> alpha;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    Index row = static_cast<Index>(i);
    const Index j = inner.split(row), v = n.split(row);
    const T* const from = x + static_cast<index_t>(row) * count * inner.divisor + j;
    Master<T> sum = base ? static_cast<Master<T>>(base[i]) : Master<T>(0);
    for (index_t p = first[v]; p < first[v + 1]; ++p) sum = static_cast<Master<T>>(sum + alpha * from[positions[p] * inner.divisor]);
    y[i] = static_cast<T>(sum);
  }
};

/// Where the elements of index stand in a tensor of the same rank: at the same coordinates, dimension d apart.
template <class Index>
struct IndexWalk {
  int rank, d;
  Divider<Index> size[Shape::max_rank];
  index_t stride[Shape::max_rank];

  IndexWalk(const Shape& index, const Shape& x, int dim) : rank(index.rank()), d(dim) {
    const kernels::Strides strides(x);
    for (int a = 0; a < rank; ++a) {
      size[a] = Divider<Index>(index[a]);
      stride[a] = strides[a];
    }
  }
  /// The offset of element i without its coordinate k in dimension d.
  SEGNET_HOST_DEVICE index_t offset(index_t i, index_t& k) const {
    Index at = static_cast<Index>(i);
    index_t sum = 0;
    for (int a = rank - 1; a >= 0; --a) {
      const index_t r = static_cast<index_t>(size[a].split(at));
      if (a == d) k = r;
      else sum += r * stride[a];
    }
    return sum;
  }
};

template <class T, class Index>
struct Gather {
  const T* x;
  const index_t* index;
  T* y;
  IndexWalk<Index> walk;

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    index_t k = 0;
    const index_t at = walk.offset(i, k);
    y[i] = x[at + index[i] * walk.stride[walk.d]];
  }
};

/// A thread for each line of index: lines meet in no element.
template <class T>
struct ScatterLine {
  const T* src;
  const index_t* index;
  T* y;
  kernels::IndexLines lines, sources;

  SEGNET_HOST_DEVICE void operator()(index_t line) const {
    index_t at, y_at, src_at;
    lines.begin(line, at, y_at);
    sources.begin(line, at, src_at);
    for (index_t k = 0; k < lines.length; ++k, at += lines.step) {
      T& to = y[y_at + index[at] * lines.x_step];
      to = static_cast<T>(to + src[src_at + k * sources.x_step]);
    }
  }
};

/// Destinations as keys, to be sorted.
template <class Index>
struct ScatterKeys {
  const index_t* index;
  std::uint64_t* keys;
  index_t* elements;
  IndexWalk<Index> walk;  // in y

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    index_t k = 0;
    const index_t at = walk.offset(i, k);
    keys[i] = static_cast<std::uint64_t>(at + index[i] * walk.stride[walk.d]);
    elements[i] = i;
  }
};
/// The first element of each destination adds up all of them, which stand in their order.
template <class T, class Index>
struct ScatterSorted {
  const T* src;
  const std::uint64_t* keys;
  const index_t* elements;
  T* y;
  index_t n;
  IndexWalk<Index> walk;  // in src

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const std::uint64_t key = keys[i];
    if (i > 0 && keys[i - 1] == key) return;
    Master<T> sum = y[key];
    for (; i < n && keys[i] == key; ++i) {
      index_t k = 0;
      const index_t at = walk.offset(elements[i], k);
      sum = static_cast<Master<T>>(sum + src[at + k * walk.stride[walk.d]]);
    }
    y[key] = static_cast<T>(sum);
  }
};

template <class T>
struct OneHot {
  const index_t* index;
  T* y;
  index_t classes;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { y[i] = static_cast<T>(index[i / classes] == i % classes); }
};

}  // namespace cuda

namespace kernels {

template <class T>
void index_select(ConstView<T, Cuda> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner, View<T, Cuda> y) {
  if (outer * count * inner == 0) return;
  const cuda::DeviceList list(index, count);
  const index_t bytes = inner * static_cast<index_t>(sizeof(T));
  cuda::with_word(
      cuda::common_word(reinterpret_cast<std::uintptr_t>(x.data), reinterpret_cast<std::uintptr_t>(y.data), bytes), [&](auto w) {
        using W = decltype(w);
        const index_t words = bytes / static_cast<index_t>(sizeof(W));
        cuda::with_index(outer * count * words, [&](auto i) {
          using Index = decltype(i);
          cuda::for_each(outer * count * words,
                         cuda::SelectRows<W, Index>{reinterpret_cast<const W*>(x.data), list.data(), reinterpret_cast<W*>(y.data), n,
                                                    cuda::Divider<Index>(count), cuda::Divider<Index>(words)});
        });
      });
}

template <class T>
void index_add(ConstView<T, Cuda> base, ConstView<T, Cuda> x, const index_t* index, index_t outer, index_t n, index_t count, index_t inner,
               T alpha, View<T, Cuda> y) {
  if (outer * n * inner == 0) return;
  const Occurrences where(index, count, n);
  const cuda::DeviceList first(where.first), positions(where.positions);
  cuda::with_index(outer * n * inner, [&](auto i) {
    using Index = decltype(i);
    cuda::for_each(outer * n * inner,
                   cuda::AddRows<T, Index>{base.data, x.data, first.data(), positions.data(), y.data, count, cuda::Divider<Index>(n),
                                           cuda::Divider<Index>(inner), static_cast<Master<T>>(alpha)});
  });
}

template <class T>
void gather(ConstView<T, Cuda> x, ConstView<index_t, Cuda> index, int d, View<T, Cuda> y) {
  const index_t n = index.size();
  if (n == 0) return;
  cuda::with_index(n, [&](auto i) {
    using Index = decltype(i);
    cuda::for_each(n, cuda::Gather<T, Index>{x.data, index.data, y.data, cuda::IndexWalk<Index>(index.shape, x.shape, d)});
  });
}

template <class T>
void scatter_add(ConstView<T, Cuda> src, ConstView<index_t, Cuda> index, int d, View<T, Cuda> y) {
  const index_t n = index.size();
  if (n == 0) return;
  const IndexLines lines(index.shape, y.shape, d), sources(index.shape, src.shape, d);
  if (!std::is_same_v<T, bfloat16> && (lines.count >= 4096 || lines.length <= 64))  // bfloat16 must not be rounded at each addition
    return cuda::for_each(lines.count, cuda::ScatterLine<T>{src.data, index.data, y.data, lines, sources});
  cuda::with_index(n, [&](auto i) {
    using Index = decltype(i);
    const cuda::Scratch<std::uint64_t> keys(n), sorted_keys(n);
    const cuda::Scratch<index_t> elements(n), sorted(n);
    cuda::for_each(n, cuda::ScatterKeys<Index>{index.data, keys.data(), elements.data(), cuda::IndexWalk<Index>(index.shape, y.shape, d)});
    cuda::sort_pairs(keys.data(), sorted_keys.data(), elements.data(), sorted.data(), n, cuda::bits_below(y.size()));
    cuda::for_each(n, cuda::ScatterSorted<T, Index>{src.data, sorted_keys.data(), sorted.data(), y.data, n,
                                                    cuda::IndexWalk<Index>(index.shape, src.shape, d)});
  });
}

template <class T>
void one_hot(ConstView<index_t, Cuda> index, index_t classes, View<T, Cuda> y) {
  cuda::for_each(y.size(), cuda::OneHot<T>{index.data, y.data, classes});
}

}  // namespace kernels

}  // namespace segnet
