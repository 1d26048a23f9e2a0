#include "golden/networks.hpp"
#include "segnet/models/hrnet.hpp"

namespace segnet::golden {

void add_networks_hrnet(Registry& registry) {
  registry.add("models/hrnet", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const Json& args = c.attribute("args");
    models::HrNetOptions o{.classes = args["classes"].integer(), .width = args["width"].integer()};
    if (const Json* align = args.find("align_corners")) o.align_corners = align->boolean();
    if (const Json* ocr = args.find("ocr"); ocr && ocr->boolean()) {
      o.ocr.emplace();
      if (const Json* channels = args.find("mid")) o.ocr->channels = channels->integer();
      if (const Json* keys = args.find("key")) o.ocr->keys = keys->integer();
    }
    auto net = nn::unfilled<models::HrNet<T, D>>(o);
    run_network(c, net, [&](const Tensor<T, D>& x) {
      const auto [out, aux] = net.coarse(x);
      if (!aux) return std::vector<NamedOutput<T, D>>{{"y", out}};
      return std::vector<NamedOutput<T, D>>{{"aux", aux}, {"logits", out}};
    });
  });
}

}  // namespace segnet::golden
