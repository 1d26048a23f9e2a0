#include "segnet/ops/matmul.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/ops/attention.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

auto product(MatmulOptions options) {
  return [=]<class T, class D>(const std::vector<Tensor<T, D>>& in) { return matmul(in[0], in[1], options); };
}

struct Operands {
  Shape a, b;
};

/// Stacks that broadcast in every way, with sizes of 0 and 1 among them.
Operands random_operands(const MatmulOptions& o) {
  const auto size = [] { return testing::random().below(10) ? 1 + testing::random().below(40) : testing::random().below(2); };
  const index_t m = size(), n = size(), k = size();
  Operands s;
  const index_t rank = testing::random().below(4), from = testing::random().below(rank + 1);
  for (index_t d = 0; d < rank; ++d) {
    const index_t stack = testing::random().below(12) ? 1 + testing::random().below(3) : 0;
    s.a.push_back(testing::random().below(3) ? stack : 1);
    if (d >= from) s.b.push_back(testing::random().below(3) ? stack : 1);
  }
  for (const index_t i : {o.transpose_a ? k : m, o.transpose_a ? m : k}) s.a.push_back(i);
  for (const index_t i : {o.transpose_b ? n : k, o.transpose_b ? k : n}) s.b.push_back(i);
  if (testing::random().below(10) == 0) s.a = {k};
  else if (testing::random().below(10) == 0) s.b = {k};
  return s;
}

std::string describe(const Operands& s, const MatmulOptions& o) {
  return concat(s.a, o.transpose_a ? "^T " : " ", s.b, o.transpose_b ? "^T" : "");
}

}  // namespace

TEST_CASE_TEMPLATE("matmul on the GPU: stacks, broadcasting, transposes, gradients", T, float, double) {
  if (!gpu()) return;
  for (int i = 0; i < 100; ++i) {
    const MatmulOptions o{testing::random().below(2) == 1, testing::random().below(2) == 1};
    const Operands s = random_operands(o);
    check_same_on_gpu<T>(describe(s, o), product(o), {integers<T>(s.a, -3, 3), integers<T>(s.b, -3, 3)});
  }
  check_same_on_gpu<T>("large", product({}), {integers<T>({301, 515}, -3, 3), integers<T>({515, 258}, -3, 3)});
  check_same_on_gpu<T>("many", product({}), {integers<T>({40000, 2, 3}, -3, 3), integers<T>({40000, 3, 1}, -3, 3)});
}

TEST_CASE("matmul on the GPU: bfloat16 sums in float and rounds once") {
  if (!gpu()) return;
  for (int i = 0; i < 40; ++i) {
    const MatmulOptions o{testing::random().below(2) == 1, testing::random().below(2) == 1};
    const Operands s = random_operands(o);
    check_bfloat16_on_gpu(describe(s, o), product(o), {integers<float>(s.a, -3, 3), integers<float>(s.b, -3, 3)});
  }
  check_bfloat16_on_gpu("shared b", product({.transpose_a = true}),
                        {integers<float>({9, 64, 32}, -3, 3), integers<float>({64, 40}, -3, 3)});
}

TEST_CASE("matmul on the GPU: float is accurate unless tf32 is allowed") {
  if (!gpu()) return;
  const auto a = normal<float>({130, 700}), b = normal<float>({700, 90});
  check_same_on_gpu<float>("float", product({}), {a, b}, 3e-6);
  cuda::allow_tf32(true);
  check_same_on_gpu<float>("tf32", product({}), {a, b}, 2e-3);
  cuda::allow_tf32(false);
}

TEST_CASE("attention on the GPU: by products and softmax what the CPU does in blocks, with a mask and without, bfloat16 in float") {
  if (!gpu()) return;
  for (const AttentionOptions& o : {AttentionOptions{.heads = 1}, AttentionOptions{.heads = 3, .scale = 0.3}}) {
    const std::vector<Tensor<float>> x{normal<float>({2, 17, 24}), normal<float>({2, 70, 24}), normal<float>({2, 70, 12}),
                                       normal<float>({o.heads, 1, 70})};
    const auto plain = [&](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], o); };
    const auto masked = [&](const auto& in) { return scaled_dot_product_attention(in[0], in[1], in[2], o, in[3]); };
    check_same_on_gpu<float>("attention", plain, {x[0], x[1], x[2]}, 1e-5);
    check_same_on_gpu<float>("masked attention", masked, x, 1e-5);
    std::vector<Tensor<float>> small;
    for (const auto& t : x) small.push_back(integers<float>(t.shape(), -1, 1));
    check_bfloat16_on_gpu("attention", plain, {small[0], small[1], small[2]}, 0.03);
    check_bfloat16_on_gpu("masked attention", masked, small, 0.03);
  }
}
