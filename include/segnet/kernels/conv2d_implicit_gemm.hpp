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
  const bool copies = gather.competes() && gather.taps() == 1 && b.depth <= 2048 && b.count() > 2, blocks = gather.block != Extent2(1);
  // A team is a few tiles whose pointers are computed once for all panels, and whose pixels stay in the cache meanwhile. Where all panels
  // stay there, it is one tile (shallow ones see to that themselves), and results are written row by row.
  const index_t pixels_bytes = height * gather.run * static_cast<index_t>(sizeof(T));
  const bool cached = b.depth * b.columns <= (1 << 15);
  const index_t team = cached && !b.shallow() ? 1 : std::clamp<index_t>((1 << 19) / pixels_bytes, 4, 16);
  const index_t pitch = b.depth + 64 / static_cast<index_t>(sizeof(T));  // a copy's rows do not compete
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
  const index_t copy_each = copies ? team * height * pitch : 0, sums_each = blocks ? team * height * b.columns : 0;
  const Scratch<T> all_copies(threads * copy_each), all_sums(threads * sums_each);
  parallel_workers(groups * splits * pieces, [&](index_t task, int worker) {
    const index_t group = task / (splits * pieces), split = task / pieces % splits, piece = task % pieces;
    const index_t first = split * panels_each, last = std::min(panels, first + panels_each);
    const T** rows = all_rows.data() + worker * rows_each;
    T** outs = all_outs.data() + worker * outs_each;
    Tile<T>* list = all_tiles.data() + worker * team;
    T *copy = all_copies.data() + worker * copy_each, *sums = all_sums.data() + worker * sums_each;
    PackedPanels<T> mine = b;
    mine.data += group * group_stride;
    if (mine.bias) mine.bias += group * PackedPanels<T>::rounded(b.columns);
    const index_t end = std::min(tiles, (piece + 1) * grain * team);
    Position at = gather.position(piece * grain * team * height);
    for (index_t begin = piece * grain * team; begin < end; begin += team) {
      const index_t count = std::min(team, end - begin);
      const Position start = at;
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        constexpr Isa set = decltype(isa)::value;
        for (index_t t = 0; t < count; ++t) {
          const index_t valid = std::min(height, gather.size() - (begin + t) * height), from = group * gather.run, to = group * b.columns;
          const T** row = rows + t * height * gather.taps();
          T** out = outs + t * height;
          list[t] = gather.template tile<set>(at, height, valid, from, to, merge, row, out, true);
          if (copies && *row)
            for (index_t m = 0; m < valid; ++m) row[m] = std::copy_n(row[m], b.depth, copy + (t * height + m) * pitch) - b.depth;
          if (blocks) fill_pointers<set>(out, sums, t * height * b.columns, b.columns, height);
        }
      });
      multiply_tiles(list, count, mine, first, last, false);
      if (blocks) gather.store_blocks(start, std::min(count * height, gather.size() - begin * height), sums);
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

/// Either pass, in blocks of pixels: the source is x, or dy if `back`.
template <class T>
void conv2d_in_blocks(const ConvGeometry& g, bool back, Extent2 block, const T* source, const T* w, const Epilogue<T>& e, T* out) {
  const BlockAxis rows = ConvBlock::rows(g, block.h, back), columns = ConvBlock::columns(g, block.w, back);
  const index_t K = back ? g.O : g.C, C = back ? g.C : g.O, width = block.h * block.w * C, rounded = PackedPanels<T>::rounded(width);
  const Scratch<T> zeros(K), bias(e.shift ? rounded : 1);
  std::fill_n(zeros.data(), K, T(0));
  if (e.shift)
    for (index_t i = 0; i < rounded; ++i) bias.data()[i] = i < width ? e.shift[i % C] : T(0);

  const Gather<T> gather = block_gather(g, back, rows, columns, source, out, static_cast<const T*>(zeros.data()));
  const index_t depth = gather.taps() * K, J = gather.column.size();
  const Scratch<T> packed(depth * rounded);
  std::fill_n(packed.data(), depth * rounded, T(0));
  // Weight (o, ki, kj, c) under pixel (i, j) of the block belongs to the tap that reads the offsets of both.
  for (index_t row = 0; row < gather.row.size(); ++row)
    for (index_t column = 0; column < J; ++column)
      for (index_t ki = 0, i; ki < g.kh; ++ki)
        for (i = 0; i < block.h; ++i) {
          if (!rows.reaches(i, ki) || rows.offset(i, ki) != gather.row[row]) continue;
          for (index_t kj = 0; kj < g.kw; ++kj)
            for (index_t j = 0; j < block.w; ++j) {
              if (!columns.reaches(j, kj) || columns.offset(j, kj) != gather.column[column]) continue;
              T* to = packed.data() + (row * J + column) * K * rounded + (i * block.w + j) * C;
              const T* from = w + (ki * g.kw + kj) * g.C;
              for (index_t k = 0; k < K; ++k)
                for (index_t c = 0; c < C; ++c) {
                  const T weight = back ? from[k * g.taps() * g.C + c] : from[c * g.taps() * g.C + k];
                  to[k * rounded + c] = e.scale ? weight * e.scale[c] : weight;
                }
            }
        }
  multiply(gather, panels_with<T>(e, packed.data(), bias.data(), depth, width, out), 1, 0);
}

/// The block in which a pass is computed.
template <class T>
Extent2 block_of(const ConvGeometry& g, bool back, const Epilogue<T>& e) {
  return e.residual ? Extent2(1) : best_block(g, back, PackedPanels<T>::lanes()).size;
}

/// y = x * w, and the epilogue. See reference::conv2d for the formula.
template <class T>
void conv2d(const ConvGeometry& g, ConstView<T> x, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> y) {
  if (const Extent2 block = block_of(g, false, e); block != Extent2(1)) return conv2d_in_blocks(g, false, block, x.data, w.data, e, y.data);
  const index_t Cg = g.group_inputs(), Og = g.group_outputs(), depth = g.taps() * Cg;
  const index_t rounded = PackedPanels<T>::rounded(Og), width = PackedPanels<T>::width(), panels = (Og + width - 1) / width;
  // Packed are no more weights at once than stay in the cache until they are multiplied, or a panel a thread: VGG's fc6, a 7x7 convolution,
  // has 10^8.
  const index_t least = std::min<index_t>(num_threads(), panels);
  const index_t each = g.groups > 1 ? panels : std::clamp<index_t>((1 << 21) / (width * std::max<index_t>(depth, 1)), least, panels);
  const Scratch<T> packed(g.groups * depth * std::min(rounded, each * width)), bias(e.shift ? g.groups * rounded : 1), zeros(Cg);
  if (e.shift) pack_bias(e.shift, g.groups, Og, bias.data());
  std::fill_n(zeros.data(), Cg, T(0));

  for (index_t first = 0; first < Og; first += each * width) {
    const index_t columns = std::min(each * width, Og - first), here = (columns + width - 1) / width;
    const index_t padded_columns = PackedPanels<T>::rounded(columns);
    parallel_for(g.groups * here, std::max<index_t>(1, (1 << 14) / (width * depth)), [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t group = i / here, column = i % here * width, count = std::min(width, columns - column);
        const index_t padded = std::min(width, padded_columns - column), o = group * Og + first + column;
        pack_panel_transposed(&w[o * depth], depth, depth, count, padded, packed.data() + (group * padded_columns + column) * depth,
                              e.scale ? e.scale + o : nullptr);
      }
    });
    const Gather<T> gather = forward_gather(g, x.data, y.data + first, static_cast<const T*>(zeros.data()));
    multiply(gather, panels_with<T>(e, packed.data(), bias.data() + first, depth, columns, y.data), g.groups, depth * padded_columns);
  }
}

/// dx = dy * w^T, and the epilogue. See reference::conv2d_grad_input for the formula.
template <class T>
void conv2d_grad_input(const ConvGeometry& g, ConstView<T> dy, ConstView<T> w, const Epilogue<std::type_identity_t<T>>& e, View<T> dx) {
  if (const Extent2 block = block_of(g, true, e); block != Extent2(1)) return conv2d_in_blocks(g, true, block, dy.data, w.data, e, dx.data);
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
