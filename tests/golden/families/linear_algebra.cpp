#include "segnet/ops/linear.hpp"
#include "segnet/ops/matmul.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_linear_algebra(Registry& registry) {
  registry.add("linear", [](auto& c) {
    const auto x = c.input("x"), weight = c.input("weight"), bias = c.optional_input("bias");
    c.output("y", linear(x, weight, bias));
    c.check_gradients();
  });

  registry.add("matmul", [](auto& c) {
    const auto a = c.input("a"), b = c.input("b");
    c.output("y", matmul(a, b, {.transpose_a = c.flag("transpose_a"), .transpose_b = c.flag("transpose_b")}));
    c.check_gradients();
  });
}

}  // namespace segnet::golden
