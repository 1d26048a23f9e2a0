// What Winograd convolution does with the weight: U = G g G^T for each pair of channels, of either direction.
#pragma once

#include "segnet/kernels/conv2d_winograd_tiles.hpp"

namespace segnet::kernels::winograd::inline SEGNET_LAYOUT {

/// The weight [O, 3, 3, C / groups] of a convolution, as its forward pass reads it or, `transposed`, the gradient to the input: then K
/// counts outputs of the convolution, O its inputs, and the taps run backwards.
///
/// U is made of blocks [tap][k][o] of as many channels k and outputs o as a vector has lanes. They are gathered where they are needed, or
/// ahead, for all that read them: lines that lie far apart take the longest to fetch.
template <class T>
struct Weight {
  const T* data;
  index_t K, O;  // of a group
  bool transposed;

  /// Channels [k, k + depth) and outputs [o, o + width) of a group. `width` is in whole vectors; outputs that do not exist get any numbers.
  struct Part {
    index_t group, k, depth, o, width;
  };

  /// Numbers that the blocks of a part take.
  static index_t packed_size(index_t depth, index_t width) { return 9 * round_up(depth, PackedPanels<T>::lanes()) * width; }

  /// The blocks of a part, one behind the other. Channels run inside, and little is fetched ahead of its use: where numbers of channels are
  /// powers of two, what lies a row away shares few sets of the cache.
  void pack(const Part& part, T* packed) const {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      using S = Simd<T, decltype(isa)::value>;
      for (index_t o = 0; o < part.width; o += S::lanes)
        for (index_t k = 0; k < part.depth; k += S::lanes, packed += 9 * S::lanes * S::lanes) gather<S>(part, k, o, true, packed);
    });
  }

  /// u[position * step + k * part.width + o], from what pack() made, or from the weight if that is null.
  template <int n>
  void transform(const Part& part, const T* packed, T* u, index_t step) const {
    vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
      using S = Simd<T, decltype(isa)::value>;
      constexpr index_t lanes = S::lanes;
      const index_t position = step, width = part.width;  // copies that no store can change
      alignas(64) T block[9 * lanes * lanes];
      for (index_t o = 0; o < width; o += lanes)
        for (index_t k = 0; k < part.depth; k += lanes) {
          const index_t channels = std::min(lanes, part.depth - k);
          // Where taps are read, and what is fetched meanwhile: channels to come, or the next block.
          Steps from{packed ? packed : block, lanes * lanes, lanes}, ahead = from;
          if (packed) packed += 9 * lanes * lanes, ahead.data = packed;
          else if (transposed && o + lanes <= O - part.o) from = steps(part, k, o), ahead = steps(part, k + 2, o);
          else gather<S>(part, k, o, false, block), ahead = {steps(part, k + lanes, o).data, K, 9 * K};
          for (index_t i = 0; i < channels; ++i) {
            const T *source = from.data + i * from.channel, *next = ahead.data + i * ahead.channel;
            T* const to = u + (k + i) * width + o;
            transform_2d<S, 3, n>([](const typename S::Vector(&x)[3], typename S::Vector(&y)[n])
                                      SEGNET_INLINE_LAMBDA { evaluate<S>(matrix_to_positions<3, n>(), x, y); },
                                  [&](int h, int v) SEGNET_INLINE_LAMBDA {
                                    __builtin_prefetch(next + (h * 3 + v) * ahead.tap, 0, 2);
                                    return source + (h * 3 + v) * from.tap;
                                  },
                                  [&](int h, int v, const typename S::Vector& x)
                                      SEGNET_INLINE_LAMBDA { S::at(to + (h * n + v) * position) = x; });
          }
        }
    });
  }

 private:
  /// From one tap, and from one channel, to the next.
  struct Steps {
    const T* data;
    index_t tap, channel;
  };
  Steps steps(const Part& part, index_t k, index_t o) const {
    if (transposed) return {data + ((part.group * K + part.k + k) * 9 + 8) * O + part.o + o, -O, 9 * O};
    return {data + (part.group * O + part.o + o) * 9 * K + part.k + k, K, 1};
  }

  /// A block, turned over in registers where it must be. The last ones repeat an output, and read channels before theirs.
  template <class S>
  SEGNET_INLINE void gather(const Part& part, index_t k, index_t o, bool fetch, T* block) const {
    constexpr index_t lanes = S::lanes;
    const index_t channels = std::min(lanes, part.depth - k), outputs = std::min(lanes, O - part.o - o), output = transposed ? 1 : 9 * K;
    const Steps from = steps(part, k, o);
    for (index_t tap = 0; tap < 9; ++tap, block += lanes * lanes) {
      const T* taps = from.data + tap * from.tap;
      if (!transposed && K >= lanes) {
        const index_t back = lanes - channels;
        typename S::Vector v[lanes];
        SEGNET_UNROLL for (index_t i = 0; i < lanes; ++i) {
          const T* row = taps + std::min(i, outputs - 1) * output;
          if (fetch) __builtin_prefetch(row + lanes, 0, 2);
          v[i] = S::load(row - back);
        }
        kernels::detail::transpose_registers<S>(v);
        SEGNET_UNROLL for (index_t i = 0; i < lanes; ++i) if (i >= back) S::at(block + (i - back) * lanes) = v[i];
      } else if (transposed && outputs == lanes) {
        for (index_t i = 0; i < channels; ++i) {
          const T* row = taps + i * from.channel;
          if (fetch) __builtin_prefetch(row + 2 * from.channel, 0, 2);
          S::at(block + i * lanes) = S::load(row);
        }
      } else {
        for (index_t i = 0; i < channels; ++i)
          for (index_t j = 0; j < lanes; ++j) block[i * lanes + j] = j < outputs ? taps[j * output + i * from.channel] : T(0);
      }
    }
  }
};

}  // namespace segnet::kernels::winograd::inline SEGNET_LAYOUT
