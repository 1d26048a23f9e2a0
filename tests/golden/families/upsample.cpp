#include "segnet/ops/resize.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

InterpolateMode interpolate_mode(const std::string& name) {
  if (name == "nearest") return InterpolateMode::nearest;
  if (name == "nearest-exact") return InterpolateMode::nearest_exact;
  if (name == "bilinear" || name == "linear") return InterpolateMode::bilinear;
  if (name == "bicubic") return InterpolateMode::bicubic;
  throw Error(concat("unknown mode '", name, "'"));
}

template <class C>
Scale2 scale_factor(const C& c) {
  const Json& factor = c.attribute("scale_factor");
  if (factor.is_number()) return {factor.number(), factor.number()};
  if (factor.array().size() == 1) return {1, factor[0].number()};
  return {factor[0].number(), factor[1].number()};
}

}  // namespace

void add_upsample(Registry& registry) {
  registry.add("upsample", [](auto& c) {
    InterpolateOptions options{.mode = interpolate_mode(c.text("mode")),
                               .align_corners = c.flag("align_corners", false),
                               .recompute_scale_factor = c.flag("recompute_scale_factor", false)};
    if (c.has_attribute("size")) options.size = c.extent("size", 1);
    else options.scale_factor = scale_factor(c);
    c.output("y", interpolate(c.input("x", Layout::channels_first), options), {Layout::channels_first});
    c.check_gradients();
  });
}

}  // namespace segnet::golden
