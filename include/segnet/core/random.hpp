// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// Element i of a fill depends on (seed, offset, i) alone: the same bits on every device and for any number of threads.
#pragma once

#include <cmath>

#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"

namespace segnet {

struct Philox {
  std::uint32_t r[4];

  /// The block of four 32-bit numbers at `counter` of the stream that (key, stream) name.
  SEGNET_HOST_DEVICE static Philox block(std::uint64_t key, std::uint64_t stream, std::uint64_t counter) {
    std::uint32_t c[4] = {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                          static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
    std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0], p1 = std::uint64_t{0xCD9E8D57u} * c[2];
      const std::uint32_t h0 = static_cast<std::uint32_t>(p0 >> 32), h1 = static_cast<std::uint32_t>(p1 >> 32);
      c[0] = h1 ^ c[1] ^ k0;
      c[1] = static_cast<std::uint32_t>(p1);
      c[2] = h0 ^ c[3] ^ k1;
      c[3] = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    return {{c[0], c[1], c[2], c[3]}};
  }
};

/// A stream of random numbers: a seed, and how many fills or draws were taken from it. Copy it to replay; both numbers are
/// its whole state, which is what a checkpoint stores.
struct Generator {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;

  /// The stream number of the next fill.
  std::uint64_t next() { return offset++; }
  /// One number, uniform in [0, 2^64).
  std::uint64_t bits() {
    const Philox p = Philox::block(seed, next(), 0);
    return (std::uint64_t{p.r[0]} << 32) | p.r[1];
  }
  /// One number, uniform in [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// One integer, uniform in [0, n).
  index_t below(index_t n) { return static_cast<index_t>(uniform() * static_cast<double>(n)); }
  /// One number of the standard normal distribution.
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
  }
  /// An independent stream, for worker `id` or item `id`.
  [[nodiscard]] Generator split(std::uint64_t id) const {
    const Philox p = Philox::block(seed, ~std::uint64_t{0}, id);
    return {(std::uint64_t{p.r[0]} << 32) | p.r[1], 0};
  }
};

/// The stream that layers such as Dropout draw from, one per thread. Assign to it to seed: `default_generator() = {42};`
[[nodiscard]] inline Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

namespace detail {
/// a + b c, both steps rounded, as CPUs without fused multiply-add do: all devices draw the same bits.
[[nodiscard]] SEGNET_HOST_DEVICE inline double multiply_then_add(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
  return __dadd_rn(a, __dmul_rn(b, c));
#else
  return a + b * c;
#endif
}
struct UniformNumbers {
  double low, high;
  SEGNET_HOST_DEVICE void operator()(double u, double v, double& a, double& b) const {
    a = multiply_then_add(low, high - low, u - 0x1p-32);
    b = multiply_then_add(low, high - low, v);
  }
};
/// Box-Muller
struct NormalNumbers {
  double mean, std;
  SEGNET_HOST_DEVICE void operator()(double u, double v, double& a, double& b) const {
    const double radius = std * ::sqrt(-2 * ::log(u)), angle = 6.283185307179586 * v;
    a = multiply_then_add(mean, radius, ::cos(angle));
    b = multiply_then_add(mean, radius, ::sin(angle));
  }
};

/// dst[i] = transform(u, v) with u in (0, 1], v in [0, 1): 32 random bits each for two elements of a block.
template <class T, class F>
void random_fill(View<T, Cpu> dst, Generator& generator, const F& transform) {
  const std::uint64_t seed = generator.seed, stream = generator.next();
  const index_t n = dst.size();
  parallel_for((n + 3) / 4, 4096, [&](index_t begin, index_t end) {
    for (index_t b = begin; b < end; ++b) {
      const Philox p = Philox::block(seed, stream, static_cast<std::uint64_t>(b));
      double values[4];
      for (int k = 0; k < 4; k += 2) {
        const double u = (p.r[k] + 1.0) * 0x1p-32, v = p.r[k + 1] * 0x1p-32;
        transform(u, v, values[k], values[k + 1]);
      }
      for (index_t k = 0; k < 4 && b * 4 + k < n; ++k) dst[b * 4 + k] = static_cast<T>(values[k]);
    }
  });
}
template <class T, class F>
void random_fill(View<T, Cuda> dst, Generator& generator, const F& transform);  // cuda/random.cuh
}  // namespace detail

/// Overwrites t with numbers uniform in [low, high).
template <class T, class D>
void fill_uniform(const Tensor<T, D>& t, Generator& generator, double low = 0, double high = 1) {
  detail::random_fill(t.view(), generator, detail::UniformNumbers{low, high});
}
/// Overwrites t with normally distributed numbers (Box-Muller). (Devices' logarithms and cosines may differ in the last bit of a double.)
template <class T, class D>
void fill_normal(const Tensor<T, D>& t, Generator& generator, double mean = 0, double std = 1) {
  detail::random_fill(t.view(), generator, detail::NormalNumbers{mean, std});
}
/// A new tensor of numbers uniform in [low, high).
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> random_uniform(const Shape& shape, Generator& generator, double low = 0, double high = 1) {
  Tensor<T, D> t(shape);
  fill_uniform(t, generator, low, high);
  return t;
}
/// A new tensor of normally distributed numbers.
template <class T, class D = Cpu>
[[nodiscard]] Tensor<T, D> random_normal(const Shape& shape, Generator& generator, double mean = 0, double std = 1) {
  Tensor<T, D> t(shape);
  fill_normal(t, generator, mean, std);
  return t;
}

}  // namespace segnet
