// The kernels exist per size of the word that is moved: up to 16 bytes where whole rows are contiguous and aligned on both sides.
#include "strided.cuh"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace segnet {

namespace cuda {
namespace {

using kernels::StridedBox;

/// A box as threads walk it, with room for `room` dimensions. Index = std::uint32_t: positions and offsets stay below 2^31.
template <class Index, int room>
struct BoxWalk {
  using Offset = std::conditional_t<sizeof(Index) == 4, std::int32_t, index_t>;
  int rank;
  Divider<Index> size[room];
  Offset source[room], destination[room];

  explicit BoxWalk(const StridedBox& box) : rank(box.rank) {
    for (int k = 0; k < rank; ++k) {
      size[k] = Divider<Index>(box.size[k]);
      source[k] = static_cast<Offset>(box.source[k]);
      destination[k] = static_cast<Offset>(box.destination[k]);
    }
  }
  /// Adds the offsets of position `at` of the first `dims` dimensions.
  template <class Sum>
  __device__ void offsets(Index at, int dims, Sum& s, Sum& d) const {
#pragma unroll
    for (int k = room - 1; k >= 0; --k) {
      if (k >= dims) continue;
      const Index r = k > 0 ? size[k].split(at) : at;
      s += static_cast<Sum>(r) * source[k];
      d += static_cast<Sum>(r) * destination[k];
    }
  }
};

/// Four independent words per thread: enough loads in flight to fill the memory's latency. `rank`: known, or 0.
template <class W, class Index, int rank>
__global__ void __launch_bounds__(256) copy_box_kernel(BoxWalk<Index, rank ? rank : StridedBox::max_rank> box, const W* __restrict__ source,
                                                       W* __restrict__ destination, Index total) {
  using Offset = typename BoxWalk<Index, 1>::Offset;
  constexpr int words = 4;
  const Index first = static_cast<Index>(blockIdx.x) * (256 * words) + threadIdx.x;
  W word[words];
  Offset to[words];
#pragma unroll
  for (int u = 0; u < words; ++u) {
    const Index at = first + u * 256;
    Offset from = 0;
    to[u] = 0;
    if (at >= total) continue;
    box.offsets(at, rank ? rank : box.rank, from, to[u]);
    word[u] = source[from];
  }
#pragma unroll
  for (int u = 0; u < words; ++u)
    if (first + u * 256 < total) destination[to[u]] = word[u];
}

/// destination[i * destination_pitch + j] = source[j * source_pitch + i] for i < m, j < n, over a box of outer dimensions.
struct TransposedBox {
  static constexpr int rows = 8;  // of 32 threads
  index_t m, n, source_pitch, destination_pitch;
  Divider<std::uint32_t> tiles_m, tiles_n;
  BoxWalk<std::uint32_t, StridedBox::max_rank> outer;  // its offsets may pass 2^31: they are multiplied and added in 64 bits
  index_t outer_source[StridedBox::max_rank], outer_destination[StridedBox::max_rank];
};

/// One square per block, through shared memory: both sides see rows of at least 64 bytes. The padding keeps columns off equal banks.
template <class W>
struct Square {
  static constexpr int side = sizeof(W) < 4 ? 64 : 32, pitch = side + (sizeof(W) < 4 ? 4 / static_cast<int>(sizeof(W)) : 1);
};

template <class W>
__global__ void __launch_bounds__(256) transpose_box_kernel(TransposedBox box, const W* __restrict__ source, W* __restrict__ destination) {
  constexpr int side = Square<W>::side;
  __shared__ W square[side][Square<W>::pitch];  // [j][i]
  std::uint32_t at = blockIdx.x;
  const index_t i0 = static_cast<index_t>(box.tiles_m.split(at)) * side, j0 = static_cast<index_t>(box.tiles_n.split(at)) * side;
  source += j0 * box.source_pitch + i0;
  destination += i0 * box.destination_pitch + j0;
  for (int k = box.outer.rank - 1; k >= 0; --k) {
    const index_t r = box.outer.size[k].split(at);
    source += r * box.outer_source[k];
    destination += r * box.outer_destination[k];
  }
  const int lane = static_cast<int>(threadIdx.x) % 32, row = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int j = row; j < side; j += TransposedBox::rows)
#pragma unroll
    for (int i = lane; i < side; i += 32)
      if (j0 + j < box.n && i0 + i < box.m) square[j][i] = source[j * box.source_pitch + i];
  __syncthreads();
#pragma unroll
  for (int i = row; i < side; i += TransposedBox::rows)
#pragma unroll
    for (int j = lane; j < side; j += 32)
      if (j0 + j < box.n && i0 + i < box.m) destination[i * box.destination_pitch + j] = square[j][i];
}

template <class W>
void copy_words(StridedBox box, const W* source, W* destination) {
  if (box.rank == 0) box.push_back(2, 0, 0), box.size[0] = 1;  // one word
  const int last = box.rank - 1;
  index_t total = 1, source_reach = 0, destination_reach = 0;
  for (int k = 0; k <= last; ++k) {
    total *= box.size[k];
    source_reach += (box.size[k] - 1) * std::abs(box.source[k]);
    destination_reach += (box.size[k] - 1) * std::abs(box.destination[k]);
  }

  // Neighbours at the source lie along dimension `other`, neighbours at the destination along the last one.
  int other = -1;
  for (int k = 0; k < last && box.destination[last] == 1; ++k)
    if (box.source[k] == 1) other = k;
  if (other >= 0 && box.source[last] != 1) {
    constexpr index_t side = Square<W>::side;
    const index_t m = box.size[other], n = box.size[last], tiles_m = (m + side - 1) / side, tiles_n = (n + side - 1) / side;
    const index_t squares = total / (m * n) * tiles_m * tiles_n;
    if (m >= 8 && n >= 8 && squares < index_t{1} << 31) {
      StridedBox outer;
      for (int k = 0; k < last; ++k)
        if (k != other) outer.push_back(box.size[k], box.source[k], box.destination[k]);
      TransposedBox t{m,
                      n,
                      box.source[last],
                      box.destination[other],
                      Divider<std::uint32_t>(tiles_m),
                      Divider<std::uint32_t>(tiles_n),
                      BoxWalk<std::uint32_t, StridedBox::max_rank>(outer),
                      {},
                      {}};
      std::copy_n(outer.source, outer.rank, t.outer_source);
      std::copy_n(outer.destination, outer.rank, t.outer_destination);
      return launch(transpose_box_kernel<W>, static_cast<unsigned>(squares), 256, 0, t, source, destination);
    }
    if (m < n)  // a few planes: walked in the order of the source, so that each of its cache lines is read once
      for (int k = other; k < last; ++k) {
        std::swap(box.size[k], box.size[k + 1]);
        std::swap(box.source[k], box.source[k + 1]);
        std::swap(box.destination[k], box.destination[k + 1]);
      }
  }

  const unsigned blocks = static_cast<unsigned>((total + 1023) / 1024);
  using Small = std::uint32_t;
  constexpr int any = StridedBox::max_rank;
  if (std::max({total, source_reach, destination_reach}) >= index_t{1} << 31)
    return launch(copy_box_kernel<W, index_t, 0>, blocks, 256, 0, BoxWalk<index_t, any>(box), source, destination, total);
  switch (box.rank) {
    case 1:
      return launch(copy_box_kernel<W, Small, 1>, blocks, 256, 0, BoxWalk<Small, 1>(box), source, destination, total);
    case 2:
      return launch(copy_box_kernel<W, Small, 2>, blocks, 256, 0, BoxWalk<Small, 2>(box), source, destination, total);
    case 3:
      return launch(copy_box_kernel<W, Small, 3>, blocks, 256, 0, BoxWalk<Small, 3>(box), source, destination, total);
    case 4:
      return launch(copy_box_kernel<W, Small, 4>, blocks, 256, 0, BoxWalk<Small, 4>(box), source, destination, total);
    default:
      return launch(copy_box_kernel<W, Small, 0>, blocks, 256, 0, BoxWalk<Small, any>(box), source, destination, total);
  }
}

}  // namespace

