// The gradient to the weight by Winograd's algorithm: its 3 x 3 numbers per pair of channels are a correlation of x with dy, whose m x m
// pixels of a tile are now the taps. F(3 x 3, m x m) reads the same tiles of x, and sums before it transforms back:
//
//   dw = A^T [ sum over tiles of (G dy G^T) * (B^T x B) ] A
//
// A task has a block of outputs and channels, whose sums for all positions stay in the cache, and walks through the tiles. Where blocks
// are few, tiles are dealt out to `slots` as well, whose parts of dw are added up in order; how many depends on the shape alone.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_winograd_tiles.hpp"

namespace segnet::kernels::winograd::inline SEGNET_LAYOUT {

/// How the work of one weight gradient is cut up.
template <class T>
struct WeightPlan {
  Tiling tiling;
  index_t m, positions;
  index_t outputs, output_blocks;    // of a block, per group
  index_t channels, channel_blocks;  // alike
  index_t block, blocks;             // tiles that are transformed at a time
  index_t slots;

  WeightPlan(const ConvGeometry& g, index_t tile)
      : tiling(g.N, g.OH, g.OW, g.padding, g.dilation, tile), m(tile), positions((m + 2) * (m + 2)) {
    blocks = divide_up(tiling.size(), 24);
    block = divide_up(tiling.size(), std::max<index_t>(blocks, 1));
    // The sums of 64 outputs and channels stay in the second-level cache. Where there are many more, twice as many of each: to transform
    // the same tiles for each block takes longer than to fetch sums.
    const index_t some = (std::max(g.group_outputs(), g.group_inputs()) * index_t{sizeof(T)} > 1024 ? 512 : 256) / index_t{sizeof(T)};
    const index_t lanes = PackedPanels<T>::lanes(), Og = g.group_outputs(), Cg = g.group_inputs();
    outputs = round_up(divide_up(Og, divide_up(Og, some)), lanes);
    output_blocks = divide_up(Og, outputs);
    channels = round_up(divide_up(Cg, divide_up(Cg, some)), lanes);
    channel_blocks = divide_up(Cg, channels);
    slots = std::clamp<index_t>(16 / (g.groups * output_blocks * channel_blocks), 1, std::max<index_t>(blocks, 1));
  }

  index_t sum_step() const { return outputs * channels + line<T>; }
  index_t y_step() const { return block * outputs + line<T>; }
  index_t x_step() const { return block * channels + line<T>; }
  index_t y_begin() const { return positions * sum_step(); }
  index_t x_begin() const { return y_begin() + positions * y_step(); }
  index_t scratch_size() const { return x_begin() + positions * x_step(); }
};

/// dw[o][tap][c] from sums [position][panel][o][c], for outputs and channels of a block; dw is at its first element, `Cg` channels wide.
template <int m, class T>
void store_weights(const WeightPlan<T>& plan, index_t outputs, index_t channels, index_t Cg, const T* sums, T* dw) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = Simd<T, decltype(isa)::value>;
    constexpr int n = m + 2;
    const index_t step = plan.sum_step(), rounded = round_up(channels, S::lanes);
    for (index_t o = 0; o < outputs; ++o)
      for (index_t c = 0; c < channels; c += S::lanes) {
        const T* from = sums + in_panels<decltype(isa)::value, T>(o, c, plan.outputs, rounded);
        T* to = dw + o * 9 * Cg + c;
        const index_t left = std::min<index_t>(channels - c, S::lanes);
        transform_2d<S, n, 3>([](const typename S::Vector(&x)[n], typename S::Vector(&y)[3])
                                  SEGNET_INLINE_LAMBDA { interpolate<S>(matrices<3, m>.At, x, y); },
                              [&](int i, int j) SEGNET_INLINE_LAMBDA { return from + (i * n + j) * step; },
                              [&](int i, int j, const typename S::Vector& x) SEGNET_INLINE_LAMBDA {
                                T* tap = to + (i * 3 + j) * Cg;
                                if (left == S::lanes) {
                                  S::at(tap) = x;
                                } else {
                                  for (index_t l = 0; l < left; ++l) tap[l] = x[l];
                                }
                              });
      }
  });
}

