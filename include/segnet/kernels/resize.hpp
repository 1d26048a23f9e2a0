// Resizing images, channels last. Every mode is linear and separable, y = A_h x A_w^T, where a row of A_h (A_w) holds the weights of
// the few input rows (columns) that an output row (column) is made of. One kernel applies both; the backward pass is the same kernel
// with both matrices transposed, a gather again.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"
#include "segnet/kernels/channels.hpp"

namespace segnet {

/// How an element of the result is made of the input.
enum class InterpolateMode {
  nearest,        ///< input floor(i * scale), in float as PyTorch and OpenCV compute it
  nearest_exact,  ///< input floor((i + 1/2) * scale): the one whose centre is nearest
  bilinear,       ///< of 2 x 2 neighbours
  bicubic         ///< of 4 x 4 neighbours, Keys' kernel with A = -3/4; may overshoot
};

[[nodiscard]] inline const char* to_string(InterpolateMode mode) {
  constexpr const char* names[] = {"nearest", "nearest_exact", "bilinear", "bicubic"};
  return names[static_cast<int>(mode)];
}

namespace kernels {

/// The inputs that make up one output along an axis. An input may appear twice (at the border, clamped).
struct ResizeTaps {
  int count = 0;
  index_t index[4] = {};
  double weight[4] = {};
};

/// One axis of a resizing.
struct ResizeAxis {
  index_t in, out;
  double scale;  ///< step in the input for a step in the output
  InterpolateMode mode;
  bool align_corners = false;  ///< first and last centres meet, instead of the outer edges

  SEGNET_HOST_DEVICE ResizeTaps taps(index_t o) const {
    ResizeTaps t;
    const auto add = [&](index_t i, double weight) {
      t.index[t.count] = i < 0 ? 0 : i < in ? i : in - 1;
      t.weight[t.count++] = weight;
    };
    if (mode == InterpolateMode::nearest) {
      add(static_cast<index_t>(std::floor(static_cast<float>(o) * static_cast<float>(scale))), 1);
    } else if (mode == InterpolateMode::nearest_exact) {
      add(static_cast<index_t>(
              std::floor(static_cast<float>((static_cast<double>(o) + 0.5) * static_cast<double>(static_cast<float>(scale))))),
          1);
    } else {
      const double at = align_corners ? static_cast<double>(o) * scale : (static_cast<double>(o) + 0.5) * scale - 0.5;
      if (mode == InterpolateMode::bilinear) {
        const double source = at > 0 ? at : 0;
        const index_t first = static_cast<index_t>(source);
        const double t1 = source - static_cast<double>(first);
        if (first >= in - 1 || t1 == 0) {
          add(first, 1);
        } else {
          add(first, 1 - t1);
          add(first + 1, t1);
        }
      } else {
        const double first = std::floor(at), u = at - first;
        for (int k = -1; k <= 2; ++k) add(static_cast<index_t>(first) + k, cubic(k < 1 ? u - k : k - u));
      }
    }
    return t;
  }
  /// Keys' kernel at distance d in [0, 2]: "Cubic convolution interpolation for digital image processing", IEEE ASSP 29(6), 1981.
  SEGNET_HOST_DEVICE static double cubic(double d) {
    constexpr double A = -0.75;
    return d <= 1 ? ((A + 2) * d - (A + 3)) * d * d + 1 : ((A * d - 5 * A) * d + 8 * A) * d - 4 * A;
  }
};

/// A sparse matrix [outputs, inputs] by rows: row o holds weight[k] at index[k], k in [begin[o], begin[o + 1]).
template <class T>
struct ResizeMatrix {
  std::vector<index_t> begin{0};
  std::vector<index_t> index;
  std::vector<T> weight;

  [[nodiscard]] index_t rows() const { return static_cast<index_t>(begin.size()) - 1; }
};

template <class T>
[[nodiscard]] ResizeMatrix<T> resize_matrix(const ResizeAxis& axis) {
  ResizeMatrix<T> m;
  for (index_t o = 0; o < axis.out; ++o) {
    const ResizeTaps taps = axis.taps(o);
    for (int k = 0; k < taps.count; ++k) {
      m.index.push_back(taps.index[k]);
      m.weight.push_back(static_cast<T>(taps.weight[k]));
    }
    m.begin.push_back(static_cast<index_t>(m.index.size()));
  }
  return m;
}

/// Of a matrix with `columns` columns. Each row of the result lists the outputs in rising order.
template <class T>
[[nodiscard]] ResizeMatrix<T> transposed(const ResizeMatrix<T>& m, index_t columns) {
  ResizeMatrix<T> t;
  t.begin.assign(static_cast<std::size_t>(columns) + 1, 0);
  for (const index_t i : m.index) ++t.begin[static_cast<std::size_t>(i) + 1];
  for (std::size_t i = 1; i < t.begin.size(); ++i) t.begin[i] += t.begin[i - 1];
  t.index.resize(m.index.size());
  t.weight.resize(m.weight.size());
  std::vector<index_t> next(t.begin.begin(), t.begin.end() - 1);
  for (std::size_t o = 0; o + 1 < m.begin.size(); ++o)
    for (index_t k = m.begin[o]; k < m.begin[o + 1]; ++k) {
      const auto from = static_cast<std::size_t>(k);
      const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(m.index[from])]++);
      t.index[to] = static_cast<index_t>(o);
      t.weight[to] = m.weight[from];
    }
  return t;
}

