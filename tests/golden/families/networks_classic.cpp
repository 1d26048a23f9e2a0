#include "golden/networks.hpp"
#include "segnet/models/fc_densenet.hpp"

namespace segnet::golden {

void add_networks_classic(Registry& registry) {
  registry.add("models/fcdensenet", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const Json& args = c.attribute("args");
    models::FcDenseNetOptions o = models::fc_densenet103;
    o.dropout = 0;
    if (args.find("growth")) o.growth = args["growth"].integer();
    if (args.find("classes")) o.classes = args["classes"].integer();
    if (args.find("layers")) {
      o.layers.clear();
      for (const Json& count : args["layers"].array()) o.layers.push_back(static_cast<int>(count.integer()));
    }
    auto net = nn::unfilled<models::FcDenseNet<T, D>>(o);
    // Each layer rectifies all maps before it anew: ten times as many ReLUs that may fall to either side as in other networks.
    run_network(c, net, [&](const Tensor<T, D>& x) { return std::vector<NamedOutput<T, D>>{{"y", net(x)}}; }, 2e-2);
  });
}

}  // namespace segnet::golden
