// Sums, means, variances, norms, products and extremes over dimensions.
//
// `dims` names dimensions, counted from the end when negative; left out, it means all of them. The reduced dimensions disappear,
// or stay with size 1 (`keepdim`). Results have the same bits for any number of threads, and float is summed in double.
#pragma once

#include <vector>

#include "segnet/kernels/scan.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/indexing.hpp"
#include "segnet/ops/reshape.hpp"
#include "segnet/ops/unary.hpp"

namespace segnet {

/// Some dimensions of a tensor: `-1`, `{0, 1, 2}`, or `{}` for all.
struct Dims {
  std::vector<int> list;
  Dims() = default;
  Dims(int dim) : list{dim} {}  // NOLINT: `sum(x, -1)`
  Dims(std::initializer_list<int> dims) : list(dims) {}
  Dims(std::vector<int> dims) : list(std::move(dims)) {}  // NOLINT: any list
};

/// Values, and where they were found.
template <class T, class D = Cpu>
struct ValuesAndIndices {
  Tensor<T, D> values;
  Tensor<index_t, D> indices;
};

namespace detail {

/// What a reduction does to a shape.
struct ReducedDims {
  kernels::DimSet dims;
  Shape kept;         ///< with size 1 where it is reduced: broadcasts with the input
  Shape shape;        ///< of the result
  index_t count = 1;  ///< elements behind each result