namespace detail {

/// to[i] = sum over k of weight[k] * from[index[k] * step + i], i < n
template <class T>
SEGNET_INLINE void mix(const T* from, index_t step, const index_t* index, const T* weight, index_t taps, index_t n, T* to) {
  for_channels<T>(n, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
    T sum[count()] = {};
    const auto add = [&](index_t k) SEGNET_INLINE_LAMBDA {
      const T* p = from + index[k] * step + c;
      const T w = weight[k];
      for (int i = 0; i < count(); ++i) sum[i] += w * p[i];
    };
    if (taps == 2) {  // bilinear, without a loop
      add(0);
      add(1);
    } else {
      for (index_t k = 0; k < taps; ++k) add(k);
    }
    for (int i = 0; i < count(); ++i) to[c + i] = sum[i];
  });
}

}  // namespace detail

/// y[n, oh, ow, c] = sum over h, w of rows[oh, h] * columns[ow, w] * x[n, h, w, c]: first down the columns, a whole row at once, then
/// along that row while it is in cache.
template <class T>
void resample(const ResizeMatrix<T>& rows, const ResizeMatrix<T>& columns, ConstView<T> x, View<T> y) {
  const index_t C = x.dim(3), row_in = x.dim(2) * C, row_out = columns.rows() * C;
  const index_t grain = std::max<index_t>(1, (index_t{1} << 16) / std::max<index_t>(row_in + row_out, 1));
  parallel_for(x.dim(0) * rows.rows(), grain, [&](index_t begin, index_t end) {
    const Tensor<T> mixed({row_in});  // aligned as x is: rows that differ in the low bits of their addresses alone stall each other
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t row = begin; row < end; ++row) {
        const T* image = x.data + row / rows.rows() * x.dim(1) * row_in;
        const index_t* first = rows.begin.data() + row % rows.rows();
        const index_t taps = first[1] - first[0];
        const T* source = mixed.data();
        if (taps == 1 && rows.weight[static_cast<std::size_t>(*first)] == T(1))
          source = image + rows.index[static_cast<std::size_t>(*first)] * row_in;
        else detail::mix(image, row_in, rows.index.data() + *first, rows.weight.data() + *first, taps, row_in, mixed.data());
        for (index_t ow = 0; ow < columns.rows(); ++ow) {
          const index_t at = columns.begin[static_cast<std::size_t>(ow)], stop = columns.begin[static_cast<std::size_t>(ow) + 1];
          detail::mix(source, C, columns.index.data() + at, columns.weight.data() + at, stop - at, C, y.data + row * row_out + ow * C);
        }
      }
    });
  });
}

/// y = x resized along both axes.
template <class T>
void resample(const ResizeAxis& h, const ResizeAxis& w, ConstView<T> x, View<T> y) {
  resample(resize_matrix<T>(h), resize_matrix<T>(w), x, y);
}
/// The transpose: dx from dy.
template <class T>
void resample_backward(const ResizeAxis& h, const ResizeAxis& w, ConstView<T> dy, View<T> dx) {
  resample(transposed(resize_matrix<T>(h), h.in), transposed(resize_matrix<T>(w), w.in), dy, dx);
}
// The same on the GPU: cuda/resize.cuh.
template <class T>
void resample(const ResizeAxis& h, const ResizeAxis& w, ConstView<T, Cuda> x, View<T, Cuda> y);
template <class T>
void resample_backward(const ResizeAxis& h, const ResizeAxis& w, ConstView<T, Cuda> dy, View<T, Cuda> dx);

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_RESIZE(TEMPLATE, T)                                             \
  TEMPLATE void resample(const ResizeAxis&, const ResizeAxis&, ConstView<T>, View<T>); \
  TEMPLATE void resample_backward(const ResizeAxis&, const ResizeAxis&, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_RESIZE)

}  // namespace kernels
}  // namespace segnet
