#include "sm90.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "races.hpp"
#include "segnet/kernels/row_tile.hpp"

namespace segnet::cuda::sm90 {

using emulated::dynamic_shared, emulated::fault;
namespace races = emulated::races;

namespace {

/// The 128-byte swizzle: of an address in shared memory.
Address swizzled(Address a) { return a ^ (a >> 3 & 0x70); }

// ---- Barriers ----

/// As it lies in shared memory, which holds ones at first.
struct Barrier {
  std::uint64_t count : 20, missing : 20;  // arrivals: of a phase, until its end
  std::uint64_t bytes : 21;                // announced, less those that came; modulo 2^21
  std::uint64_t parity : 1, uninitialized : 2;
};
static_assert(sizeof(Barrier) == 8);
constexpr unsigned most_arrivals = (1 << 20) - 1, most_bytes = (1 << 20) - 1;

/// Where those who arrive in phases of this parity give, and those who wait for them take.
const void* meeting(Address at, unsigned parity) { return dynamic_shared() + at + 4 * parity; }

Barrier load(Address at) {
  if (at % 8 != 0) fault("a barrier at an address that is no multiple of 8");
  races::reads(dynamic_shared() + at, 8);  // its initialisation must be known to all
  Barrier b;
  std::memcpy(&b, dynamic_shared() + at, 8);
  if (b.uninitialized) fault("a barrier that was not initialised");
  return b;
}
void store(Address at, Barrier b) {
  if (b.missing == 0 && b.bytes == 0) b.parity ^= 1, b.missing = b.count;
  std::memcpy(dynamic_shared() + at, &b, 8);
}
void arrive(Address at, unsigned bytes) {
  Barrier b = load(at);
  if (b.missing == 0) fault("more arrivals at a barrier than it counts");
  if (bytes > most_bytes) fault("a barrier that expects more than 2^20 - 1 bytes");
  races::give(meeting(at, b.parity));
  b.missing = (b.missing - 1) & 0xfffff;
  b.bytes = (b.bytes + bytes) & 0x1fffff;
  store(at, b);
}

// ---- Copies ----

struct Copy {
  Address to, barrier;
  CUtensorMap map;  // a thread's parameter, which may be gone before the copy is done
  std::int64_t at[5];
  std::int64_t dw, dh;
};
std::vector<Copy> copies;  // of the block, on their way; the list itself is not the threads'

constexpr unsigned row_bytes = 128;

/// A row of 128 bytes from `from` on, of which those before `begin` and from `end` on become zeros. Null: all of them.
void copy_row(const CUtensorMap& map, Address to, const std::byte* from, std::int64_t begin, std::int64_t end) {
  races::writes(dynamic_shared() + to, row_bytes);
  alignas(16) std::byte row[row_bytes] = {};
  begin = std::max<std::int64_t>(begin, 0), end = std::min<std::int64_t>(end, row_bytes);
  if (from && begin < end) {
    races::reads(from + begin, static_cast<std::size_t>(end - begin));
    std::memcpy(row + begin, from + begin, static_cast<std::size_t>(end - begin));
  }
  if (map.type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32)
    for (unsigned i = 0; i < row_bytes; i += 4) {
      unsigned bits;
      std::memcpy(&bits, row + i, 4);
      bits = mma::rounded_tf32(bits);
      std::memcpy(row + i, &bits, 4);
    }
  for (unsigned unit = 0; unit < row_bytes; unit += 16) std::memcpy(dynamic_shared() + swizzled(to + unit), row + unit, 16);
}

/// As many rows as the map says.
void copy_now(const Copy& c) {
  const CUtensorMap& map = c.map;
  const std::int64_t begin = -c.at[0] * map.stride[0], end = (map.size[0] - c.at[0]) * map.stride[0];
  const auto row = [&](unsigned index, const std::int64_t(&at)[5]) {
    const std::byte* from = map.data + c.at[0] * map.stride[0];
    for (unsigned i = 1; i < map.rank && from; ++i) from = at[i] >= 0 && at[i] < map.size[i] ? from + at[i] * map.stride[i] : nullptr;
    copy_row(map, c.to + index * row_bytes, from, begin, end);
  };
  std::int64_t at[5];
  std::copy_n(c.at, 5, at);
  unsigned rows = 1;
  if (map.im2col) {
    rows = map.box[1];
    for (unsigned i = 0; i < rows; ++i) {
      row(i, {at[0], at[1] + c.dw, at[2] + c.dh, at[3], 0});
      if ((at[1] += map.step[0]) >= map.size[1] + map.upper[0]) {
        at[1] = map.lower[0];
        if ((at[2] += map.step[1]) >= map.size[2] + map.upper[1]) at[2] = map.lower[1], ++at[3];
      }
    }
  } else {
    for (unsigned i = 1; i < map.rank; ++i) rows *= map.box[i];
    for (unsigned i = 0; i < rows; ++i) {
      row(i, at);
      for (unsigned d = 1; d < map.rank && ++at[d] == c.at[d] + map.box[d]; ++d) at[d] = c.at[d];
    }
  }
  Barrier b = load(c.barrier);
  b.bytes = (b.bytes - rows * row_bytes) & 0x1fffff;
  store(c.barrier, b);
}

void start(const Copy& c, unsigned rank, bool im2col) {
  if (c.map.rank != rank || c.map.im2col != im2col) fault("a copy by a map of another kind of tensor");
  if (c.to % 128 != 0) fault("cp.async.bulk.tensor to an address that is no multiple of 128");
  if (im2col && (c.dw < 0 || c.dw > 255 || c.dh < 0 || c.dh > 255)) fault("im2col offsets that do not fit 8 bits");
  races::give(meeting(c.barrier, load(c.barrier).parity));
  const races::Unseen unseen;
  copies.push_back(c);
}

}  // namespace

void barrier_init(Address barrier, unsigned count) {
  for (const Copy& c : copies)
    if (c.barrier == barrier) fault("a block has ended, or a barrier was initialised, before copies that report to it were waited for");
  if (count == 0 || count > most_arrivals) fault("a barrier that counts no or too many arrivals");
  const Barrier b{.count = count & 0xfffff, .missing = count & 0xfffff, .bytes = 0, .parity = 0, .uninitialized = 0};
  races::writes(dynamic_shared() + barrier, 8);
  store(barrier, b);
}
void barrier_arrive(Address barrier) { arrive(barrier, 0); }
void barrier_arrive_expecting(Address barrier, unsigned bytes) { arrive(barrier, bytes); }
void barrier_wait(Address barrier, unsigned parity) {
  emulated::wait_until([&] {
    for (const Copy& c : copies)
      if (c.barrier == barrier) races::beside(meeting(barrier, load(barrier).parity), [&] { copy_now(c); });
    {
      const races::Unseen unseen;
      std::erase_if(copies, [&](const Copy& c) { return c.barrier == barrier; });
    }
    return load(barrier).parity != parity;
  });
  races::take(meeting(barrier, parity));
}

void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1) { start({to, barrier, *map, {c0, c1}, 0, 0}, 2, false); }
void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2) {
  start({to, barrier, *map, {c0, c1, c2}, 0, 0}, 3, false);
}
void copy_box(Address to, const CUtensorMap* map, Address barrier, int c0, int c1, int c2, int c3) {
  start({to, barrier, *map, {c0, c1, c2, c3}, 0, 0}, 4, false);
}
void copy_pixels(Address to, const CUtensorMap* map, Address barrier, int c, int w, int h, int n, unsigned dw, unsigned dh) {
  start({to, barrier, *map, {c, w, h, n}, dw, dh}, 4, true);
}

