// The sizes of a tensor, kept inline: up to eight dimensions, no allocation.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "segnet/core/config.hpp"
#include "segnet/core/error.hpp"

namespace segnet {

/// Sizes of a tensor's dimensions, outermost first. `Shape{}` is a scalar: no dimensions, one element.
class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() = default;
  Shape(std::initializer_list<index_t> sizes) : Shape(sizes.begin(), sizes.end()) {}
  template <class Iterator>
    requires(!std::is_integral_v<Iterator>)
  Shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(*first);
  }

  SEGNET_HOST_DEVICE int rank() const { return rank_; }
  // The mask changes no valid index: it shows the compiler that none leaves the array.
  SEGNET_HOST_DEVICE index_t operator[](int i) const { return sizes_[(i < 0 ? i + rank_ : i) & (max_rank - 1)]; }  ///< -1 is the last one
  SEGNET_HOST_DEVICE index_t& operator[](int i) { return sizes_[(i < 0 ? i + rank_ : i) & (max_rank - 1)]; }

  /// Number of elements: the product of the sizes.
  SEGNET_HOST_DEVICE index_t numel() const {
    index_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }

  SEGNET_HOST_DEVICE const index_t* begin() const { return sizes_; }
  SEGNET_HOST_DEVICE const index_t* end() const { return sizes_ + rank_; }
  index_t* begin() { return sizes_; }
  index_t* end() { return sizes_ + rank_; }
  index_t front() const { return (*this)[0]; }
  index_t back() const { return (*this)[-1]; }

  void push_back(index_t size) {
    if (rank_ == max_rank) throw ValueError("Shape", "sizes", "at most 8 dimensions", "more");
    if (size < 0) throw ValueError("Shape", "sizes", "sizes of at least 0", concat(size));
    sizes_[rank_++] = size;
  }

  friend bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.sizes_[i] != b.sizes_[i]) return false;
    return true;
  }

 private:
  index_t sizes_[max_rank] = {};
  int rank_ = 0;
};

/// "[2, 256, 256, 64]"
[[nodiscard]] inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int i = 0; i < shape.rank(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// Height and width of something: a stride, a padding, a kernel, an image.
struct Extent2 {
  index_t h = 1, w = 1;
  Extent2() = default;
  SEGNET_HOST_DEVICE constexpr Extent2(index_t both) : h(both), w(both) {}  // NOLINT: `stride = 2` means both
  SEGNET_HOST_DEVICE constexpr Extent2(index_t height, index_t width) : h(height), w(width) {}
  friend bool operator==(const Extent2&, const Extent2&) = default;
};

[[nodiscard]] inline std::string to_string(const Extent2& e) { return concat(e.h, "x", e.w); }

/// A tensor's shape is not what the operation takes.
class ShapeError : public Error {
 public:
  /// "segnet::conv2d: argument 'weight': expected [O, kh, kw, 64] for ..., got [128, 3, 3, 32]"
  ShapeError(std::string_view operation, std::string_view argument_name, std::string_view expected, const Shape& actual_shape)
      : Error(concat("segnet::", operation, ": argument '", argument_name, "': expected ", expected, ", got ", actual_shape)),
        op(operation),
        argument(argument_name),
        actual(actual_shape) {}
  std::string op, argument;
  Shape actual;
};

/// `dim` counted from the end when negative, checked against the rank. @throws ValueError
[[nodiscard]] inline int normalized_dim(std::string_view op, std::string_view argument, int dim, int rank) {
  const int d = dim < 0 ? dim + rank : dim;
  if (d < 0 || d >= rank) throw ValueError(op, argument, concat("a dimension in [", -rank, ", ", rank, ")"), concat(dim));
  return d;
}

}  // namespace segnet
