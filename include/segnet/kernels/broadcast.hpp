// NumPy broadcasting: which element of an operand meets element i of the result.
#pragma once

#include <algorithm>
#include <type_traits>

#include "segnet/core/view.hpp"

namespace segnet::kernels {

/// The shape that a and b broadcast to: aligned at the last dimension, a size of 1 (or none) takes the other's size.
/// @throws ShapeError naming `op` and argument "b"
[[nodiscard]] inline Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  Shape y = a.rank() >= b.rank() ? a : b;
  for (int d = 1; d <= std::min(a.rank(), b.rank()); ++d) {
    if (a[-d] != b[-d] && a[-d] != 1 && b[-d] != 1) throw ShapeError(op, "b", concat("a shape that broadcasts with ", a), b);
    y[-d] = a[-d] == 1 ? b[-d] : a[-d];
  }
  return y;
}

/// Offsets into an operand of shape x that is read as if it had shape y (which x broadcasts to). Neighbouring dimensions that are
/// walked alike are merged, so that most operands have one or two.
struct BroadcastIndex {
  int rank = 0;                     ///< merged dimensions, innermost first
  index_t size[Shape::max_rank];    ///< their sizes
  index_t stride[Shape::max_rank];  ///< elements of x between neighbours; 0 where x repeats

  BroadcastIndex(const Shape& x, const Shape& y) {
    index_t step = 1;
    for (int d = 1; d <= y.rank(); ++d) {
      if (y[-d] == 1) continue;
      const index_t x_size = d <= x.rank() ? x[-d] : 1, s = x_size == 1 ? 0 : step;
      const bool merges = rank > 0 && (stride[rank - 1] == 0 ? s == 0 : s == stride[rank - 1] * size[rank - 1]);
      if (merges) size[rank - 1] *= y[-d];
      else {
        size[rank] = y[-d];
        stride[rank++] = s;
      }
      step *= x_size;
    }
  }

  /// Whether element i of y is element i of x.
  SEGNET_HOST_DEVICE bool identity() const { return rank == 0 || (rank == 1 && stride[0] == 1); }
  /// Whether x repeats as a whole: every `period()` elements of y.
  SEGNET_HOST_DEVICE bool periodic() const { return (rank == 1 && stride[0] == 0) || (rank == 2 && stride[0] == 1 && stride[1] == 0); }
  SEGNET_HOST_DEVICE index_t period() const { return stride[0] == 0 ? 1 : size[0]; }

  /// The element of x that element i of y reads.
  SEGNET_HOST_DEVICE index_t operator()(index_t i) const {
    index_t offset = 0;
    for (int d = 0; d < rank; ++d) {
      offset += i % size[d] * stride[d];
      i /= size[d];
    }
    return offset;
  }
};

/// Reads an operand in blocks, as if it were contiguous: where it is not, a block is put together in a small buffer, which stays
/// in the first-level cache, so that loops over operands need no strides. One per thread.
template <class T>
class BroadcastReader {
 public:
  static constexpr index_t block = 1024;

  BroadcastReader(const T* data, const BroadcastIndex& index) : data_(data), index_(index) {}

  /// The elements that meet [begin, begin + n) of the result, n <= block unless `index.identity()`. Valid until the next call.
  const T* read(index_t begin, index_t n) {
    if (index_.identity()) return data_ + begin;
    const index_t row = index_.size[0], stride = index_.stride[0], first = begin % row;
    if (index_.periodic()) {
      if (filled_ < n || phase_ != begin % index_.period()) {
        phase_ = begin % index_.period();
        fill(begin, n);
      }
      return buffer_;
    }
    if (stride == 1 && first + n <= row) return data_ + index_(begin);
    fill(begin, n);
    return buffer_;
  }

 private:
  void fill(index_t begin, index_t n) {
    const index_t row = index_.size[0], stride = index_.stride[0];
    index_t at[Shape::max_rank];  // the position of element `begin` in the merged dimensions
    for (index_t d = 0, rest = begin; d < index_.rank; ++d) {
      at[d] = rest % index_.size[d];
      rest /= index_.size[d];
    }
    const T* x = data_ + index_(begin - at[0]);  // where the row starts
    const index_t distinct = index_.periodic() ? std::min(n, index_.period()) : n;
    for (index_t done = 0; done < distinct; at[0] = 0) {
      const index_t here = std::min(distinct - done, row - at[0]);
      if (stride == 1) std::copy(x + at[0], x + at[0] + here, buffer_ + done);
      else std::fill(buffer_ + done, buffer_ + done + here, *x);
      done += here;
      for (int d = 1; d < index_.rank; ++d) {  // the next row, with carry
        x += index_.stride[d];
        if (++at[d] < index_.size[d]) break;
        x -= index_.stride[d] * at[d];
        at[d] = 0;
      }
    }
    for (index_t done = distinct; done < n;) {  // whole periods: double what is there
      const index_t here = std::min(done, n - done);
      std::copy(buffer_, buffer_ + here, buffer_ + done);
      done += here;
    }
    filled_ = n;
  }

  const T* data_;
  const BroadcastIndex& index_;
  index_t filled_ = 0, phase_ = 0;
  T buffer_[block];
};

}  // namespace segnet::kernels
