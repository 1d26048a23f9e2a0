#include "segnet/ops/linear.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

const auto layer = []<class T, class D>(const std::vector<Tensor<T, D>>& in) {
  return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor<T, D>{});
};

struct Sizes {
  Shape x;
  index_t outputs;
};
const std::vector<Sizes> sizes = {{{7}, 3},        {{1, 1}, 1}, {{5, 8}, 16}, {{2, 3, 33}, 21}, {{4, 9, 10, 64}, 40},
                                  {{3000, 24}, 7}, {{0, 6}, 5}};

}  // namespace

TEST_CASE_TEMPLATE("linear on the GPU: the CPU's sums, forward and backward", T, float, double) {
  if (!gpu()) return;
  for (const auto& [x, outputs] : sizes) {
    const auto input = integers<T>(x, -3, 3), w = integers<T>({outputs, x[-1]}, -3, 3), b = integers<T>({outputs}, -3, 3);
    check_same_on_gpu<T>(concat(x, " -> ", outputs), layer, {input, w, b});
    check_same_on_gpu<T>(concat(x, " -> ", outputs, " without bias"), layer, {input, w});
  }
}

TEST_CASE("linear on the GPU: bfloat16") {
  if (!gpu()) return;
  for (const auto& [x, outputs] : sizes)
    check_bfloat16_on_gpu(concat(x, " -> ", outputs), layer,
                          {integers<float>(x, -3, 3), integers<float>({outputs, x[-1]}, -3, 3), integers<float>({outputs}, -3, 3)});
}