// ---- wgmma ----

namespace {

struct Product {
  float* d;
  unsigned columns, group;
  std::uint64_t a, b;
  bool add;
  Factors factors;
};
/// A thread's products under way, oldest first.
struct Products {
  std::vector<Product> queue;
  unsigned group = 0;  // that is not committed yet
  bool fenced = false;
};
Products products[1024];

/// A factor in shared memory, as its descriptor says.
struct Matrix {
  Address start, leading, stride;

  explicit Matrix(std::uint64_t descriptor)
      : start(static_cast<Address>(descriptor & 0x3fff) << 4),
        leading(static_cast<Address>(descriptor >> 16 & 0x3fff) << 4),
        stride(static_cast<Address>(descriptor >> 32 & 0x3fff) << 4) {
    if (descriptor >> 62 != 1) fault("a matrix without the 128-byte swizzle");
  }
  /// The unit of 16 bytes that holds (r, k) and those behind it, along k or, MN-major, along r.
  [[nodiscard]] Address unit(unsigned r, unsigned k, unsigned size, bool mn_major) const {
    return swizzled(start + (mn_major ? r / 64 * leading + k / 8 * stride + k % 8 * row_bytes + r % 64 * size
                                      : r / 8 * stride + r % 8 * row_bytes + k * size));
  }
};

/// The 32 bytes of k in `rows` rows from `first` on, as [k, row] (transposed) numbers.
void read(const Matrix& m, unsigned first, unsigned rows, bool tf32, bool mn_major, emulated::WarpSums::B& to) {
  const std::byte* const shared = dynamic_shared();
  if (mn_major) {
    for (unsigned k = 0; k < 16; ++k)
      for (unsigned r = 0; r < rows; r += 8) {
        bfloat16 values[8];
        std::memcpy(values, shared + m.unit(first + r, k, 2, true), 16);
        for (unsigned i = 0; i < 8; ++i) to[k][r + i] = static_cast<float>(values[i]);
      }
    return;
  }
  vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
    using S = kernels::Simd<float, isa == Isa::avx512 ? Isa::avx2 : isa>;
    using Bits = kernels::Simd<unsigned, isa == Isa::avx512 ? Isa::avx2 : isa>;
    for (unsigned r = 0; r < rows; r += S::lanes) {
      float words[S::lanes][8];
      for (unsigned i = 0; i < S::lanes; ++i)
        for (unsigned half = 0; half < 2; ++half)
          std::memcpy(&words[i][4 * half], shared + m.unit(first + r + i, half * (tf32 ? 4 : 8), tf32 ? 4 : 2, false), 16);
      for (unsigned word = 0; word < 8; word += S::lanes) {
        typename S::Vector v[S::lanes];
        SEGNET_UNROLL for (unsigned i = 0; i < S::lanes; ++i) v[i] = S::load(&words[i][word]);
        kernels::detail::transpose_registers<S>(v);
        SEGNET_UNROLL for (unsigned i = 0; i < S::lanes; ++i) {
          const auto bits = __builtin_bit_cast(typename Bits::Vector, v[i]);
          const auto put = [&](unsigned k, typename Bits::Vector value)
                               SEGNET_INLINE_LAMBDA { S::at(&to[k][r]) = __builtin_bit_cast(typename S::Vector, value); };
          if (tf32) put(word + i, bits & 0xffffe000u);
          else put(2 * (word + i), bits << 16), put(2 * (word + i) + 1, bits & 0xffff0000u);
        }
      }
    }
  });
}

