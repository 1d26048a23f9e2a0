#include "segnet/ops/normalization.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

constexpr Layout images = Layout::channels_first;

/// A gradient is a difference of numbers as large as grad_y * weight / sqrt(var), and vanishes where a group has few elements.
template <class C>
FloatTolerance cancellation(const C& c) {
  return {.absolute = 1e-6 * c.largest("grad_y")};
}

const auto batch_or_instance = [](auto& c, bool instance, bool of_input) {
  const auto x = c.input("x", images), weight = c.optional_input("weight"), bias = c.optional_input("bias");
  const auto mean = c.optional_input("running_mean"), var = c.optional_input("running_var");
  const double momentum = c.number("momentum", 0.1), eps = c.number("eps");
  c.output("y",
           instance ? instance_norm(x, weight, bias, mean, var, of_input, momentum, eps)
                    : batch_norm(x, weight, bias, mean, var, of_input, momentum, eps),
           {images});
  if (c.has("running_mean_after")) c.check("running_mean_after", mean);
  if (c.has("running_var_after")) c.check("running_var_after", var);
  c.check_gradients(cancellation(c));
};

}  // namespace

void add_normalization(Registry& registry) {
  registry.add("batch_norm", [](auto& c) { batch_or_instance(c, false, c.flag("training") || !c.has("running_mean")); });
  registry.add("instance_norm", [](auto& c) { batch_or_instance(c, true, c.flag("use_input_stats") || !c.has("running_mean")); });

  registry.add("group_norm", [](auto& c) {
    const auto x = c.input("x", images), weight = c.optional_input("weight"), bias = c.optional_input("bias");
    c.output("y", group_norm(x, c.integer("groups"), weight, bias, c.number("eps")), {images});
    c.check_gradients(cancellation(c));
  });

  registry.add("layer_norm", [](auto& c) {
    const Layout layout = c.flag("channels_first", false) ? Layout::channels_first : Layout::plain;
    const auto x = c.input("x", layout), weight = c.optional_input("weight"), bias = c.optional_input("bias");
    const std::vector<index_t> sizes = c.integers("normalized_shape");
    c.output("y", layer_norm(x, Shape(sizes.begin(), sizes.end()), weight, bias, c.number("eps")), {layout});
    c.check_gradients(cancellation(c));
  });
}

}  // namespace segnet::golden
