// What the convolution benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "segnet/kernels/conv2d_geometry.hpp"

using segnet::ConvPass;

/// One pass of one layer. A transposed layer is the convolution `g` read backwards: its input is shaped like y of `g`, its output
/// like x, and its forward pass is the gradient to x of `g`.
struct ConvProblem {
  segnet::kernels::ConvGeometry g;
  bool transposed = false;
  ConvPass pass = ConvPass::forward;  ///< of the layer

  /// The pass of `g` that this is.
  ConvPass kernel() const {
    if (!transposed || pass == ConvPass::grad_weight) return pass;
    return pass == ConvPass::forward ? ConvPass::grad_input : ConvPass::forward;
  }
  bool depthwise() const { return g.groups > 1 && g.groups == g.C && g.groups == g.O; }
};

/// x and dx, w and dw, y and dy of `g` in segnet's layout: [N, H, W, C], [O, kh, kw, C/groups], [N, OH, OW, O]. A pass reads two and
/// writes one.
struct ConvArrays {
  float *x, *w, *y;
};

/// One library's convolution, ready to run.
struct ConvRunner {
  std::function<void()> run;            ///< empty: the library does not take this problem
  std::function<void()> fetch = [] {};  ///< brings the result into its array; not timed
};

struct ConvContender {
  std::string name;
  std::function<ConvRunner(const ConvProblem&, const ConvArrays&)> make;
};

/// The peers; other files of this program add themselves.
std::vector<ConvContender>& conv_peers();
