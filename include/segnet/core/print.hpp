// Printing tensors: `std::cout << x`. A header of its own, because streams are expensive to include.
#pragma once

#include <ostream>

#include "segnet/core/tensor.hpp"

namespace segnet {

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << to_string(shape); }

/// As nested brackets, the first and last three of each long dimension, then the shape.
template <class T, class D>
std::ostream& operator<<(std::ostream& out, const Tensor<T, D>& tensor) {
  if (!tensor) return out << "undefined";
  Tensor<T> t;
  if constexpr (std::is_same_v<D, Cpu>) t = tensor;
  else {
    t = Tensor<T>(tensor.shape());
    t.copy_from(tensor);
  }
  const auto level = [&](const auto& self, int d, index_t offset) -> void {
    if (d == t.rank()) {
      if constexpr (sizeof(T) == 1) out << static_cast<int>(t.data()[offset]);
      else out << t.data()[offset];
      return;
    }
    index_t stride = 1;
    for (int i = d + 1; i < t.rank(); ++i) stride *= t.dim(i);
    const index_t n = t.dim(d);
    out << '[';
    for (index_t i = 0; i < n; ++i) {
      if (n > 7 && i == 3) {
        out << ", ...";
        i = n - 4;
        continue;
      }
      if (i) out << (d + 1 < t.rank() ? ",\n" + std::string(static_cast<std::size_t>(d) + 1, ' ') : std::string(", "));
      self(self, d + 1, offset + i * stride);
    }
    out << ']';
  };
  if (t.numel() > 0 || t.rank() == 0) level(level, 0, 0);
  return out << "  " << t.shape();
}

}  // namespace segnet
