// The instructions of conv2d_implicit_gemm_ptx.cuh in software, by the names that it gives them; PTX ISA 8 and 9, chapters "cp.async",
// "ldmatrix" and "mma". Addresses in shared memory are offsets into the block's dynamic part.
#pragma once

#include <initializer_list>

#include "machine.hpp"
#include "segnet/core/config.hpp"

namespace segnet::emulated {

/// "emulated GPU: <what>" and the end of the process, as a fault of a kernel ends its context.
[[noreturn]] void fault(const char* what);

/// use(what each of the warp's lanes brought), once; all of them must be there.
template <class T, class F>
void warp_together(const T& mine, const F& use) {
  exchange(mine, [&, first = lane() == 0](auto& all) {
    if (!first) return;
    for (const T* one : all)
      if (!one) fault("an instruction for whole warps in a warp of which some threads have returned");
    use(all);
  });
}

/// A [16, columns] matrix that a warp holds as mma and wgmma lay it out: number 4 j + 2 h + i of lane l is row 8 h + l / 4, column
/// 8 j + 2 (l % 4) + i.
class WarpSums {
 public:
  static constexpr unsigned most_columns = 256, most_depth = 16;
  /// Factors of a product: a [16, depth] and, transposed, b [depth, columns].
  using A = float[16][most_depth];
  using B = float[most_depth][most_columns];

  explicit WarpSums(unsigned columns) : columns_(columns) {}  // a multiple of 16
  void load(float* const (&lanes)[warp_size]);
  void store(float* const (&lanes)[warp_size]) const;
  /// += a b, or = a b. The products are added up from zero, rounded to float, and then added; tensor cores cut off instead.
  void multiply(const A& a, const B& b, unsigned depth, bool add);

 private:
  unsigned columns_;
  alignas(64) float sum_[16][most_columns];
};

}  // namespace segnet::emulated

namespace segnet::cuda::mma {

[[nodiscard]] inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(static_cast<const std::byte*>(p) - emulated::dynamic_shared());
}
[[nodiscard]] inline index_t global_address(const void* p) { return reinterpret_cast<index_t>(p); }

inline void copy16(unsigned to, index_t from, bool exists) {
  if (to % 16 != 0 || (exists && from % 16 != 0)) emulated::fault("cp.async of 16 bytes at an address that is no multiple of 16");
  emulated::copy_async(emulated::dynamic_shared() + to, exists ? reinterpret_cast<const void*>(from) : nullptr, 16);
}
inline void commit_copies() { emulated::commit_copies(); }
template <int pending>
void wait_for_copies() {
  emulated::wait_for_copies(pending);
}

void load_matrices(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row);
void load_matrices_transposed(unsigned& r0, unsigned& r1, unsigned& r2, unsigned& r3, unsigned row);

/// A fragment of a and `columns` of b, word by word.
struct Factors {
  const unsigned *a, *b;
};
/// c += a b for one pair of factors after the other.
void multiply_bf16(float* c, unsigned columns, std::initializer_list<Factors> factors);
void multiply_tf32(float* c, unsigned columns, std::initializer_list<Factors> factors);
template <int columns>
void multiply_bf16(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&b)[columns][2]) {
  multiply_bf16(c[0], columns, {{a, b[0]}});
}
template <int columns>
void multiply_tf32(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&b)[columns][2]) {
  multiply_tf32(c[0], columns, {{a, b[0]}});
}
template <int columns>
void multiply_split_tf32(float (&c)[columns][4], const unsigned (&a)[4], const unsigned (&a_low)[4], const unsigned (&b)[columns][2],
                         const unsigned (&b_low)[columns][2]) {
  multiply_tf32(c[0], columns, {{a_low, b[0]}, {a, b_low[0]}, {a, b[0]}});
}

/// Ties go away from zero; NaN stays NaN.
[[nodiscard]] inline unsigned rounded_tf32(unsigned bits) {
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffffffu : (bits + 0x1000u) & 0xffffe000u;
}

}  // namespace segnet::cuda::mma
