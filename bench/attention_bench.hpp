// What the attention benchmark asks of segnet and of its peers.
#pragma once

#include <functional>
#include <string>
#include <vector>

/// q [N, L, heads * D], k and v [N, S, heads * D] -> y [N, L, heads * D]
struct AttentionCase {
  std::string name;
  long N, L, S, heads, D;
};

struct AttentionContender {
  std::string name;
  /// -> a call that computes y, and in training the gradients of q, k and v from one of y that is 1 everywhere
  std::function<std::function<void()>(const AttentionCase&, const float* q, const float* k, const float* v, float* y, bool training)> make;
};

/// Everybody who takes part; other files of this program add themselves.
std::vector<AttentionContender>& attention_contenders();
