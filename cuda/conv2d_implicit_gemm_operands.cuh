// Operands brought into the form that implicit-GEMM convolutions copy: channels in whole chunks of 16 bytes, weights by input channel.
#pragma once

#include "launch.cuh"

namespace segnet::cuda {

template <class T>
[[nodiscard]] index_t round_up_to_chunks(index_t channels) {
  return (channels + Pack<T>::size - 1) / Pack<T>::size * Pack<T>::size;
}

/// Chunk i of `to` [rows, padded] from `from` [rows, channels]; zeros behind the channels.
template <class T>
struct CopyToChunks {
  const T* from;
  T* to;
  index_t channels, chunks;  // chunks of a padded row

  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    const index_t row = i / chunks, first = i % chunks * Pack<T>::size;
    Pack<T> pack;
    for (int e = 0; e < Pack<T>::size; ++e) pack.values[e] = first + e < channels ? from[row * channels + first + e] : static_cast<T>(0);
    pack.store(to + i * Pack<T>::size);
  }
};

/// Rows of channels at addresses that are multiples of 16: those given, if they are, else a copy. Groups count as rows.
template <class T>
class ChunkedRows {
 public:
  ChunkedRows(const T* from, index_t rows, index_t channels)
      : padded_(round_up_to_chunks<T>(channels)), copied_(padded_ != channels || !aligned16(from)), copy_(copied_ ? rows * padded_ : 0) {
    data_ = copied_ ? copy_.data() : from;
    const index_t chunks = padded_ / Pack<T>::size;
    if (copied_) for_each(rows * chunks, CopyToChunks<T>{from, copy_.data(), channels, chunks});
  }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] index_t padded() const { return padded_; }

 private:
  index_t padded_;
  bool copied_;
  Scratch<T> copy_;
  const T* data_;
};

/// to [groups * inputs, taps, out_depth] from w [groups * outputs, taps, inputs], with zeros for outputs <= o < out_depth: per group
/// and tap a transposed matrix, 32 x 32 elements a block.
template <class T>
__global__ void __launch_bounds__(256) transpose_weight_kernel(const T* w, T* to, int taps, int outputs, int out_depth, int inputs,
                                                               unsigned output_tiles, unsigned input_tiles) {
  __shared__ T tile[32][33];
  unsigned block = blockIdx.x;
  const int first_output = static_cast<int>(block % output_tiles) * 32;
  block /= output_tiles;
  const int first_input = static_cast<int>(block % input_tiles) * 32;
  block /= input_tiles;
  const int tap = static_cast<int>(block % static_cast<unsigned>(taps));
  const index_t group = static_cast<index_t>(block / static_cast<unsigned>(taps));
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int i = warp; i < 32; i += 8) {
    const int o = first_output + i, c = first_input + lane;
    tile[i][lane] = o < outputs && c < inputs ? w[((group * outputs + o) * taps + tap) * inputs + c] : static_cast<T>(0);
  }
  __syncthreads();
#pragma unroll
  for (int i = warp; i < 32; i += 8) {
    const int o = first_output + lane, c = first_input + i;
    if (o < out_depth && c < inputs) to[((group * inputs + c) * taps + tap) * out_depth + o] = tile[lane][i];
  }
}
template <class T>
void transpose_weight(const T* w, T* to, index_t groups, index_t taps, index_t outputs, index_t out_depth, index_t inputs) {
  const index_t output_tiles = (out_depth + 31) / 32, input_tiles = (inputs + 31) / 32;
  launch(transpose_weight_kernel<T>, static_cast<unsigned>(groups * taps * output_tiles * input_tiles), 256, 0, w, to, taps, outputs,
         out_depth, inputs, output_tiles, input_tiles);
}

}  // namespace segnet::cuda
