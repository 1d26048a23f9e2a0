#include "golden/golden.hpp"
#include "segnet/ops/grid_sample.hpp"
#include "segnet/ops/ms_deform_attn.hpp"

namespace segnet::golden {

void add_sampling(Registry& registry) {
  registry.add("affine_grid", [](auto& c) {
    c.output("grid", affine_grid(c.input("theta"), c.extent("size", 1), c.flag("align_corners")));
    c.check_gradients();
  });

  registry.add("grid_sample", [](auto& c) {
    GridSampleOptions options{.align_corners = c.flag("align_corners")};
    for (const auto mode : {GridSampleMode::bilinear, GridSampleMode::nearest, GridSampleMode::bicubic})
      if (c.text("mode") == to_string(mode)) options.mode = mode;
    for (const auto padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      if (c.text("padding_mode") == to_string(padding)) options.padding = padding;
    c.output("y", grid_sample(c.input("x", Layout::channels_first), c.input("grid"), options), {.layout = Layout::channels_first});
    c.check_gradients();
  });

  registry.add("ms_deform_attn", [](auto& c) {
    const auto sizes = c.template integer_input<index_t>("spatial_shapes").template to<Cpu>();
    std::vector<Extent2> shapes;
    for (index_t l = 0; l < sizes.dim(0); ++l) shapes.push_back({sizes.at(l, 0), sizes.at(l, 1)});
    const auto value = c.input("value"), locations = c.input("sampling_locations"), attention = c.input("attention_weights");
    c.output("y", ms_deform_attn(value, shapes, locations, attention));
    c.check_gradients();
  });
}

}  // namespace segnet::golden
