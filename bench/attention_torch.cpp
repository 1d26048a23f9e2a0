// Attention as networks write it in LibTorch: heads in a dimension of their own, two products and a softmax.
#include <torch/torch.h>

#include "attention_bench.hpp"
#include "segnet/core/parallel.hpp"

namespace {

const bool added =
    (attention_contenders().push_back(
         {"torch",
          [](const AttentionCase& c, const float* q, const float* k, const float* v, float* y, bool training) -> std::function<void()> {
            at::set_num_threads(segnet::num_threads());
            const auto leaf = [&](const float* data, long length) {
              return torch::from_blob(const_cast<float*>(data), {c.N, length, c.heads * c.D}).clone().requires_grad_(training);
            };
            const auto result = torch::from_blob(y, {c.N, c.L, c.heads * c.D}), dy = torch::ones({c.N, c.L, c.heads * c.D});
            return [=, a = leaf(q, c.L), b = leaf(k, c.S), d = leaf(v, c.S)] {
              const auto heads = [&](const torch::Tensor& x) { return x.view({c.N, x.size(1), c.heads, c.D}).transpose(1, 2); };
              const double scale = 1 / std::sqrt(static_cast<double>(c.D));
              const auto p = torch::softmax(torch::matmul(heads(a) * scale, heads(b).transpose(2, 3)), -1);
              const auto values = torch::matmul(p, heads(d)).transpose(1, 2).reshape({c.N, c.L, c.heads * c.D});
              if (training) torch::autograd::grad({values}, {a, b, d}, {dy});
              const torch::NoGradGuard guard;
              result.copy_(values);
            };
          }}),
     true);

}  // namespace
