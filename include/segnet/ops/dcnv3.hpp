// The core operations of DCNv3 and DCNv4.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/dcnv3.hpp"

namespace segnet {

/// DCNv3's aggregation (Wang et al., InternImage, arXiv:2211.05778, eq. 3): each group of C' = C/groups channels is added up over the taps
/// of a kernel, displaced by offsets and weighted by scalars that depend on the output pixel. No weight: channels do not mix.
///
///   y[n, i, j, g C' + c] = sum over k of mask[n, i, j, g P + k] * x[n, Y, X, g C' + c],     tap k = a kh + b: column by column
///   X = j stride.w - padding.w + centre.w + offset_scale * (a dilation.w - centre.w + offset[n, i, j, (g P + k) 2])
///   Y = i stride.h - padding.h + centre.h + offset_scale * (b dilation.h - centre.h + offset[n, i, j, (g P + k) 2 + 1])
///
/// with centre = dilation (kernel - 1) / 2, rounded down, and x read bilinearly, zero outside the image (kernels/bilinear_sample.hpp).
/// P = kh kw, or one less with remove_center, which leaves the middle tap out and the order of the others as it is.
///
/// @param x       [N, H, W, C]
/// @param offset  [N, OH, OW, groups P 2], pairs (x, y) in pixels
/// @param mask    [N, OH, OW, groups P], as it is to be used: DCNv3 takes softmax over the P taps before
/// @return        [N, OH, OW, C], sizes as `conv2d`
/// @throws ShapeError: rank, sizes, channels, kernel;  ValueError: stride, dilation, groups, kernel, padding, remove_center
/// An offset beyond the image reads zero, whatever its size; NaN gives NaN. Gradients to x, offset (at integers that to the right; none
/// beyond the image) and mask. Same bits for any number of threads, and on the GPU always: there what goes to x is sorted by its pixel.
template <class T, class D>
[[nodiscard]] Tensor<T, D> dcnv3(const Tensor<T, D>& x, const Tensor<T, D>& offset, const Tensor<T, D>& mask,
                                 const DCNv3Options& options = {}) {
  const auto g = kernels::dcnv3_geometry("dcnv3", x.shape(), options);
  const index_t taps = g.groups * g.taps();
  if (offset.shape() != Shape{g.N, g.OH, g.OW, 2 * taps})
    throw ShapeError("dcnv3", "offset", concat(Shape{g.N, g.OH, g.OW, 2 * taps}), offset.shape());
  if (mask.shape() != Shape{g.N, g.OH, g.OW, taps}) throw ShapeError("dcnv3", "mask", concat(Shape{g.N, g.OH, g.OW, taps}), mask.shape());
  const Tensor<T, D> y({g.N, g.OH, g.OW, g.C});
  kernels::dcnv3(g, x.view(), offset.view(), mask.view(), y.view());
  return record("dcnv3", y, {x, offset, mask},
                [g, x = x.detach(), offset = offset.detach(), mask = mask.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  const auto wanted = [&](std::size_t i) { return grad.wanted(i) ? grad[i].view() : View<T, D>{}; };
                  kernels::dcnv3_backward(g, dy.view(), x.view(), offset.view(), mask.view(), wanted(0), wanted(1), wanted(2));
                });
}

/// Numbers per pixel that `dcnv4` takes: 3 for each tap of each group, rounded up to a multiple of 8.
[[nodiscard]] inline index_t dcnv4_width(index_t groups, index_t taps) { return (3 * groups * taps + 7) / 8 * 8; }

/// DCNv4's aggregation (Xiong et al., arXiv:2401.06197): `dcnv3` with offsets and scalars in one tensor, the scalars being what a linear
/// layer gives, of any sign and size.
///
/// @param offset_mask  [N, OH, OW, dcnv4_width(groups, P)]: for each group 2 P offsets (x, y) and P scalars; the rest is not read
/// Otherwise as `dcnv3`; the gradient of what is not read is zero.
template <class T, class D>
[[nodiscard]] Tensor<T, D> dcnv4(const Tensor<T, D>& x, const Tensor<T, D>& offset_mask, const DCNv3Options& options = {}) {
  auto g = kernels::dcnv3_geometry("dcnv4", x.shape(), options);
  const index_t offsets = 2 * g.taps();
  g.offset_group = g.mask_group = 3 * g.taps();
  g.offset_pixel = g.mask_pixel = dcnv4_width(g.groups, g.taps());
  const Shape expected{g.N, g.OH, g.OW, g.offset_pixel};
  if (offset_mask.shape() != expected) throw ShapeError("dcnv4", "offset_mask", concat(expected), offset_mask.shape());
  const auto scalars = [=](auto view) {
    if (view) view.data += offsets;
    return view;
  };
  const Tensor<T, D> y({g.N, g.OH, g.OW, g.C});
  kernels::dcnv3(g, x.view(), offset_mask.view(), scalars(offset_mask.view()), y.view());
  return record("dcnv4", y, {x, offset_mask},
                [=, x = x.detach(), numbers = offset_mask.detach()](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
                  View<T, D> dnumbers{};
                  if (grad.wanted(1)) {
                    grad.set(1, zeros<T, D>(numbers.shape()));
                    dnumbers = grad[1].view();
                  }
                  kernels::dcnv3_backward(g, dy.view(), x.view(), numbers.view(), scalars(numbers.view()),
                                          grad.wanted(0) ? grad[0].view() : View<T, D>{}, dnumbers, scalars(dnumbers));
                });
}

}  // namespace segnet
