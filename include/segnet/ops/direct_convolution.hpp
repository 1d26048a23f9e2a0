// A transposed convolution rewritten as a direct one: how older texts draw it, and why it was called fractionally strided.
// For teaching and tests: most of what it multiplies are zeros. conv_transpose2d computes the same without them.
#pragma once

#include "segnet/kernels/conv2d_geometry.hpp"
#include "segnet/ops/flip.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/unpool.hpp"

namespace segnet {

/// What `conv2d(x, w, b, options)` takes.
template <class T, class D = Cpu>
struct DirectConvolution {
  Tensor<T, D> x, w;
  Conv2dOptions options;
};

/// The direct convolution whose result is conv_transpose2d(x, w, b, options). Dumoulin & Visin, arXiv:1603.07285, relationship 14:
///   x  gets stride - 1 zeros between its pixels and a border of reach - 1 - padding (cropped where that is negative), to which output
///      padding adds rows and columns at the far end: [N, (H-1)*stride.h + 1 + ..., (W-1)*stride.w + 1 + ..., O]
///   w  is turned by 180 degrees, and its inputs and outputs change places: [C, kh, kw, O/groups]
///   the stride becomes 1, the padding 0; dilation and groups stay.
/// @throws as conv_transpose2d.  Gradients flow back to x and w.
template <class T, class D>
[[nodiscard]] DirectConvolution<T, D> direct_convolution(const Tensor<T, D>& x, const Tensor<T, D>& w,
                                                         const ConvTranspose2dOptions& options) {
  const auto g = kernels::conv_transpose2d_geometry("direct_convolution", x.shape(), w.shape(), {0}, options);
  const auto [rows, columns] = kernels::detail::axes(w.shape(), options.stride, options.padding, options.dilation);
  // Of the zeros that a bed of nails has, those behind the last pixel are too many.
  const auto before = [](const ConvAxis& a) { return a.reach() - 1 - a.padding.begin; };
  const auto behind = [](const ConvAxis& a, index_t more) { return a.reach() - 1 - a.padding.end + more - (a.stride - 1); };
  const Extent2 more = options.output_padding;
  const Tensor<T, D> spread =
      pad(bed_of_nails_unpool2d(x, options.stride), {0, 0, before(columns), behind(columns, more.w), before(rows), behind(rows, more.h)});
  const index_t Og = g.group_outputs(), Cg = g.group_inputs();
  const Tensor<T, D> turned = reshape(flip(w, {1, 2}), Shape{g.groups, Og, g.kh, g.kw, Cg});
  return {spread,
          reshape(permute(turned, {0, 4, 2, 3, 1}), Shape{g.C, g.kh, g.kw, Og}),
          {.dilation = options.dilation, .groups = options.groups}};
}

}  // namespace segnet
