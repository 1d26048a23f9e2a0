// Vectors of each instruction set as GNU vector extensions: arithmetic operators, one register each, in g++, clang and nvcc.
#pragma once

#include "segnet/core/isa.hpp"

namespace segnet::kernels {

/// Width of the widest register, in bytes.
[[nodiscard]] constexpr int vector_bytes(Isa isa) { return isa == Isa::avx512 ? 64 : isa == Isa::avx2 ? 32 : 16; }

/// A register of elements T. Loads and stores through `Vector*` need no alignment. Never pass one by value to a function that
/// is not inlined: the calling convention depends on the instruction set.
template <class T, Isa isa>
struct Simd {
  static constexpr int lanes = vector_bytes(isa) / static_cast<int>(sizeof(T));
  typedef T Vector __attribute__((vector_size(vector_bytes(isa)), aligned(alignof(T)), may_alias));

  SEGNET_INLINE static const Vector& load(const T* p) { return *reinterpret_cast<const Vector*>(p); }
  SEGNET_INLINE static Vector& at(T* p) { return *reinterpret_cast<Vector*>(p); }

  /// Copies `count` < lanes elements: in powers of two, because a loop over single elements is several times slower.
  SEGNET_INLINE static void store_partial(T* to, const T* from, index_t count) {
    if constexpr (lanes > 8) copy_if<8>(count, from, to);
    if constexpr (lanes > 4) copy_if<4>(count, from, to);
    if constexpr (lanes > 2) copy_if<2>(count, from, to);
    copy_if<1>(count, from, to);
  }

 private:
  template <int n>
  SEGNET_INLINE static void copy_if(index_t count, const T*& from, T*& to) {
    if (!(count & n)) return;
    std::memcpy(to, from, n * sizeof(T));
    from += n;
    to += n;
  }
};

}  // namespace segnet::kernels