/// The share of `slot` in the gradient of outputs [o0, ...) and channels [c0, ...) of a group, written to dw.
template <class T>
void weight_block(const ConvGeometry& g, const WeightPlan<T>& plan, index_t group, index_t o0, index_t c0, index_t slot, const T* dy,
                  const T* x, const T* zeros, T* scratch, T* dw) {
  const index_t Og = g.group_outputs(), Cg = g.group_inputs();
  const index_t outputs = std::min(plan.outputs, Og - o0), channels = std::min(plan.channels, Cg - c0);
  const Images<T> from_y{dy + group * Og + o0, g.OH, g.OW, g.O}, from_x{x + group * Cg + c0, g.H, g.W, g.C};
  T *const y_tiles = scratch + plan.y_begin(), *const x_tiles = scratch + plan.x_begin();
  const index_t first_block = slot * plan.blocks / plan.slots, last_block = (slot + 1) * plan.blocks / plan.slots;
  for (index_t b = first_block; b < last_block; ++b) {
    const index_t first = b * plan.block, count = std::min(plan.block, plan.tiling.size() - first);
    with_tile(plan.m, [&](auto m) {
      transform_pixels<m, m + 2>(from_y, plan.tiling, g.dilation, &Tiling::Part::out, first, count, outputs, zeros, y_tiles, plan.y_step(),
                                 plan.outputs);
      transform_pixels<m + 2, m + 2>(from_x, plan.tiling, g.dilation, &Tiling::Part::in, first, count, channels, zeros, x_tiles,
                                     plan.x_step(), plan.channels);
    });
    multiply<false>(Products<T>{.positions = plan.positions,
                                .rows = outputs,
                                .depth = count,
                                .columns = PackedPanels<T>::rounded(channels),
                                .a = {y_tiles, 1, plan.outputs},
                                .b = x_tiles,
                                .b_step = plan.channels,
                                .out = scratch,
                                .out_rows = plan.outputs,
                                .a_next = plan.y_step(),
                                .b_next = plan.x_step(),
                                .out_next = plan.sum_step()},
                    b > first_block);
  }
  with_tile(plan.m, [&](auto m) { store_weights<m>(plan, outputs, channels, Cg, scratch, dw + (group * Og + o0) * 9 * Cg + c0); });
}

template <class T>
void compute_grad_weight(const ConvGeometry& g, const T* dy, const T* x, T* dw, index_t m) {
  const index_t threads = num_threads(), size = g.w_shape().numel();
  const WeightPlan<T> plan(g, m);
  if (plan.blocks == 0) {
    std::fill_n(dw, size, T(0));
    return;
  }
  const index_t most = std::max(plan.outputs, plan.channels), tasks = g.groups * plan.output_blocks * plan.channel_blocks;
  const Scratch<T> zeros(most), scratch(threads * plan.scratch_size()), parts(plan.slots > 1 ? plan.slots * size : 1);
  std::fill_n(zeros.data(), most, T(0));
  parallel_workers(plan.slots * tasks, [&](index_t task, int worker) {
    const index_t slot = task / tasks, group = task / (plan.output_blocks * plan.channel_blocks) % g.groups;
    const index_t o0 = task / plan.channel_blocks % plan.output_blocks * plan.outputs, c0 = task % plan.channel_blocks * plan.channels;
    weight_block(g, plan, group, o0, c0, slot, dy, x, zeros.data(), scratch.data() + worker * plan.scratch_size(),
                 plan.slots > 1 ? parts.data() + slot * size : dw);
  });
  if (plan.slots == 1) return;
  parallel_for(size, 1 << 14, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      T sum = 0;
      for (index_t slot = 0; slot < plan.slots; ++slot) sum += parts.data()[slot * size + i];
      dw[i] = sum;
    }
  });
}

/// dw = the derivative of <dy, w * x>, by tiles of m x m for m = 4 or 2. See reference::conv2d_grad_weight for the formula.
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw, int m) {
  compute_grad_weight(g, dy.data, x.data, dw.data, m);
}
template <class T>
void conv2d_grad_weight(const ConvGeometry& g, ConstView<T> dy, ConstView<T> x, View<T> dw) {
  conv2d_grad_weight(g, dy, x, dw, tile_size(g, ConvPass::grad_weight));
}

}  // namespace segnet::kernels::winograd::inline SEGNET_LAYOUT