  ReducedDims(const char* op, const Shape& x, const Dims& which, bool keepdim) {
    for (const int dim : which.list) {
      const int d = normalized_dim(op, "dims", dim, x.rank());
      if (dims.contains(d)) throw ValueError(op, "dims", "each dimension once", concat("dimension ", d, " twice"));
      dims.insert(d);
    }
    for (int d = 0; d < x.rank(); ++d) {
      if (which.list.empty()) dims.insert(d);
      if (dims.contains(d)) count *= x[d];
      kept.push_back(dims.contains(d) ? 1 : x[d]);
      if (keepdim || !dims.contains(d)) shape.push_back(kept[d]);
    }
  }
  /// For extremes, which an empty slice does not have.
  void require_elements(const char* op, const Shape& x) const {
    if (count == 0 && shape.numel() > 0) throw ShapeError(op, "x", "at least one element in the reduced dimensions", x);
  }
};

/// Of one dimension: the same, and the extents for kernels.
struct DimReduction : ReducedDims {
  kernels::ReducedExtents extents;
  DimReduction(const char* op, const Shape& x, int dim, bool keepdim)
      : ReducedDims(op, x, {normalized_dim(op, "dim", dim, x.rank())}, keepdim) {
    const int d = normalized_dim(op, "dim", dim, x.rank());
    const Around around(x, d);
    extents = {around.outer, x[d], around.inner};
  }
};

/// scale * sum over dims, and its gradient: scale * dy, broadcast.
template <class T, class D>
[[nodiscard]] Tensor<T, D> scaled_sum(const char* name, const Tensor<T, D>& x, const ReducedDims& r, double scale) {
  const Tensor<T, D> y(r.shape);
  kernels::reduce(kernels::Sum{scale}, r.dims, y.view(), x.view());
  if constexpr (is_real<T>)
    return record(name, y, {x}, [kept = r.kept, scale](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const kernels::WithRight<kernels::Multiply, Master<T>> times{{}, static_cast<Master<T>>(scale)};
      kernels::map_broadcast(grad[0].view(), times, dy.alias(kept).view());
    });
  else return y;
}

template <class Op, class T, class D>
[[nodiscard]] Tensor<T, D> extreme(const char* name, const Op& op, const Tensor<T, D>& x, const Dims& dims, bool keepdim) {
  const ReducedDims r(name, x.shape(), dims, keepdim);
  r.require_elements(name, x.shape());
  const Tensor<T, D> y(r.shape);
  kernels::reduce(op, r.dims, y.view(), x.view());
  if constexpr (is_real<T>)
    return record(name, y, {x}, [r, x = x.detach(), y = y.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      const Tensor<T, D> is(x.shape()), best = y.alias(r.kept), count(r.kept);
      kernels::map_broadcast(is.view(), kernels::IsExtreme{}, x.view(), best.view());
      kernels::reduce(kernels::Sum{}, r.dims, count.view(), is.view());
      kernels::map_broadcast(grad[0].view(), kernels::ShareOfTies{}, x.view(), best.view(), dy.alias(r.kept).view(), count.view());
    });
  else return y;
}

template <class Op, class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> extreme_along(const char* name, const Op& op, const Tensor<T, D>& x, int dim, bool keepdim) {
  const DimReduction r(name, x.shape(), dim, keepdim);
  r.require_elements(name, x.shape());
  const Tensor<T, D> y(r.shape);
  const Tensor<index_t, D> indices(r.shape);
  kernels::arg_reduce(op, r.extents, x.view(), y.view(), indices.view());
  if constexpr (is_real<T>)
    record(name, y, {x}, [extents = r.extents, indices](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::arg_reduce_grad(extents, dy.view(), indices.view(), grad[0].view());
    });
  return {y, indices};
}

template <class Op, class T, class D>
[[nodiscard]] Tensor<index_t, D> place_of_extreme(const char* name, const Op& op, const Tensor<T, D>& x, int dim, bool keepdim) {
  const DimReduction r(name, x.shape(), dim, keepdim);
  r.require_elements(name, x.shape());
  const Tensor<index_t, D> indices(r.shape);
  kernels::arg_reduce(op, r.extents, x.view(), View<T, D>{}, indices.view());
  return indices;
}

}  // namespace detail

/// Sum over `dims`; 0 of nothing. @throws ValueError: no such dimension, or one named twice
template <class T, class D>
[[nodiscard]] Tensor<T, D> sum(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false) {
  return detail::scaled_sum("sum", x, {"sum", x.shape(), dims, keepdim}, 1);
}

/// Average over `dims`; NaN of nothing. @throws ValueError: no such dimension, or one named twice
template <class T, class D>
[[nodiscard]] Tensor<T, D> mean(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false) {
  const detail::ReducedDims r("mean", x.shape(), dims, keepdim);
  return detail::scaled_sum("mean", x, r, 1 / static_cast<double>(r.count));
}

/// Variance over `dims`: sum of (x - mean)^2 / n, or, `unbiased`, / (n - 1), which is NaN for one element. In two passes, so that
/// a large mean costs no digits. @throws ValueError: no such dimension, or one named twice
template <class T, class D>
[[nodiscard]] Tensor<T, D> var(const Tensor<T, D>& x, const Dims& dims = {}, bool unbiased = true, bool keepdim = false) {
  const detail::ReducedDims r("var", x.shape(), dims, keepdim);
  const double n = static_cast<double>(r.count), scale = 1 / (unbiased ? n - 1 : n);
  const Tensor<T, D> centre(r.kept), deviation(x.shape()), y(r.shape);
  kernels::reduce(kernels::Sum{1 / n}, r.dims, centre.view(), x.view());
  kernels::map_broadcast(deviation.view(), kernels::SquaredDeviation{}, x.view(), centre.view());
  kernels::reduce(kernels::Sum{scale}, r.dims, y.view(), deviation.view());
  return record("var", y, {x}, [x = x.detach(), centre, scale, kept = r.kept](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    const Tensor<T, D> factor = dy.alias(kept) * static_cast<Master<T>>(2 * scale);
    kernels::map_broadcast(grad[0].view(), kernels::Deviation{}, x.view(), centre.view(), factor.view());
  });
}

/// Standard deviation: the square root of `var`. (Not `std`, which would hide the standard library's namespace.)
template <class T, class D>
[[nodiscard]] Tensor<T, D> stddev(const Tensor<T, D>& x, const Dims& dims = {}, bool unbiased = true, bool keepdim = false) {
  return sqrt(var(x, dims, unbiased, keepdim));
}

/// p-norm over `dims`: the sum of |x| (p = 1), or the square root of the sum of x^2 (p = 2), whose gradient at 0 is 0.
/// @throws ValueError: another p, no such dimension, or one named twice
template <class T, class D>
[[nodiscard]] Tensor<T, D> norm(const Tensor<T, D>& x, const Dims& dims = {}, int p = 2, bool keepdim = false) {
  if (p != 1 && p != 2) throw ValueError("norm", "p", "1 or 2", concat(p));
  const detail::ReducedDims r("norm", x.shape(), dims, keepdim);
  const Tensor<T, D> y(r.shape);
  if (p == 1) kernels::reduce(kernels::Norm1{}, r.dims, y.view(), x.view());
  else kernels::reduce(kernels::Norm2{}, r.dims, y.view(), x.view());
  return record("norm", y, {x}, [p, kept = r.kept, x = x.detach(), y = y.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    if (p == 1) return kernels::map_broadcast(grad[0].view(), kernels::SignTimes{}, x.view(), dy.alias(kept).view());
    const Tensor<T, D> factor = masked_fill(dy / y, equal_to(y, 0), 0).alias(kept);
    kernels::map_broadcast(grad[0].view(), kernels::Multiply{}, x.view(), factor.view());
  });
}

/// log(sum of e^x) over `dims`, with the maximum taken out first, so that nothing overflows. -inf of nothing.
/// @throws ValueError: no such dimension, or one named twice
template <class T, class D>
[[nodiscard]] Tensor<T, D> logsumexp(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false) {
  const detail::ReducedDims r("logsumexp", x.shape(), dims, keepdim);
  const Tensor<T, D> largest(r.kept), powers(x.shape()), sums(r.kept);
  kernels::reduce(kernels::Largest{}, r.dims, largest.view(), x.view());
  const Tensor<T, D> base = masked_fill(largest, equal_to(abs(largest), std::numeric_limits<Master<T>>::infinity()), 0);
  kernels::map_broadcast(powers.view(), kernels::ExpOfDifference{}, x.view(), base.view());
  kernels::reduce(kernels::Sum{}, r.dims, sums.view(), powers.view());
  const Tensor<T, D> y = (log(sums) + base).alias(r.shape);
  return record("logsumexp", y, {x}, [kept = r.kept, x = x.detach(), y = y.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
    kernels::map_broadcast(grad[0].view(), kernels::ExpOfDifferenceTimes{}, x.view(), y.alias(kept).view(), dy.alias(kept).view());
  });
}

/// Product over one dimension; 1 of nothing. Its gradient is right where factors are 0. @throws ValueError: no such dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> prod(const Tensor<T, D>& x, int dim, bool keepdim = false) {
  const detail::DimReduction r("prod", x.shape(), dim, keepdim);
  const Tensor<T, D> y(r.shape);
  kernels::reduce(kernels::Product{}, r.dims, y.view(), x.view());
  if constexpr (is_real<T>)
    return record("prod", y, {x}, [extents = r.extents, x = x.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::product_grad(extents, x.view(), dy.view(), grad[0].view());
    });
  else return y;
}