/// Adds to the part of warp `warp` of a warpgroup.
void multiply(const Product& p, unsigned warp, emulated::WarpSums& d) {
  alignas(64) emulated::WarpSums::A a;
  alignas(64) emulated::WarpSums::B a_transposed, b;
  const unsigned depth = p.factors.tf32 ? 8 : 16;
  read(Matrix(p.a), warp * 16, 16, p.factors.tf32, p.factors.a_mn_major, a_transposed);
  for (unsigned r = 0; r < 16; ++r)
    for (unsigned k = 0; k < depth; ++k) a[r][k] = a_transposed[k][r];
  read(Matrix(p.b), 0, p.columns, p.factors.tf32, p.factors.b_mn_major, b);
  d.multiply(a, b, depth, p.add);
}

/// The parts of the factors that the calling warp reads.
void note_reads(const Product& p) {
  const auto note = [size = p.factors.tf32 ? 4u : 2u](const Matrix& m, unsigned first, unsigned rows, bool mn_major) {
    for (unsigned k = 0; k < 32 / size; k += mn_major ? 1 : 16 / size)
      for (unsigned r = 0; r < rows; r += mn_major ? 16 / size : 1)
        races::reads(dynamic_shared() + m.unit(first + r, k, size, mn_major), 16);
  };
  note(Matrix(p.a), emulated::thread_number() / emulated::warp_size % 4 * 16, 16, p.factors.a_mn_major);
  note(Matrix(p.b), 0, p.columns, p.factors.b_mn_major);
}

