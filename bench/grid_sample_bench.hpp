// What the benchmark of grid sampling asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

/// Bilinear, zeros outside, align_corners false. Images [N, side, side, C] and as many points; channels last in memory.
struct GridSampleProblem {
  long N, side, C;
  const float *x, *grid;
  float *y, *dx, *dgrid;
};
/// Of one library: calls that compute y, and dx and dgrid for dy = x.
struct GridSampleContender {
  std::string name;
  std::function<std::function<void()>(const GridSampleProblem&)> forward, backward;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<GridSampleContender>& grid_sample_contenders();