void copy_box(const StridedBox& box, const void* from, void* to, int bytes) {
  for (int k = 0; k < box.rank; ++k)
    if (box.size[k] == 0) return;
  const char* const source = static_cast<const char*>(from) + box.source_offset * bytes;
  char* const destination = static_cast<char*>(to) + box.destination_offset * bytes;
  const int last = box.rank - 1;
  int word = bytes;
  if (last >= 0 && box.source[last] == 1 && box.destination[last] == 1) {
    if (last == 0)
      return segnet::detail::cuda_copy(destination, source, static_cast<std::size_t>(box.size[0] * bytes), segnet::detail::Copy::on_device);
    word = common_word(reinterpret_cast<std::uintptr_t>(source), reinterpret_cast<std::uintptr_t>(destination), box.size[last] * bytes);
    for (int k = 0; k < last; ++k) word = common_word(word, box.source[k] * bytes, box.destination[k] * bytes);
  }
  const index_t elements = word / bytes;  // per word
  StridedBox words;
  for (int k = 0; k < last; ++k) words.push_back(box.size[k], box.source[k] / elements, box.destination[k] / elements);
  if (last >= 0) {
    if (elements == 1) words.push_back(box.size[last], box.source[last], box.destination[last]);
    else words.push_back(box.size[last] / elements, 1, 1);
  }
  with_word(word, [&](auto w) {
    using W = decltype(w);
    copy_words(words, reinterpret_cast<const W*>(source), reinterpret_cast<W*>(destination));
  });
}

}  // namespace cuda

#define SEGNET_INSTANTIATE(T)                                                          \
  template void kernels::copy_strided(StridedBox, View<const T, Cuda>, View<T, Cuda>); \
  template void detail::swap_inner(View<const T, Cuda>, View<T, Cuda>, index_t, index_t, index_t);
SEGNET_INSTANTIATE(float)
SEGNET_INSTANTIATE(double)
SEGNET_INSTANTIATE(bfloat16)
SEGNET_INSTANTIATE(std::int32_t)
SEGNET_INSTANTIATE(std::int64_t)
SEGNET_INSTANTIATE(std::uint8_t)
SEGNET_INSTANTIATE(bool)

}  // namespace segnet
