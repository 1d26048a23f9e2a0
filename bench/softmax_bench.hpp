// What the softmax benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

/// One library's softmax over the last dimension.
struct SoftmaxContender {
  std::string name;
  /// x, y [rows, channels] -> a call that computes y
  std::function<std::function<void()>(const float* x, float* y, long rows, long channels)> make;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<SoftmaxContender>& softmax_contenders();
