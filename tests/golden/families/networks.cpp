#include "segnet/models/unet.hpp"

#include "golden/networks.hpp"

namespace segnet::golden {

void add_networks(Registry& registry) {
  registry.add("models/unet", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const Json& args = c.attribute("args");
    const auto integer = [&](const char* key, index_t otherwise) { return args.find(key) ? args[key].integer() : otherwise; };
    const auto flag = [&](const char* key) { return args.find(key) && args[key].boolean(); };
    auto net = nn::unfilled<models::UNet<T, D>>(models::UNetOptions{.in_channels = integer("cin", 3),
                                                                    .classes = integer("classes", 2),
                                                                    .base = integer("base", 64),
                                                                    .depth = static_cast<int>(integer("depth", 4)),
                                                                    .valid = flag("valid"),
                                                                    .batch_norm = flag("bn")});
    run_network(c, net, [&](const Tensor<T, D>& x) { return std::vector<NamedOutput<T, D>>{{"y", net(x)}}; });
  });
}

}  // namespace segnet::golden
