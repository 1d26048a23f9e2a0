// To and from the layout of PyTorch, Caffe and most files: [N, C, H, W] <-> channels last [N, H, W, C].
#pragma once

#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"

namespace segnet {

namespace detail {
/// [outer, a, b] -> [outer, b, a]
template <class T>
void swap_inner(ConstView<T, Cuda> src, View<T, Cuda> dst, index_t outer, index_t a, index_t b);  // cuda/strided.cuh
template <class T>
void swap_inner(ConstView<T, Cpu> src, View<T, Cpu> dst, index_t outer, index_t a, index_t b) {
  constexpr index_t tile = 16;
  parallel_for(outer * ((b + tile - 1) / tile), 8, [&](index_t begin, index_t end) {
    const index_t tiles = (b + tile - 1) / tile;
    for (index_t t = begin; t < end; ++t) {
      const index_t n = t / tiles, j0 = t % tiles * tile, j1 = std::min(b, j0 + tile);
      const T* s = src.data + n * a * b;
      T* d = dst.data + n * a * b;
      for (index_t i0 = 0; i0 < a; i0 += tile)
        for (index_t j = j0; j < j1; ++j)
          for (index_t i = i0; i < std::min(a, i0 + tile); ++i) d[j * a + i] = s[i * b + j];
    }
  });
}
}  // namespace detail

/// [N, C, d1, ..., dk] -> [N, d1, ..., dk, C], k >= 0. Convolution weights [O, I, kh, kw] -> [O, kh, kw, I] alike. Not recorded.
template <class T, class D>
[[nodiscard]] Tensor<T, D> from_nchw(const Tensor<T, D>& x) {
  if (x.rank() < 2) throw ShapeError("from_nchw", "x", "[N, C, ...]", x.shape());
  Shape shape{x.dim(0)};
  for (int i = 2; i < x.rank(); ++i) shape.push_back(x.dim(i));
  shape.push_back(x.dim(1));
  const Tensor<T, D> y(shape);
  const index_t planes = x.dim(0) * x.dim(1);
  detail::swap_inner(x.view(), y.view(), x.dim(0), x.dim(1), planes ? x.numel() / planes : 0);
  return y;
}

/// [N, d1, ..., dk, C] -> [N, C, d1, ..., dk]: the inverse of `from_nchw`. Not recorded.
template <class T, class D>
[[nodiscard]] Tensor<T, D> to_nchw(const Tensor<T, D>& x) {
  if (x.rank() < 2) throw ShapeError("to_nchw", "x", "[N, ..., C]", x.shape());
  Shape shape{x.dim(0), x.dim(-1)};
  for (int i = 1; i + 1 < x.rank(); ++i) shape.push_back(x.dim(i));
  const Tensor<T, D> y(shape);
  const index_t planes = x.dim(0) * x.dim(-1);
  detail::swap_inner(x.view(), y.view(), x.dim(0), planes ? x.numel() / planes : 0, x.dim(-1));
  return y;
}

}  // namespace segnet
