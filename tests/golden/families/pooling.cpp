// Pooling and unpooling; 1-d cases are images of height 1.
#include "segnet/ops/pooling.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_pooling(Registry& registry) {
  registry.add("max_pool2d", [](auto& c) {
    const auto x = c.input("x", Layout::image);
    Pool2dOptions options{.kernel = c.extent("kernel", 1),
                          .stride = c.has_attribute("stride") ? c.extent("stride", 1) : c.extent("kernel", 1),
                          .padding = c.extent("padding", 0),
                          .dilation = c.extent("dilation", 1),
                          .ceil_mode = c.flag("ceil_mode"),
                          .return_indices = true};
    const auto [y, indices] = max_pool2d(x, options);
    c.output("y", y, {Layout::image});
    c.check("indices", indices, {Layout::image});
    c.check_gradients();

    c.variant("without indices");  // keeps other things for the backward pass
    options.return_indices = false;
    c.output("y", max_pool2d(c.input("x", Layout::image), options).output, {Layout::image});
    c.check_gradients();
  });

  registry.add("adaptive_max_pool2d", [](auto& c) {
    const auto [y, indices] = adaptive_max_pool2d(c.input("x", Layout::image), c.extent("output_size", 1), true);
    c.output("y", y, {Layout::image});
    c.check("indices", indices, {Layout::image});
    c.check_gradients();
    c.variant("without indices");
    c.output("y", adaptive_max_pool2d(c.input("x", Layout::image), c.extent("output_size", 1)).output, {Layout::image});
    c.check_gradients();
  });

  registry.add("avg_pool2d", [](auto& c) {
    const auto x = c.input("x", Layout::image);
    c.output("y",
             avg_pool2d(x, {.kernel = c.extent("kernel", 1),
                            .stride = c.has_attribute("stride") ? c.extent("stride", 1) : c.extent("kernel", 1),
                            .padding = c.extent("padding", 0),
                            .ceil_mode = c.flag("ceil_mode"),
                            .count_include_pad = c.flag("count_include_pad"),
                            .divisor_override = c.integer("divisor_override", 0)}),
             {Layout::image});
    c.check_gradients();
  });

  registry.add("adaptive_avg_pool2d", [](auto& c) {
    c.output("y", adaptive_avg_pool2d(c.input("x", Layout::image), c.extent("output_size", 1)), {Layout::image});
    c.check_gradients();
  });

  registry.add("max_unpool2d", [](auto& c) {
    const auto x = c.input("x", Layout::image);
    const auto indices = c.template integer_input<std::int32_t>("indices", Layout::image);
    const Extent2 size =
        c.has_attribute("output_size")
            ? c.extent("output_size", 1)
            : unpooled_size({x.dim(1), x.dim(2)},
                            {.kernel = c.extent("kernel", 1), .stride = c.extent("stride", 1), .padding = c.extent("padding", 0)});
    c.output("y", max_unpool2d(x, indices, size), {Layout::image});
    c.check_gradients();
  });
}

}  // namespace segnet::golden