/// Running sum along `dim`: y[r] = x[0] + ... + x[r]. @throws ValueError: no such dimension
template <class T, class D>
[[nodiscard]] Tensor<T, D> cumsum(const Tensor<T, D>& x, int dim) {
  const auto extents = detail::DimReduction("cumsum", x.shape(), dim, true).extents;
  const Tensor<T, D> y(x.shape());
  kernels::cumsum(extents, x.view(), false, y.view());
  if constexpr (is_real<T>)
    return record("cumsum", y, {x},
                  [extents](const Tensor<T, D>& dy, Gradients<T, D>& grad) { kernels::cumsum(extents, dy.view(), true, grad[0].view()); });
  else return y;
}

/// The largest (smallest) element over `dims`; NaN if there is one. Equal elements share the gradient evenly.
/// @throws ValueError: no such dimension, or one named twice;  ShapeError: nothing to choose from
template <class T, class D>
[[nodiscard]] Tensor<T, D> amax(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false) {
  return detail::extreme("amax", kernels::Largest{}, x, dims, keepdim);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> amin(const Tensor<T, D>& x, const Dims& dims = {}, bool keepdim = false) {
  return detail::extreme("amin", kernels::Smallest{}, x, dims, keepdim);
}
/// The largest (smallest) element of all; as `amax`, `amin`.
template <class T, class D>
[[nodiscard]] Tensor<T, D> max(const Tensor<T, D>& x) {
  return detail::extreme("max", kernels::Largest{}, x, {}, false);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> min(const Tensor<T, D>& x) {
  return detail::extreme("min", kernels::Smallest{}, x, {}, false);
}

/// The largest (smallest) elements along `dim`, and the first place where each is found; a NaN beats every number. The whole
/// gradient goes to that place. @throws ValueError: no such dimension;  ShapeError: nothing to choose from
template <class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> max(const Tensor<T, D>& x, int dim, bool keepdim = false) {
  return detail::extreme_along("max", kernels::Largest{}, x, dim, keepdim);
}
template <class T, class D>
[[nodiscard]] ValuesAndIndices<T, D> min(const Tensor<T, D>& x, int dim, bool keepdim = false) {
  return detail::extreme_along("min", kernels::Smallest{}, x, dim, keepdim);
}

/// The first place of the largest (smallest) element along `dim`; without `dim`, in the flattened tensor. For class maps from
/// logits [N, H, W, C]: `argmax(logits, -1)`. @throws ValueError: no such dimension;  ShapeError: nothing to choose from
template <class T, class D>
[[nodiscard]] Tensor<index_t, D> argmax(const Tensor<T, D>& x, int dim, bool keepdim = false) {
  return detail::place_of_extreme("argmax", kernels::Largest{}, x, dim, keepdim);
}
template <class T, class D>
[[nodiscard]] Tensor<index_t, D> argmin(const Tensor<T, D>& x, int dim, bool keepdim = false) {
  return detail::place_of_extreme("argmin", kernels::Smallest{}, x, dim, keepdim);
}
template <class T, class D>
[[nodiscard]] Tensor<index_t, D> argmax(const Tensor<T, D>& x) {
  return argmax(x.alias({x.numel()}), 0);
}
template <class T, class D>
[[nodiscard]] Tensor<index_t, D> argmin(const Tensor<T, D>& x) {
  return argmin(x.alias({x.numel()}), 0);
}

}  // namespace segnet
