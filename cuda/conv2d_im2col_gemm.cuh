// Convolution as a plain matrix product of cuBLAS: every patch is copied into a row of a matrix `col`. Kept for teaching and comparison,
// and for what tensor cores do not take. Only a piece of `col` exists at a time, which mostly stays in the second-level cache.
#pragma once

#include <algorithm>

#include "cublas.cuh"
#include "segnet/kernels/conv2d_im2col_gemm.hpp"

namespace segnet {

namespace cuda {

/// Most bytes that a column buffer takes, unless a single row of the image needs more.
constexpr index_t column_bytes = index_t{64} << 20;

/// col[group, p, t, c] = the input under tap t of output pixel first + p, counted over the batch, zero outside the image. An Element may
/// be a pack of channels, which g then counts in packs. Index: what sizes fit into; GPUs divide 64-bit numbers slowly.
template <class Element, class Index>
struct ColumnsOfPixels {
  const Element* x;
  Element* col;  // [groups, pixels, taps, C / groups]
  kernels::ConvGeometry g;
  index_t first, pixels;

  SEGNET_HOST_DEVICE index_t size() const { return pixels * g.taps() * g.C; }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const Index channels = static_cast<Index>(g.group_inputs()), taps = static_cast<Index>(g.taps()), kw = static_cast<Index>(g.kw);
    const Index count = static_cast<Index>(pixels), OW = static_cast<Index>(g.OW), OH = static_cast<Index>(g.OH);
    Index rest = static_cast<Index>(i);
    const Index c = rest % channels, tap = (rest /= channels) % taps, p = (rest /= taps) % count, group = rest / count;
    const Index pixel = static_cast<Index>(first) + p, row = pixel / OW;
    const index_t h = g.input_row(row % OH, tap / kw), w = g.input_column(pixel % OW, tap % kw);
    const bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W;
    col[i] = inside ? x[((row / OH * g.H + h) * g.W + w) * g.C + group * channels + c] : Element{};
  }
};

/// The transpose, as a gather: dx[row, w, c] = bias[c] + sum of dcol over the taps that read it, for the rows from `first` on, counted
/// over the batch. Each call handles `lanes` channels.
template <class T, int lanes, class Index>
struct RowsOfColumns {
  const Master<T>* dcol;  // [groups, pixels, taps, C / groups]: output rows from first_output on
  const T* bias;          // [C] or nullptr
  T* dx;                  // [N, H, W, C]
  kernels::ConvGeometry g;
  index_t first, rows, first_output, pixels;

  SEGNET_HOST_DEVICE index_t size() const { return rows * g.W * (g.C / lanes); }
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const Index packs = static_cast<Index>(g.C / lanes), W = static_cast<Index>(g.W), H = static_cast<Index>(g.H);
    Index rest = static_cast<Index>(i);
    const index_t c = rest % packs * lanes, w = (rest /= packs) % W;
    const Index row = static_cast<Index>(first) + rest / W;
    const index_t h = row % H, image = row / H, Cg = g.group_inputs(), group = static_cast<Index>(c) / static_cast<Index>(Cg);
    Pack<Master<T>, lanes> sum;
    for (int k = 0; k < lanes; ++k) sum.values[k] = bias ? bias[c + k] : Master<T>(0);
    for (index_t ki = 0; ki < g.kh; ++ki) {
      const index_t oh = g.output_row(h, ki);
      if (oh < 0) continue;
      for (index_t kj = 0; kj < g.kw; ++kj) {
        const index_t ow = g.output_column(w, kj);
        if (ow < 0) continue;
        const index_t p = (image * g.OH + oh - first_output) * g.OW + ow;
        const auto term = Pack<Master<T>, lanes>::load(dcol + ((group * pixels + p) * g.taps() + ki * g.kw + kj) * Cg + (c - group * Cg));
        for (int k = 0; k < lanes; ++k) sum.values[k] += term.values[k];
      }
    }
    Pack<T, lanes> result;
    for (int k = 0; k < lanes; ++k) result.values[k] = static_cast<T>(sum.values[k]);
    result.store(dx + (static_cast<index_t>(row) * g.W + w) * g.C + c);
  }
};

