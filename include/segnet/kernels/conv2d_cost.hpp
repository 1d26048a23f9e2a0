// What each algorithm of convolution costs on the CPU, by shape and pass: a few numbers that `ConvAlgorithm::automatic` compares.
//
// Time is counted in cycles in which a core could issue two fused multiply-adds of its widest vectors. Products run at a share of that
// speed which depends on how well channels fill vectors; what is transformed or copied besides moves through the second-level cache and
// what lies behind it, at so many bytes a cycle. The constants were measured with AVX-512 and are kept for the other instruction sets:
// narrower vectors slow down products and transforms alike.
#pragma once

#include <array>
#include <cmath>
#include <cstdio>

#include "segnet/kernels/conv2d_blocks.hpp"
#include "segnet/kernels/conv2d_winograd_tiles.hpp"

namespace segnet::kernels {

/// An estimate; infinite for an algorithm that does not take the shape.
struct ConvCost {
  ConvAlgorithm algorithm;
  double cycles;
};

namespace detail {

/// Vectors that `channels` fill, as a number of full ones.
[[nodiscard]] inline double whole_vectors(index_t channels, index_t lanes) { return static_cast<double>((channels + lanes - 1) / lanes); }

/// Cycles of a product with `rows` * `depth` multiply-adds for each of `columns`, at `share` of the peak.
[[nodiscard]] inline double product_cycles(double rows, double depth, index_t columns, index_t lanes, double share) {
  return rows * depth * whole_vectors(columns, lanes) / (2 * share);
}

[[nodiscard]] inline double winograd_cycles(const ConvGeometry& g, ConvPass pass, index_t lanes, double element) {
  if (!winograd::takes(g)) return INFINITY;
  const bool back = pass == ConvPass::grad_input;
  const index_t m = winograd::tile_size(g, pass), K = back ? g.group_outputs() : g.group_inputs(),
                O = back ? g.group_inputs() : g.group_outputs();
  const auto tiles = static_cast<double>(winograd::Tiling(g.N, back ? g.H : g.OH, back ? g.W : g.OW, 0, g.dilation, m).size());
  const auto positions = static_cast<double>((m + 2) * (m + 2)), groups = static_cast<double>(g.groups);
  // Bytes of all positions, per channel or output of a group, of whole vectors.
  const double vector = element * static_cast<double>(lanes), in = whole_vectors(K, lanes) * vector, out = whole_vectors(O, lanes) * vector;
  const double products = product_cycles(tiles * positions, static_cast<double>(K), O, lanes, 0.85);
  if (pass == ConvPass::grad_weight) {
    // Tiles of x are transformed once for each block of 64 or 128 outputs, tiles of dy for each block of channels.
    const double block = std::max(K, O) > 256 ? 128 : 64;
    const double x = tiles * in * std::ceil(static_cast<double>(O) / block), dy = tiles * out * std::ceil(static_cast<double>(K) / block);
    return groups * (products + positions * (x + dy) / 7);
  }
  // U is made once if it stays in the cache, else for each block of tiles.
  const double u = positions * static_cast<double>(K) * out, block = std::clamp(24000 / static_cast<double>(K), 24.0, 64.0);
  const double made = groups * u <= (1 << 20) ? 1 : std::ceil(tiles / block);
  return groups * (products + positions * tiles * (in / 5 + out / 6) + u * made / 8);
}

}  // namespace detail

/// Estimates for every algorithm that is meant to be fast, for elements of `element` bytes with this processor's instruction set.
[[nodiscard]] inline std::array<ConvCost, 4> conv2d_costs(const ConvGeometry& g, ConvPass pass, std::size_t element = sizeof(float)) {
  const auto size = static_cast<double>(element);
  const index_t lanes = vector_bytes(current_isa()) / static_cast<index_t>(element);
  const bool depthwise = g.groups == g.C && g.groups == g.O, back = pass == ConvPass::grad_input;
  const auto pixels = static_cast<double>(g.N * g.OH * g.OW), taps = static_cast<double>(g.taps()), groups = static_cast<double>(g.groups);
  const index_t K = back ? g.group_outputs() : g.group_inputs(), O = back ? g.group_inputs() : g.group_outputs();
  const double packed = size * static_cast<double>(g.w_shape().numel()), patches = pixels * taps * static_cast<double>(g.C) * size;
  // A weight gradient's vectors run over taps and channels together.
  const double implicit =
      pass == ConvPass::grad_weight
          ? groups * pixels * detail::product_cycles(1, static_cast<double>(g.group_outputs()), g.taps() * g.group_inputs(), lanes, 0.8)
          : groups * pixels * taps * static_cast<double>(K * O) / static_cast<double>(2 * lanes) /
                    (0.92 * best_block(g, back, lanes).efficiency) +
                packed / 4;
  // What the caches deliver to a vector of pixels, and multiply-adds in between.
  const double one_by_one = depthwise ? pixels * detail::whole_vectors(g.C, lanes) * (12 + 0.75 * taps) : INFINITY;
  return {{{ConvAlgorithm::implicit_gemm, implicit},
           {ConvAlgorithm::im2col_gemm, implicit + 2 * patches / 5},
           {ConvAlgorithm::winograd, detail::winograd_cycles(g, pass, lanes, size)},
           {ConvAlgorithm::depthwise, one_by_one}}};
}

/// "implicit_gemm 1.2e+06, im2col_gemm 1.9e+06, winograd 4.1e+05 cycles"
[[nodiscard]] inline std::string to_string(const std::array<ConvCost, 4>& costs) {
  std::string text;
  for (const ConvCost& cost : costs) {
    if (cost.cycles == INFINITY) continue;
    char number[32];
    std::snprintf(number, sizeof number, " %.3g", cost.cycles);
    text += (text.empty() ? "" : ", ") + std::string(to_string(cost.algorithm)) + number;
  }
  return text + " cycles";
}

/// What `automatic` is on the CPU: the cheapest, for a batch of one, so that an image's result does not depend on its company. Depth-wise
/// wherever it is possible. Winograd's sums are rounded more often: not in double, which is asked for where digits count, and not in
/// small convolutions, which take less than a millisecond anyway.
[[nodiscard]] inline ConvAlgorithm cheapest_algorithm(ConvGeometry g, ConvPass pass, std::size_t element) {
  constexpr double small = 1e8;  // operations
  if (g.groups == g.C && g.groups == g.O) return ConvAlgorithm::depthwise;
  if (element != sizeof(float) || g.N == 0) return ConvAlgorithm::implicit_gemm;
  g.N = 1;
  ConvCost best{ConvAlgorithm::implicit_gemm, INFINITY};
  for (const ConvCost& cost : conv2d_costs(g, pass, element))
    if (cost.cycles < best.cycles && (cost.algorithm != ConvAlgorithm::winograd || flops(g) >= small)) best = cost;
  return best.algorithm;
}

}  // namespace segnet::kernels
