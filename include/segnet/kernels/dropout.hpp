// Dropout: which elements stay is a function of (seed, stream, element) alone, so that nobody needs to store it.
#pragma once

#include "segnet/core/bfloat16.hpp"
#include "segnet/core/compiled.hpp"
#include "segnet/core/random.hpp"
#include "segnet/kernels/channels.hpp"

namespace segnet::kernels {

/// Element i stays if its 32 random bits, word i % 4 of Philox::block(seed, stream, i / 4), are at least p * 2^32.
struct DropoutMask {
  std::uint64_t seed, stream;
  double p;  ///< in [0, 1]; 1 keeps nothing

  SEGNET_HOST_DEVICE std::uint32_t threshold() const { return p < 1 ? static_cast<std::uint32_t>(p * 4294967296.0) : 0xFFFFFFFFu; }
  /// What the elements that stay are multiplied by.
  SEGNET_HOST_DEVICE double factor() const { return p < 1 ? 1 / (1 - p) : 0; }
  SEGNET_HOST_DEVICE bool keeps(index_t i) const {
    return Philox::block(seed, stream, static_cast<std::uint64_t>(i / 4)).r[i % 4] >= threshold();
  }
};

namespace detail {

/// bits[4 * b + k] = Philox::block(seed, stream, first + b).r[k] for b < blocks: the same rounds, side by side in vectors.
template <int blocks>
SEGNET_INLINE void philox_blocks(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::uint32_t* bits) {
  std::uint32_t c0[blocks], c1[blocks], c2[blocks], c3[blocks];
  for (int b = 0; b < blocks; ++b) {
    const std::uint64_t counter = first + static_cast<std::uint64_t>(b);
    c0[b] = static_cast<std::uint32_t>(counter);
    c1[b] = static_cast<std::uint32_t>(counter >> 32);
    c2[b] = static_cast<std::uint32_t>(stream);
    c3[b] = static_cast<std::uint32_t>(stream >> 32);
  }
  auto k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    for (int b = 0; b < blocks; ++b) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[b], p1 = std::uint64_t{0xCD9E8D57u} * c2[b];
      c0[b] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[b] ^ k0;
      c1[b] = static_cast<std::uint32_t>(p1);
      c2[b] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[b] ^ k1;
      c3[b] = static_cast<std::uint32_t>(p0);
    }
  for (int b = 0; b < blocks; ++b) {
    bits[4 * b] = c0[b];
    bits[4 * b + 1] = c1[b];
    bits[4 * b + 2] = c2[b];
    bits[4 * b + 3] = c3[b];
  }
}

}  // namespace detail

/// y[i] = x[i] / (1 - p) where the mask keeps element i, else 0. Its own transpose.
template <class T>
void dropout(const DropoutMask& mask, ConstView<T, Cuda> x, View<T, Cuda> y);  // cuda/dropout.cuh
template <class T>
void dropout(const DropoutMask& mask, ConstView<T, Cpu> x, View<T, Cpu> y) {
  constexpr int blocks = 16, group = 4 * blocks;
  const index_t n = x.size();
  const T factor = static_cast<T>(mask.factor());
  const std::uint32_t threshold = mask.threshold();
  parallel_for((n + group - 1) / group, 256, [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      std::uint32_t bits[group];
      for (index_t g = begin; g < end; ++g) {
        detail::philox_blocks<blocks>(mask.seed, mask.stream, static_cast<std::uint64_t>(g * blocks), bits);
        const T* in = x.data + g * group;
        T* out = y.data + g * group;
        if (n - g * group >= group)
          assign<group>(out, [&](int i) SEGNET_INLINE_LAMBDA {
            const T scaled = in[i] * factor;
            return bits[i] >= threshold ? scaled : T(0);
          });
        else
          for (index_t i = 0; i < n - g * group; ++i) out[i] = bits[i] >= threshold ? in[i] * factor : T(0);
      }
    });
  });
}

/// y[n, p, c] = x[n, p, c] * factors[n, c], x [N, P, C]
template <class T>
void scale_channels(index_t P, ConstView<T, Cuda> x, ConstView<Master<T>, Cuda> factors, View<T, Cuda> y);
template <class T>
void scale_channels(index_t P, ConstView<T, Cpu> x, ConstView<T, Cpu> factors, View<T, Cpu> y) {
  const index_t C = factors.dim(1);
  parallel_for(factors.dim(0) * P, std::max<index_t>(1, (index_t{1} << 15) / std::max<index_t>(C, 1)), [&](index_t begin, index_t end) {
    vectorized([&]() SEGNET_INLINE_LAMBDA {
      for (index_t r = begin; r < end; ++r) {
        const T* factor = factors.data + r / P * C;
        for_channels<T>(C, [&](index_t c, auto count) SEGNET_INLINE_LAMBDA {
          const T* in = x.data + r * C + c;
          assign<count()>(y.data + r * C + c, [&](int i) SEGNET_INLINE_LAMBDA { return in[i] * factor[c + i]; });
        });
      }
    });
  });
}

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_DROPOUT(TEMPLATE, T)                         \
  TEMPLATE void dropout(const DropoutMask&, ConstView<T>, View<T>); \
  TEMPLATE void scale_channels(index_t, ConstView<T>, ConstView<T>, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_DROPOUT)

}  // namespace segnet::kernels