/// f(Index{}) with the smallest unsigned type for numbers below n.
template <class F>
void with_index(index_t n, const F& f) {
  if (n < index_t{1} << 32) f(std::uint32_t{});
  else f(std::uint64_t{});
}

/// A 1 x 1 kernel that reads every pixel: the image is its own column matrix.
[[nodiscard]] inline bool reads_in_place(const kernels::ConvGeometry& g) {
  return g.taps() == 1 && g.stride == Extent2(1) && g.padding == Extent2(0) && g.OH == g.H && g.OW == g.W;
}

/// Calls f(first, pixels, columns) for one piece after the other of the pixels of y, `columns` being Matrices for all groups.
template <class T, class F>
void for_each_columns(const kernels::ConvGeometry& g, const T* x, const F& f) {
  const index_t all = g.N * g.OH * g.OW, width = g.taps() * g.C, depth = g.taps() * g.group_inputs();
  if (reads_in_place(g)) {
    if (all > 0) f(0, all, Matrices<T>{x, g.C, g.group_inputs()});
    return;
  }
  const index_t most = std::min(all, std::max<index_t>(1, column_bytes / (width * static_cast<index_t>(sizeof(T)))));
  const Scratch<T> col(most * width);
  const auto fill = [&](const auto* source, auto* columns, const kernels::ConvGeometry& packed, index_t first, index_t pixels) {
    using Element = std::remove_pointer_t<decltype(columns)>;
    with_index(std::max(all, most * width), [&](auto index) {
      const ColumnsOfPixels<Element, decltype(index)> copy{source, columns, packed, first, pixels};
      for_each(copy.size(), copy);
    });
  };
  constexpr index_t lanes = Pack<T>::size;
  for (index_t first = 0; first < all; first += most) {
    const index_t pixels = std::min(most, all - first);
    if (g.group_inputs() % lanes == 0 && aligned16(x)) {
      kernels::ConvGeometry packed = g;
      packed.C /= lanes;
      fill(reinterpret_cast<const uint4*>(x), reinterpret_cast<uint4*>(col.data()), packed, first, pixels);
    } else fill(x, col.data(), g, first, pixels);
    f(first, pixels, Matrices<T>{col.data(), depth, pixels * depth});
  }
}

/// Rows [first, last) of dx, counted over the batch, and the rows of y that reach them: whole images, or a part of one.
struct ColumnRows {
  index_t first, last, first_output, last_output;
};

/// Rows of dx that are computed at once, so that their columns take at most `outputs` rows of y where that is possible, and no row of y
/// is needed more than about twice.
[[nodiscard]] inline index_t column_rows(const kernels::ConvGeometry& g, index_t outputs) {
  if (outputs >= g.OH) return outputs / g.OH * g.H;
  const index_t reach = (g.kh - 1) * g.dilation.h;
  return std::min(g.H, std::max((outputs - 1) * g.stride.h - reach, reach) + 1);
}
/// Those from row `first` on.
[[nodiscard]] inline ColumnRows column_rows_from(const kernels::ConvGeometry& g, index_t first, index_t count) {
  const index_t image = first / g.H, h = first % g.H;
  if (h == 0 && count >= g.H) {
    const index_t images = std::min(count / g.H, g.N - image);
    return {first, first + images * g.H, image * g.OH, (image + images) * g.OH};
  }
  const index_t end = std::min(h + count, g.H), least = h + g.padding.h - (g.kh - 1) * g.dilation.h;
  const index_t from = least > 0 ? (least + g.stride.h - 1) / g.stride.h : 0, to = std::min(g.OH, (end - 1 + g.padding.h) / g.stride.h + 1);
  return {first, image * g.H + end, image * g.OH + std::min(from, to), image * g.OH + to};
}

}  // namespace cuda

