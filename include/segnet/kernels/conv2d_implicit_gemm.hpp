// Convolution as a matrix product whose left operand is never built: row p of it is the patch under output pixel p, read
// through pointers into the image (Dukhan, "The indirect convolution algorithm", arXiv:1907.02129). The gradient to the input is
// the same product over dy; see conv2d_gather.hpp.
//
// Where a tile of pixels lies inside the image, dilation is 1 and there is one group, the kw * C numbers under a row of the
// kernel are adjacent, and read as one run: this is what makes the stem (C = 3) fast.
#pragma once

#include "segnet/kernels/conv2d_gather.hpp"

namespace segnet::kernels::implicit_gemm::inline SEGNET_LAYOUT {

/// The product of a gathered image with packed weights: panels of group i begin at b.data + i * group_stride.
template <class T>
void multiply(const Gather<T>& gather, const PackedPanels<T>& b, index_t groups, index_t group_stride) {
  const index_t height = b.tile_height();
  const index_t tiles = (gather.size() + height - 1) / height, panels = b.count();
  const bool merge = gather.merges();
  // A team is a few tiles whose pointers are computed once for all panels, and whose pixels stay in the cache meanwhile.
  const index_t pixels_bytes = height * gather.run * static_cast<index_t>(sizeof(T));
  const index_t team = std::clamp<index_t>((1 << 19) / pixels_bytes, 4, 16);
  const index_t teams = (tiles + team - 1) / team;
  // A task is as many teams as make up for starting it; where that leaves threads idle, it has a part of the panels instead.
  const double team_flops = 2.0 * static_cast<double>(team * height * b.depth) * static_cast<double>(b.columns);
  const index_t grain = std::clamp<index_t>(static_cast<index_t>(4e6 / std::max(team_flops, 1.0)), 1, std::max<index_t>(teams, 1));
  const index_t pieces = (teams + grain - 1) / grain, threads = num_threads();
  const index_t splits =
      std::clamp<index_t>(pieces * groups >= 4 * threads ? 1 : 4 * threads / std::max<index_t>(pieces * groups, 1), 1, panels);
  const index_t panels_each = (panels + splits - 1) / splits;

  const index_t rows_each = team * height * gather.taps() + pointer_slack, outs_each = team * height + pointer_slack;
  const Scratch<const T*> all_rows(threads * rows_each);
  const Scratch<T*> all_outs(threads * outs_each);
  const Scratch<Tile<T>> all_tiles(threads * team);
  parallel_workers(groups * splits * pieces, [&](index_t task, int worker) {
    const index_t group = task / (splits * pieces), split = task / pieces % splits, piece = task % pieces;
    const index_t first = split * panels_each, last = std::min(panels, first + panels_each);
    const T** rows = all_rows.data() + worker * rows_each;
    T** outs = all_outs.data() + worker * outs_each;
    Tile<T>* list = all_tiles.data() + worker * team;
    PackedPanels<T> mine = b;
    mine.data += group * group_stride;
    if (mine.bias) mine.bias += group * PackedPanels<T>::rounded(b.columns);
    const index_t end = std::min(tiles, (piece + 1) * grain * team);
    Position at = gather.position(piece * grain * team * height);
    for (index_t begin = piece * grain * team; begin < end; begin += team) {
      const index_t count = std::min(team, end - begin);
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        for (index_t t = 0; t < count; ++t)
          list[t] = gather.template tile<decltype(isa)::value>(at, height, std::min(height, gather.size() - (begin + t) * height),
                                                               group * gather.run, group * b.columns, merge,
                                                               rows + t * height * gather.taps(), outs + t * height);
      });
      multiply_tiles(list, count, mine, first, last, false);
    }
  });
}

/// Biases of all groups, each group rounded up to whole vectors.
template <class T>
void pack_bias(const T* b, index_t groups, index_t columns, T* to) {
  const index_t rounded = PackedPanels<T>::rounded(columns);
  for (index_t i = 0; i < groups * rounded; ++i) to[i] = i % rounded < columns ? b[i / rounded * columns + i % rounded] : T(0);
}

/// Packed weights of one group, and what is done to their sums. `bias` is the padded shift.
template <class T>
PackedPanels<T> panels_with(const Epilogue<T>& e, const T* packed, const T* bias, index_t depth, index_t columns, const T* result) {
  return {packed, e.shift ? bias : nullptr, depth, columns, columns <= PackedPanels<T>::lanes(), e.activation, e.residual, result};
}

/// y = x * w, and the epilogue. See reference::conv2d for the formula.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const index_t rounded = PackedPanels<T>::rounded(Og), width = PackedPanels<T>::width(), panels = (Og + width - 1) / width;
  const Scratch<T> packed(g.groups * depth * rounded), bias(e.shift ? g.groups * rounded : 1), zeros(Cg);
  parallel_for(g.groups * panels, std::max<index_t>(1, (1 << 14) / (width * depth)), [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t group = i / panels, column = i % panels * width, count = std::min(width, Og - column);
      const index_t padded = std::min(width, rounded - column);
      T* panel = packed.data() + (group * rounded + column) * depth;
      pack_panel_transposed(&w[(group * Og + column) * depth], depth, depth, count, padded, panel,
                            e.scale ? e.scale + group * Og + column : nullptr);
    }
  });
  if (e.shift) pack_bias(e.shift, g.groups, Og, bias.data());
  std::fill_n(zeros.data(), Cg, T(0));

  const Gather<T> gather = forward_gather(g, x.data, y.data, static_cast<const T*>(zeros.data()));
  multiply(gather, panels_with<T>(e, packed.data(), bias.data(), depth, Og, y.data), g.groups, depth * rounded);
}

/// dx = dy * w^T, and the epilogue. See reference::conv2d_grad_input for the formula.
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  const index_t Cg = g.group_inputs(), Og = g.group_outputs();
  const index_t rounded = PackedPanels<T>::rounded(Cg), width = PackedPanels<T>::width(), panels = (Cg + width - 1) / width;
  const Scratch<T> packed(g.groups * g.taps() * Og * rounded), bias(e.shift ? g.groups * rounded : 1), zeros(Og);
  if (e.shift) pack_bias(e.shift, g.groups, Cg, bias.data());
  std::fill_n(zeros.data(), Og, T(0));

  for_each_phase(g, dy.data, dx.data, static_cast<const T*>(zeros.data()),
                 [&](const Gather<T>& gather, const Offsets& kis, const Offsets& kjs) {
                   const index_t taps = gather.taps(), depth = taps * Og;
                   parallel_for(g.groups * panels, std::max<index_t>(1, (1 << 16) / (width * depth + 1)), [&](index_t begin, index_t end) {
                     for (index_t i = begin; i < end; ++i) {
                       const index_t group = i / panels, column = i % panels * width, padded = std::min(width, rounded - column);
                       const index_t count = std::min(width, Cg - column);
                       T* panel = packed.data() + (group * rounded + column) * depth;
                       for (index_t t = 0; t < taps; ++t) {
                         const index_t ki = kis[t / kjs.size()], kj = kjs[t % kjs.size()];
                         pack_panel(&w[(group * Og * g.taps() + ki * g.kw + kj) * Cg + column], g.taps() * Cg, Og, count, padded,
                                    panel + t * Og * padded, e.scale ? e.scale + group * Cg + column : nullptr);
                       }
                     }
                   });
                   multiply(gather, panels_with<T>(e, packed.data(), bias.data(), depth, Cg, dx.data), g.groups, depth * rounded);
                 });
}

}  // namespace segnet::kernels::implicit_gemm::inline SEGNET_LAYOUT
