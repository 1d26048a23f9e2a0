// What the matrix product benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

/// y[i] = op(a[i]) op(b[i]) for a stack of products, row-major, y [count, m, n], k summed over; an operand may be read as its transpose.
struct MatmulCase {
  std::string name;
  long count, m, n, k;
  bool transpose_a = false, transpose_b = false;
};

struct MatmulContender {
  std::string name;
  std::function<std::function<void()>(const MatmulCase&, const float* a, const float* b, float* y)> make;  ///< -> a call that computes y
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<MatmulContender>& matmul_contenders();