namespace kernels::im2col_gemm {

/// y = col * W^T + b
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> y) {
  const index_t Og = g.group_outputs(), depth = g.taps() * g.group_inputs();
  if (b) cuda::repeat_row(g.N * g.OH * g.OW, g.O, b.data, y.data);
  cuda::for_each_columns(g, x.data, [&](index_t first, index_t pixels, const cuda::Matrices<T>& col) {
    cuda::gemm(pixels, Og, depth, col, {w.data, depth, Og * depth, true}, y.data + first * g.O, g.O, static_cast<bool>(b), g.groups, Og);
  });
}

/// dx = col2im(dy * W) + b
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> w, ConstView<T, Cuda> b, View<T, Cuda> dx) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg, width = g.taps() * g.C;
  if (cuda::reads_in_place(g)) {
    if (b) cuda::repeat_row(g.N * g.H * g.W, g.C, b.data, dx.data);
    return cuda::gemm<T>(g.N * g.H * g.W, Cg, Og, {dy.data, g.O, Og}, {w.data, Cg, Og * Cg}, dx.data, g.C, static_cast<bool>(b), g.groups,
                         Cg);
  }
  const index_t outputs = std::max<index_t>(1, cuda::column_bytes / (g.OW * width * static_cast<index_t>(sizeof(Master<T>))));
  const index_t rows = cuda::column_rows(g, outputs);
  index_t most = 0;
  for (index_t first = 0; first < g.N * g.H;) {
    const cuda::ColumnRows r = cuda::column_rows_from(g, first, rows);
    most = std::max(most, r.last_output - r.first_output);
    first = r.last;
  }
  const cuda::Scratch<Master<T>> dcol(most * g.OW * width);
  for (index_t first = 0; first < g.N * g.H;) {
    const cuda::ColumnRows r = cuda::column_rows_from(g, first, rows);
    const index_t pixels = (r.last_output - r.first_output) * g.OW;
    cuda::gemm<T>(pixels, depth, Og, {dy.data + r.first_output * g.OW * g.O, g.O, Og}, {w.data, depth, Og * depth}, dcol.data(), depth,
                  false, g.groups, pixels * depth);
    const auto gather = [&](auto lanes, auto index) {
      const cuda::RowsOfColumns<T, decltype(lanes)::value, decltype(index)> f{dcol.data(), b.data,           dx.data,        g,
                                                                              r.first,     r.last - r.first, r.first_output, pixels};
      cuda::for_each(f.size(), f);
    };
    constexpr index_t lanes = 16 / sizeof(Master<T>);
    cuda::with_index(std::max(g.N * g.H, (r.last - r.first) * g.W * g.C), [&](auto index) {
      if (Cg % lanes == 0 && cuda::aligned16(dx.data)) gather(std::integral_constant<int, lanes>{}, index);
      else gather(std::integral_constant<int, 1>{}, index);
    });
    first = r.last;
  }
}

/// dw = dy^T * col, summed over the pieces in their order, in Master<T>
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, View<T, Cuda> dw) {
  const index_t Og = g.group_outputs(), depth = g.taps() * g.group_inputs();
  const auto add_up = [&](Master<T>* sum) {
    if (g.N == 0) cuda::gemm<T>(g.O, depth, 0, {dy.data, g.O}, {x.data, depth}, sum, depth);  // zeros
    cuda::for_each_columns(g, x.data, [&](index_t first, index_t pixels, const cuda::Matrices<T>& col) {
      cuda::gemm(Og, depth, pixels, {dy.data + first * g.O, g.O, Og, true}, col, sum, depth, first > 0, g.groups, Og * depth);
    });
  };
  if constexpr (std::is_same_v<T, Master<T>>) add_up(dw.data);
  else {
    const cuda::Scratch<Master<T>> sum(dw.size());
    add_up(sum.data());
    cuda::for_each(dw.size(), cuda::CopyElements<T, Master<T>>{dw.data, sum.data()});
  }
}

}  // namespace kernels::im2col_gemm

}  // namespace segnet