using Lanes = const Products* const* const (&)[emulated::warp_size];
/// The warp's product number i, in all lanes the same but for the place of the result.
const Product& product(Lanes all, std::size_t i, float* (&d)[emulated::warp_size]) {
  const auto& first = (*all[0])->queue;
  for (unsigned l = 0; l < emulated::warp_size; ++l) {
    const auto& queue = (*all[l])->queue;
    if (queue.size() != first.size()) fault("wgmma that not all threads of a warp execute");
    const Product &p = queue[i], &q = first[i];
    if (p.a != q.a || p.b != q.b || p.add != q.add || p.columns != q.columns || p.group != q.group || p.factors != q.factors)
      fault("wgmma with operands that differ within a warp");
    d[l] = p.d;
  }
  return first[i];
}

}  // namespace

void wgmma_begin() { products[emulated::thread_number()].fenced = true; }
void wgmma(float* d, unsigned columns, std::uint64_t a, std::uint64_t b, bool add, Factors factors) {
  Products& mine = products[emulated::thread_number()];
  if (!mine.fenced) fault("wgmma without wgmma.fence before it");
  mine.queue.push_back({d, columns, mine.group, a, b, add, factors});
}
void wgmma_commit() {
  Products& mine = products[emulated::thread_number()];
  ++mine.group;
  mine.fenced = false;
}
void wgmma_wait(unsigned pending) {
  Products& mine = products[emulated::thread_number()];
  const auto waited_for =
      std::find_if(mine.queue.begin(), mine.queue.end(), [&](const Product& p) { return p.group + pending >= mine.group; });
  const auto count = static_cast<std::size_t>(waited_for - mine.queue.begin());
  const Products* const shown = &mine;
  emulated::warp_together(shown, [count, warp = emulated::thread_number() / emulated::warp_size % 4](auto& all) {
    float *d[emulated::warp_size], *next[emulated::warp_size];
    for (std::size_t i = 0; i < count;) {  // those that go into the same sums, one after the other
      emulated::WarpSums sums(product(all, i, d).columns);
      sums.load(d);
      do multiply((*all[0])->queue[i], warp, sums);
      while (++i < count && (product(all, i, next), std::equal(d, d + emulated::warp_size, next)));
      sums.store(d);
    }
  });
  if (races::watched() && emulated::lane() == 0) std::for_each(mine.queue.begin(), waited_for, note_reads);  // it speaks for its warp
  mine.queue.erase(mine.queue.begin(), waited_for);
}

// ---- Results ----

void store_transposed(Address to, std::uint32_t m0, std::uint32_t m1, std::uint32_t m2, std::uint32_t m3) {
  struct Rows {
    Address to;
    std::uint32_t m[4];
  };
  races::writes(dynamic_shared() + to, 16);
  emulated::warp_together(Rows{to, {m0, m1, m2, m3}}, [&](auto& all) {
    for (unsigned l = 0; l < emulated::warp_size; ++l) {  // column l % 8 of matrix l / 8
      if (all[l]->to % 16 != 0) fault("stmatrix to an address that is no multiple of 16");
      std::uint16_t column[8];
      for (unsigned r = 0; r < 8; ++r) column[r] = static_cast<std::uint16_t>(all[4 * r + l % 8 / 2]->m[l / 8] >> l % 2 * 16);
      std::memcpy(dynamic_shared() + all[l]->to, column, sizeof column);
    }
  });
}
void store_shared(Address to, float value) {
  races::writes(dynamic_shared() + to, sizeof value);
  std::memcpy(dynamic_shared() + to, &value, sizeof value);
}
uint4 load_shared(Address from) {
  if (from % 16 != 0) fault("16 bytes from an address that is no multiple of 16");
  races::reads(dynamic_shared() + from, 16);
  uint4 v;
  std::memcpy(static_cast<void*>(&v), dynamic_shared() + from, sizeof v);
  return v;
}

}  // namespace segnet::cuda::sm90

