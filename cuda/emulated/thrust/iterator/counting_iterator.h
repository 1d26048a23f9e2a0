// 0, 1, 2, ... to read from.
#pragma once

namespace thrust {

template <class T>
class counting_iterator {
 public:
  explicit counting_iterator(T first) : first_(first) {}
  [[nodiscard]] T operator[](T i) const { return first_ + i; }

 private:
  T first_;
};

}  // namespace thrust
