// What the benchmark of deformable convolutions asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

/// A 3 x 3 kernel with padding 1 over an image [1, side, side, C]; channels last in memory, offsets and scalars in each operator's own
/// order.
struct DeformProblem {
  bool v3;  ///< dcnv3 with C / 16 groups; else deform_conv2d from C to C channels with one offset group
  long side, C;
  const float *x, *offset, *mask, *w, *dy;  ///< mask null: version 1
  float *y, *dx, *doffset, *dmask, *dw;
};
/// Of one library: calls that compute y, and all gradients; empty where it has none.
struct DeformContender {
  std::string name;
  bool v3, v12;  ///< which of the operators it has
  std::function<std::function<void()>(const DeformProblem&)> forward, backward;
  [[nodiscard]] bool takes(bool is_v3) const { return is_v3 ? v3 : v12; }
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<DeformContender>& deform_contenders();
