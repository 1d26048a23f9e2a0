#include "segnet/ops/dcnv3.hpp"
#include "segnet/ops/deform_conv2d.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_deformable(Registry& registry) {
  registry.add("deform_conv2d", [](auto& c) {
    constexpr Layout first = Layout::channels_first;
    const auto x = c.input("x", first), offset = c.input("offset", first), w = c.input("weight", first);
    const auto b = c.optional_input("bias"), mask = c.optional_input("mask", first);
    const DeformConv2dOptions options{.stride = c.extent("stride", 1),
                                      .padding = c.extent("padding", 0),
                                      .dilation = c.extent("dilation", 1),
                                      .groups = c.integer("groups")};
    c.output("y", deform_conv2d(x, offset, w, b, mask, options), {first});
    c.check_gradients();
  });
  registry.add("dcnv3", [](auto& c) {
    const DCNv3Options options{.kernel = c.extent("kernel", 1),
                               .stride = c.extent("stride", 1),
                               .padding = c.extent("padding", 0),
                               .dilation = c.extent("dilation", 1),
                               .groups = c.integer("group"),
                               .offset_scale = c.number("offset_scale")};
    c.output("y", dcnv3(c.input("input"), c.input("offset"), c.input("mask"), options));
    c.check_gradients();
  });
}

}  // namespace segnet::golden
