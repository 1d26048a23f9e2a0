// What the convolution benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "segnet/kernels/conv2d_geometry.hpp"

using segnet::ConvPass;

/// x and dx, w and dw, y and dy in segnet's layout: [N, H, W, C], [O, kh, kw, C], [N, OH, OW, O]. A pass reads two and writes one.
struct ConvArrays {
  float *x, *w, *y;
};

/// One library's convolution, ready to run.
struct ConvRunner {
  std::function<void()> run;
  std::function<void()> fetch = [] {};  ///< brings the result into its array; not timed
};

struct ConvContender {
  std::string name;
  std::function<ConvRunner(const segnet::kernels::ConvGeometry&, ConvPass, const ConvArrays&)> make;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<ConvContender>& conv_contenders();
