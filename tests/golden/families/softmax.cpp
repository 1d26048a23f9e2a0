#include "segnet/ops/softmax.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_softmax(Registry& registry) {
  registry.add("softmax", [](auto& c) {
    const std::string& op = c.text("op");
    if (op != "softmax" && op != "log_softmax") throw Error(concat("unknown op '", op, "'"));
    const auto x = c.input("x");
    const int dim = static_cast<int>(c.integer("dim"));
    c.output("y", op == "softmax" ? softmax(x, dim) : log_softmax(x, dim));
    // Where one class wins clearly, y (dy - sum(y dy)) is a small difference of numbers as large as dy.
    c.check_gradients({.absolute = 1e-6 * c.largest("grad_y")});
  });
}

}  // namespace segnet::golden
