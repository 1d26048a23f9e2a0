// Winograd convolution: 3 x 3 kernels with stride 1 in a quarter of the multiplications (Lavin & Gray, arXiv:1509.09308). Tiles of
// m x m output pixels are computed from (m + 2)^2 transformed input pixels, and for each of those (m + 2)^2 positions the channels
// meet in a matrix product of their own; see conv2d_winograd_transform.hpp for the transforms.
//
// Everything happens in blocks of tiles, which read and write images as they are:
//
//   V [position][tile][channel]    = B^T d B   of the block's tiles, in parts of some channels
//   U [position][channel][output]  = G g G^T   of a panel of outputs and some channels, made anew for each block where all of U would not
//                                              stay in the cache: that is cheaper than to fetch it; see conv2d_winograd_weight.hpp
//   M [position][tile][output]    += V U
//   Y                              = A^T M A   into the image, with the epilogue
//
// The gradient to the input is the same computation over dy, with the kernel turned over and transposed.
//
// Beside the weights, packed or transformed, a thread uses at most 4 MiB. Every output is computed from its own tile with channels in
// order, so the bits depend neither on the threads nor on the blocks. Errors, relative to the largest output, of float sums over 64 to
// 1024 channels: about 5e-6 for F(4 x 4, 3 x 3), 2e-6 for F(2 x 2, 3 x 3); tested are 5e-5 and 1e-5.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_epilogue.hpp"
#include "segnet/kernels/conv2d_winograd_weight.hpp"

namespace segnet::kernels::winograd::inline SEGNET_LAYOUT {

/// The forward pass or the gradient to the input: target pixel (h, v) is the sum over taps (i, j) and channels k of its group of
/// source pixel (h - padding.h + i * dilation.h, v - padding.w + j * dilation.w) times weight(o, i, j, k).
template <class T>
struct Correlation {
  const T* source;  // [N, H, W, groups * K]
  Weight<T> weight;
  T* target;  // [N, OH, OW, groups * O]
  index_t N, H, W, K, OH, OW, O, groups;
  Extent2 padding, dilation;
};

/// How the work is cut up.
template <class T>
struct Plan {
  Tiling tiling;
  index_t m, positions, K, O, groups;
  index_t depth, depths;        // channels that are multiplied at a time
  index_t width, widths;        // outputs that are computed at a time: a panel
  index_t block, blocks;        // tiles of a block
  index_t slots;                // parts of V that there is room for; with fewer than `depths`, what is in the last one does not stay
  bool keeps_u, packs_ahead;    // for all channels and outputs of the convolution
  index_t splits, widths_each;  // of the outputs, where blocks are too few for the threads

  Plan(const Correlation<T>& c, index_t tile, index_t threads)
      : tiling(c.N, c.OH, c.OW, c.padding, c.dilation, tile), m(tile), positions((m + 2) * (m + 2)), K(c.K), O(c.O), groups(c.groups) {
    constexpr index_t size = sizeof(T), some = 256 / size, cache = (1 << 18) / size, most = (1 << 22) / size, kept = (1 << 20) / size;
    const index_t lanes = PackedPanels<T>::lanes();
    keeps_u = groups * positions * K * round_up(O, lanes) <= kept;
    // Wide panels read V less often; U and M of them are larger, and parts less deep. Where all of U is kept, what is deep is better: sums
    // are added to M less often. Bits depend on the depth, which must not depend on the threads; narrow panels are for more of those.
    const index_t wide = panel_vectors(current_isa()), deepest = keeps_u || O <= 2 * lanes ? some : 2 * some / wide;
    const bool few = divide_up(tiles(), 64) * groups * divide_up(O, wide * lanes) < threads;
    width = std::min((keeps_u || few ? 2 : wide) * lanes, round_up(O, lanes));
    widths = divide_up(O, width);
    depth = round_up(divide_up(K, divide_up(K, deepest)), lanes);
    depths = divide_up(K, depth);
    // Where all of U is kept, the rest stays in a second-level cache of 1 MiB. Else parts of U are made anew for each block, and the more
    // tiles they serve the better: products fetch V from farther away while they compute.
    const index_t room = most - u_size() - positions * line<T>, each = positions * (depths * depth + width);
    block = keeps_u ? std::max<index_t>(cache / each, 24) : std::clamp<index_t>(room / (each + positions * line<T>), 24, 64);
    // Blocks of about the same size. Products are fastest in whole tiles.
    const index_t even = std::max<index_t>(divide_up(tiles(), std::max<index_t>(divide_up(tiles(), block), 1)), 1);
    block = round_up(even, even < tiles() && round_up(even, 3 * rows_step()) <= block ? 3 * rows_step() : rows_step());
    blocks = divide_up(tiles(), block);
    slots = std::clamp<index_t>((room - positions * m_step()) / v_size(), 1, depths);
    packs_ahead = !keeps_u && blocks > (c.weight.transposed ? 2 : 1);  // twice is no dearer where nothing is turned over
    splits = threads == 1 ? 1 : std::clamp<index_t>(divide_up(2 * threads, std::max<index_t>(blocks * groups, 1)), 1, widths);
    widths_each = divide_up(widths, splits);
  }