// ---- Maps ----

namespace {

/// What boxes and im2col have in common.
CUresult describe(CUtensorMap& map, CUtensorMapDataType type, cuuint32_t rank, const void* data, const cuuint64_t* size,
                  const cuuint64_t* stride, const cuuint32_t* step, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle) {
  if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 && type != CU_TENSOR_MAP_DATA_TYPE_TFLOAT32) return CUDA_ERROR_NOT_SUPPORTED;
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || swizzle != CU_TENSOR_MAP_SWIZZLE_128B) return CUDA_ERROR_NOT_SUPPORTED;
  if (reinterpret_cast<std::uintptr_t>(&map) % 64 != 0 || rank < 1 || rank > 5) return CUDA_ERROR_INVALID_VALUE;
  if (!data || reinterpret_cast<std::uintptr_t>(data) % 16 != 0) return CUDA_ERROR_INVALID_VALUE;
  map = {};
  map.type = type, map.rank = rank, map.data = static_cast<const std::byte*>(data);
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (size[i] == 0 || size[i] > cuuint64_t{1} << 32) return CUDA_ERROR_INVALID_VALUE;
    if (i > 0 && (stride[i - 1] % 16 != 0 || stride[i - 1] >= cuuint64_t{1} << 40)) return CUDA_ERROR_INVALID_VALUE;
    if (step[i] == 0 || step[i] > 8) return CUDA_ERROR_INVALID_VALUE;
    map.size[i] = static_cast<std::int64_t>(size[i]);
    map.stride[i] = i > 0 ? static_cast<std::int64_t>(stride[i - 1]) : type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? 2 : 4;
  }
  return CUDA_SUCCESS;
}
/// Rows that the swizzle takes; others than whole ones are not emulated.
CUresult check_row(const CUtensorMap& map, cuuint32_t elements) {
  const std::int64_t bytes = elements * map.stride[0];
  return bytes == 0 || bytes % 16 != 0 || bytes > 128 ? CUDA_ERROR_INVALID_VALUE : bytes < 128 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

}  // namespace

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* size,
                                const cuuint64_t* stride, const cuuint32_t* box, const cuuint32_t* step, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (const CUresult r = describe(*map, type, rank, data, size, stride, step, interleave, swizzle); r != CUDA_SUCCESS) return r;
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (box[i] == 0 || box[i] > 256) return CUDA_ERROR_INVALID_VALUE;
    if (i > 0 && step[i] != 1) return CUDA_ERROR_NOT_SUPPORTED;
    map->box[i] = box[i];
  }
  return check_row(*map, box[0]);
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* size,
                                 const cuuint64_t* stride, const int* lower, const int* upper, cuuint32_t channels, cuuint32_t pixels,
                                 const cuuint32_t* step, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank != 4) return rank < 3 || rank > 5 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_SUPPORTED;
  if (const CUresult r = describe(*map, type, rank, data, size, stride, step, interleave, swizzle); r != CUDA_SUCCESS) return r;
  if (channels > 256 || pixels == 0 || pixels > 1024) return CUDA_ERROR_INVALID_VALUE;
  map->im2col = true;
  map->box[0] = channels, map->box[1] = pixels;
  for (int i = 0; i < 2; ++i) {
    for (const int corner : {lower[i], upper[i]})
      if (corner < -128 || corner > 127) return CUDA_ERROR_INVALID_VALUE;
    if (map->size[i + 1] - 1 + upper[i] < lower[i]) return CUDA_ERROR_INVALID_VALUE;  // no place between the corners
    map->lower[i] = lower[i], map->upper[i] = upper[i], map->step[i] = static_cast<int>(step[i + 1]);
  }
  return check_row(*map, channels);
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  *function = nullptr;
  if (std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0) *function = reinterpret_cast<void*>(&cuTensorMapEncodeTiled);
  if (std::strcmp(symbol, "cuTensorMapEncodeIm2col") == 0) *function = reinterpret_cast<void*>(&cuTensorMapEncodeIm2col);
  *found = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
