#include "mma.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "races.hpp"
#include "segnet/kernels/simd.hpp"

namespace segnet::emulated {

void fault(const char* what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what);
  std::abort();
}

void WarpSums::load(float* const (&lanes)[warp_size]) {
  for (unsigned l = 0; l < warp_size; ++l)
    for (unsigned j = 0; j < columns_ / 8; ++j)
      for (unsigned h = 0; h < 2; ++h) std::memcpy(&sum_[8 * h + l / 4][8 * j + l % 4 * 2], lanes[l] + 4 * j + 2 * h, 2 * sizeof(float));
}
void WarpSums::store(float* const (&lanes)[warp_size]) const {
  for (unsigned l = 0; l < warp_size; ++l)
    for (unsigned j = 0; j < columns_ / 8; ++j)
      for (unsigned h = 0; h < 2; ++h) std::memcpy(lanes[l] + 4 * j + 2 * h, &sum_[8 * h + l / 4][8 * j + l % 4 * 2], 2 * sizeof(float));
}
void WarpSums::multiply(const A& a, const B& b, unsigned depth, bool add) {
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = kernels::Simd<float, isa>;
    constexpr unsigned rows = 8;  // in registers
    for (unsigned row = 0; row < 16; row += rows)
      for (unsigned column = 0; column < columns_; column += S::lanes) {
        typename S::Vector part[rows] = {};
        for (unsigned k = 0; k < depth; ++k) {
          const typename S::Vector v = S::load(&b[k][column]);
          SEGNET_UNROLL for (unsigned r = 0; r < rows; ++r) part[r] += a[row + r][k] * v;
        }
        for (unsigned r = 0; r < rows; ++r) {
          float* const to = &sum_[row + r][column];
          S::at(to) = add ? S::load(to) + part[r] : part[r];
        }
      }
  });
}

namespace {

/// What a lane brings.
struct Fragments {
  float* c;
  const cuda::mma::Factors* factors;
};

/// 32 bytes of the inner dimension: numbers(word, to, apart) puts the 4 / size elements of a word of it that far apart.
template <unsigned per_word, class Numbers>
void multiply(float* c, unsigned columns, std::initializer_list<cuda::mma::Factors> factors, const Numbers& numbers) {
  warp_together(Fragments{c, factors.begin()}, [&](auto& all) {
    float* lanes[warp_size];
    for (unsigned l = 0; l < warp_size; ++l) lanes[l] = all[l]->c;
    WarpSums sums(8 * columns);
    sums.load(lanes);
    for (std::size_t pair = 0; pair < factors.size(); ++pair) {
      alignas(64) WarpSums::A a;
      alignas(64) WarpSums::B b;
      for (unsigned l = 0; l < warp_size; ++l) {
        const auto& mine = all[l]->factors[pair];
        const unsigned g = l / 4, t = l % 4;
        for (unsigned word = 0; word < 4; ++word)  // a0: row g, a1: row g + 8, both in the first half; a2, a3: the same in the second
          numbers(mine.a[word], &a[g + word % 2 * 8][(word / 2 * 4 + t) * per_word], 1);
        for (unsigned j = 0; j < columns; ++j)
          for (unsigned word = 0; word < 2; ++word)
            numbers(mine.b[2 * j + word], &b[(word * 4 + t) * per_word][8 * j + g], WarpSums::most_columns);
      }
      sums.multiply(a, b, 8 * per_word, true);
    }
    sums.store(lanes);
  });
}

float as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }

}  // namespace
}  // namespace segnet::emulated

namespace segnet::cuda::mma {

using emulated::dynamic_shared, emulated::exchange, emulated::lane;

void load_matrices(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row) {
  emulated::races::reads(dynamic_shared() + row, 16);
  exchange(row, [&, l = lane(), shared = dynamic_shared()](auto& all) {
    unsigned* const to[] = {&r0, &r1, &r2, &r3};
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned from = *all[8 * i + l / 4];
      if (from % 16 != 0) emulated::fault("ldmatrix from an address that is no multiple of 16");
      std::memcpy(to[i], shared + from + l % 4 * 4, 4);
    }
  });
}
void load_matrices_transposed(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row) {
  emulated::races::reads(dynamic_shared() + row, 16);
  exchange(row, [&, l = lane(), shared = dynamic_shared()](auto& all) {
    unsigned* const to[] = {&r0, &r1, &r2, &r3};
    for (unsigned i = 0; i < 4; ++i) {
      std::uint16_t two[2];
      for (unsigned e = 0; e < 2; ++e) {
        const unsigned from = *all[8 * i + l % 4 * 2 + e];
        if (from % 16 != 0) emulated::fault("ldmatrix from an address that is no multiple of 16");
        std::memcpy(&two[e], shared + from + l / 4 * 2, 2);
      }
      *to[i] = two[0] | static_cast<unsigned>(two[1]) << 16;
    }
  });
}

void multiply_bf16(float* c, unsigned columns, std::initializer_list<Factors> factors) {
  emulated::multiply<2>(c, columns, factors, [](unsigned word, float* to, unsigned apart) {
    to[0] = emulated::as_float(word << 16);
    to[apart] = emulated::as_float(word & 0xffff0000u);
  });
}
void multiply_tf32(float* c, unsigned columns, std::initializer_list<Factors> factors) {
  emulated::multiply<1>(c, columns, factors, [](unsigned word, float* to, unsigned) { *to = emulated::as_float(word & 0xffffe000u); });
}

}  // namespace segnet::cuda::mma
