// The core of DCNv3 and DCNv4.
#pragma once

#include "deformable.cuh"
#include "segnet/kernels/dcnv3.hpp"

namespace segnet::kernels {

template <class T>
void dcnv3(const DeformableGeometry& g, ConstView<T, Cuda> x, ConstView<T, Cuda> offset, ConstView<T, Cuda> mask, View<T, Cuda> y) {
  cuda::with_packs<T>(g.group_channels(), {x.data, y.data}, [&](auto V) {
    cuda::for_pixels<V()>(g.N, g.OH, g.OW, g.C, cuda::AggregateTaps<T, V()>{{g, offset.data, mask.data}, x.data, y.data});
  });
}

template <class T>
void dcnv3_backward(const DeformableGeometry& g, ConstView<T, Cuda> dy, ConstView<T, Cuda> x, ConstView<T, Cuda> offset,
                    ConstView<T, Cuda> mask, View<T, Cuda> dx, View<T, Cuda> doffset, View<T, Cuda> dmask) {
  const cuda::DeformedPoints<T> where{g, offset.data, mask.data};
  const index_t unit = g.group_channels(), pixels = g.OH * g.OW, each = pixels * g.groups;
  constexpr index_t sorted_at_once = index_t{1} << 22;  // which take 160 MiB
  const index_t most = std::max<index_t>(1, sorted_at_once / (4 * each * g.taps()));
  for (index_t first = 0; dx && first < g.N; first += most) {
    const index_t images = std::min(most, g.N - first);
    cuda::scatter_taps<T, T>(where, cuda::TapsOfGroups{g.groups, g.taps(), unit}, dy.data + first * pixels * g.C, images * each, g.taps(),
                             unit, first, images, dx.data + first * g.H * g.W * g.C);
  }
  if (doffset || dmask) cuda::grad_taps<T, T>(where, x.data, {dy.data, g.C, 0, 0, 0}, unit, 0, g.pixels(), doffset.data, dmask.data);
}

}  // namespace segnet::kernels
