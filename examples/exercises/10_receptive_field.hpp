#pragma once

#include <vector>

namespace exercise {

struct Layer {
  int kernel, stride = 1, dilation = 1;
};
struct Field {
  int size = 1, jump = 1;
};

inline Field receptive_field(const std::vector<Layer>& layers) {
  Field field;
  // GAP
  return field;
}

}  // namespace exercise