  index_t tiles() const { return tiling.size(); }
  index_t parts() const { return groups * widths * depths; }  // of U
  // Steps between positions.
  index_t v_step() const { return block * depth + line<T>; }
  index_t u_step() const { return depth * width + 3 * line<T>; }
  index_t m_step() const { return block * width + line<T>; }
  index_t v_size() const { return positions * v_step(); }
  index_t u_size() const { return positions * u_step(); }
  /// Of what is made ahead of all blocks.
  index_t part_size() const { return keeps_u ? u_size() : packs_ahead ? Weight<T>::packed_size(depth, width) : 0; }
  typename Weight<T>::Part part(index_t i) const {
    const index_t group = i / (widths * depths), o = i / depths % widths * width, k = i % depths * depth;
    return {group, k, std::min(depth, K - k), o, PackedPanels<T>::rounded(std::min(width, O - o))};
  }
  // What a worker has for itself: V, M and a part of U.
  index_t m_begin() const { return v_size() * slots; }
  index_t u_begin() const { return m_begin() + positions * m_step(); }
  index_t scratch_size() const { return u_begin() + (keeps_u ? 0 : u_size()); }
};

/// The target's pixels from M, for outputs [o0, o0 + width) of the whole target.
template <int m, class T>
void store_tiles(const Correlation<T>& c, const Plan<T>& plan, const Epilogue<T>& e, index_t first, index_t count, index_t o0,
                 index_t width, const T* M) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = Simd<T, decltype(isa)::value>;
    using Vector = typename S::Vector;
    constexpr int n = m + 2, widest = panel_vectors(decltype(isa)::value) * S::lanes;
    const index_t rounded = round_up(width, S::lanes);
    const index_t pixel = c.groups * c.O, step = plan.m_step(), row_step = c.dilation.h * c.OW * pixel, column_step = c.dilation.w * pixel;
    T scale[widest] = {}, shift[widest] = {};
    for (index_t o = 0; o < width; ++o) {
      scale[o] = e.scale ? e.scale[o0 + o] : T(1);
      shift[o] = e.shift ? e.shift[o0 + o] : T(0);
    }
    const auto corner_of = [&](const Tiling::Place& place) {
      return ((place.image() * c.OH + place.row().out) * c.OW + place.column().out) * pixel + o0;
    };
    Tiling::Place place(plan.tiling, first);
    index_t next = corner_of(place);
    for (index_t t = 0; t < count; ++t) {
      const Tiling::Part row = place.row(), column = place.column();
      const index_t corner = next;
      if (t + 1 < count) ++place;
      next = corner_of(place);
      for (index_t o = 0; o < width; o += S::lanes) {
        const index_t left = std::min<index_t>(width - o, S::lanes);
        const T* from = M + t * rounded + o;
        const Vector a = S::load(scale + o), b = S::load(shift + o);
        transform_2d<S, n, m>([](const typename S::Vector(&x)[n], typename S::Vector(&y)[m])
                                  SEGNET_INLINE_LAMBDA { interpolate<S>(matrices<m, 3>.At, x, y); },
                              [&](int i, int j) SEGNET_INLINE_LAMBDA { return from + (i * n + j) * step; },
                              [&](int i, int j, const typename S::Vector& x) SEGNET_INLINE_LAMBDA {
                                if (i >= row.count || j >= column.count) return;
                                const index_t from_corner = i * row_step + j * column_step + o, at = corner + from_corner;
                                __builtin_prefetch(c.target + next + from_corner, 1);
                                Vector y[1] = {x * a + b};
                                if (left == S::lanes) {
                                  activate<S>(e.activation, e.residual ? e.residual + at : nullptr, y);
                                  S::at(c.target + at) = y[0];
                                } else {
                                  for (index_t l = 0; l < left; ++l) c.target[at + l] = e.activated(y[0][l], at + l);
                                }
                              });
      }
    }
  });
}

/// A part of U, from blocks that are packed or, if that is null, from the weight.
template <class T>
void make_u(const Correlation<T>& c, const Plan<T>& plan, index_t part, const T* packed, T* u) {
  with_tile(plan.m, [&](auto m) { c.weight.template transform<m + 2>(plan.part(part), packed, u, plan.u_step()); });
}

