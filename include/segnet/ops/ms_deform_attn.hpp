// Multi-scale deformable attention, without the linear layers around it: "Deformable DETR: deformable transformers for end-to-end object
// detection" (Zhu et al., arXiv:2010.04159), equation 3.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/ms_deform_attn.hpp"

namespace segnet {

/// What each query reads, head by head, at P points of each of L maps,
///
///   y[n, q, m] = sum over l, p of attention[n, q, m, l, p] * (map l of head m of value[n], at locations[n, q, m, l, p])
///
/// bilinearly, with zeros outside. A location is (x, y), from 0 to 1 between the outer edges of the map: column x W - 1/2, row y H - 1/2.
/// @param value      [N, S, M, D]: the pixels of all maps, one map behind the other, row by row; D channels for each of M heads
/// @param shapes     {H, W} of the maps, at most 8; S is the sum of their pixels
/// @param locations  [N, Lq, M, L, P, 2], float for bfloat16 values
/// @param attention  [N, Lq, M, L, P], normalised by the caller (softmax over L P)
/// @return           [N, Lq, M D]
/// @throws           ShapeError: shapes that do not fit each other;  ValueError: no map, more than 8, or one without pixels
/// Gradients to value, locations (at pixels the one to the right and below) and attention. Same bits for any number of threads.
template <class T, class D>
[[nodiscard]] Tensor<T, D> ms_deform_attn(const Tensor<T, D>& value, const std::vector<Extent2>& shapes,
                                          const Tensor<Master<T>, D>& locations, const Tensor<T, D>& attention) {
  constexpr const char* op = "ms_deform_attn";
  const auto L = static_cast<index_t>(shapes.size());
  if (L < 1 || L > kernels::MsDeformGeometry::most_levels)
    throw ValueError(op, "shapes", concat("1 to ", kernels::MsDeformGeometry::most_levels, " maps"), concat(L));
  if (attention.rank() != 5 || attention.dim(3) != L)
    throw ShapeError(op, "attention", concat("[N, Lq, M, ", L, ", P]"), attention.shape());
  const Shape& a = attention.shape();
  if (value.rank() != 4) throw ShapeError(op, "value", "[N, S, M, D]", value.shape());
  kernels::MsDeformGeometry g{a[0], 0, a[2], value.dim(3), a[1], L, a[4], {}};
  for (index_t l = 0; l < L; ++l) {
    const Extent2 map = shapes[static_cast<std::size_t>(l)];
    constexpr index_t most = std::numeric_limits<std::int32_t>::max();
    if (map.h < 1 || map.w < 1 || map.h > most || map.w > most) throw ValueError(op, "shapes", "maps with at least one pixel", concat(map));
    g.levels[l] = {static_cast<std::int32_t>(map.h), static_cast<std::int32_t>(map.w), g.S};
    g.S += map.h * map.w;
  }
  if (value.shape() != Shape{g.N, g.S, g.M, g.D})
    throw ShapeError(op, "value", concat("[", g.N, ", ", g.S, ", ", g.M, ", D] for these maps and attention ", a), value.shape());
  if (const Shape expected{g.N, g.Lq, g.M, g.L, g.P, 2}; locations.shape() != expected)
    throw ShapeError(op, "locations", concat(expected), locations.shape());
  const Tensor<T, D> y(Shape{g.N, g.Lq, g.M * g.D});
  kernels::ms_deform_attn<T>(g, value.view(), locations.view(), attention.view(), y.view());
  return record(op, y, {value, locations, attention},
                [g, value = value.detach(), locations = locations.detach(), attention = attention.detach()](const Tensor<T, D>& dy,
                                                                                                            Gradients<T, D>& grad) {
                  if (grad.wanted(0))
                    kernels::ms_deform_attn_backward_value<T>(g, dy.view(), locations.view(), attention.view(), grad[0].view());
                  if (!grad.wanted(1) && !grad.wanted(2)) return;
                  const Tensor<Master<T>, D> dlocations(locations.shape());
                  const Tensor<T, D> dattention(attention.shape());
                  kernels::ms_deform_attn_backward_points<T>(g, dy.view(), value.view(), locations.view(), attention.view(),
                                                             dlocations.view(), dattention.view());
                  grad.set_other(1, dlocations);
                  grad.set(2, dattention);
                });
}

}  // namespace segnet