/// A block of tiles for widths [first_width, last_width) of the outputs of a group.
template <class T>
void compute_block(const Correlation<T>& c, const Plan<T>& plan, const Epilogue<T>& e, index_t group, index_t block, index_t first_width,
                   index_t last_width, const T* weights, const T* zeros, T* scratch) {
  T *const M = scratch + plan.m_begin(), *const u = scratch + plan.u_begin();
  const index_t first = block * plan.block, count = std::min(plan.block, plan.tiles() - first);
  for (index_t w = first_width; w < last_width; ++w) {
    const index_t o0 = w * plan.width, width = std::min(plan.width, c.O - o0), rounded = PackedPanels<T>::rounded(width);
    for (index_t d = 0; d < plan.depths; ++d) {
      const index_t k0 = d * plan.depth, depth = std::min(plan.depth, c.K - k0), part = (group * plan.widths + w) * plan.depths + d;
      const index_t slot = std::min(d, plan.slots - 1);
      T* v = scratch + slot * plan.v_size();
      if (w == first_width || (slot == plan.slots - 1 && plan.slots < plan.depths))
        with_tile(plan.m, [&](auto m) {
          transform_pixels<m + 2, m + 2>(Images<T>{c.source + group * c.K + k0, c.H, c.W, c.groups * c.K}, plan.tiling, c.dilation,
                                         &Tiling::Part::in, first, count, depth, zeros, v, plan.v_step(), plan.depth);
        });
      const T* ahead = plan.part_size() > 0 ? weights + part * plan.part_size() : nullptr;
      if (!plan.keeps_u) make_u(c, plan, part, ahead, u);
      multiply<true>(Products<T>{.positions = plan.positions,
                                 .rows = count,
                                 .depth = depth,
                                 .columns = rounded,
                                 .a = {v, plan.depth, 1},
                                 .b = plan.keeps_u ? ahead : u,
                                 .b_step = 0,
                                 .out = M,
                                 .out_rows = plan.block,
                                 .a_next = plan.v_step(),
                                 .b_next = plan.u_step(),
                                 .out_next = plan.m_step()},
                     d > 0);
    }
    with_tile(plan.m, [&](auto m) { store_tiles<m>(c, plan, e, first, count, group * c.O + o0, width, M); });
  }
}

template <class T>
void compute(const Correlation<T>& c, index_t m, const Epilogue<T>& e) {
  const index_t threads = num_threads();
  const Plan<T> plan(c, m, threads);
  if (plan.tiles() == 0) return;
  const Scratch<T> weights(plan.parts() * plan.part_size()), zeros(plan.depth), scratch(threads * plan.scratch_size());
  std::fill_n(zeros.data(), plan.depth, T(0));

  if (plan.part_size() > 0)
    parallel_chunks(plan.parts(), [&](index_t part) {
      T* const to = weights.data() + part * plan.part_size();
      if (plan.keeps_u) make_u<T>(c, plan, part, nullptr, to);
      else c.weight.pack(plan.part(part), to);
    });

  parallel_workers(c.groups * plan.blocks * plan.splits, [&](index_t task, int worker) {
    const index_t split = task % plan.splits, block = task / plan.splits % plan.blocks, group = task / (plan.splits * plan.blocks);
    const index_t first = split * plan.widths_each, last = std::min(plan.widths, first + plan.widths_each);
    compute_block(c, plan, e, group, block, first, last, weights.data(), zeros.data(), scratch.data() + worker * plan.scratch_size());
  });
}

/// y = x * w, and the epilogue, by tiles of m x m for m = 4 or 2. See reference::conv2d for the formula.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y, int m) {
  const Weight<T> weight{w.data, g.group_inputs(), g.group_outputs(), false};
  const Correlation<T> c{x.data, weight, y.data, g.N, g.H, g.W, weight.K, g.OH, g.OW, weight.O, g.groups, g.padding, g.dilation};
  compute(c, m, e);
}
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  conv2d(g, x, w, e, y, tile_size(g, ConvPass::forward));
}

/// dx = dy * w^T, and the epilogue, alike. See reference::conv2d_grad_input for the formula.
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx,
                       int m) {
  const Extent2 padding(2 * g.dilation.h - g.padding.h, 2 * g.dilation.w - g.padding.w);
  const Weight<T> weight{w.data, g.group_outputs(), g.group_inputs(), true};
  const Correlation<T> c{dy.data, weight, dx.data, g.N, g.OH, g.OW, weight.K, g.H, g.W, weight.O, g.groups, padding, g.dilation};
  compute(c, m, e);
}
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  conv2d_grad_input(g, dy, w, e, dx, tile_size(g, ConvPass::grad_input));
}

}  // namespace segnet::kernels::winograd::inline SEGNET_LAYOUT
