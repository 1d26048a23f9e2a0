// InternImage, alone and under UPerHead; UPerHead alone.
#include "golden/networks.hpp"
#include "segnet/models/intern_image.hpp"

namespace segnet::golden {

namespace {

template <class I, std::size_t n>
void read(const Json& list, std::array<I, n>& to) {
  for (std::size_t i = 0; i < n; ++i) to[i] = static_cast<I>(list[i].integer());
}

template <class T, class D>
std::vector<NamedOutput<T, D>> named(const std::array<Tensor<T, D>, 4>& maps) {
  return {{"c1", maps[0]}, {"c2", maps[1]}, {"c3", maps[2]}, {"c4", maps[3]}};
}

// ReLUs of the head in a row, as in `networks_torchvision.cpp`.
constexpr double gradient_in_float = 2e-2, gradient_in_double = 1e-9;

}  // namespace

void add_networks_internimage(Registry& registry) {
  registry.add("models/internimage", []<class T, class D>(Case<T, D>& c) {
    const Json& args = c.attribute("args");
    models::InternImageOptions options;
    options.channels = args["channels"].integer();
    read(args["depths"], options.depths);
    read(args["groups"], options.groups);
    if (args["post_norm"].boolean()) options.norm = models::InternImageNorm::post;
    if (args["classes"].integer() == 0) {
      auto net = nn::unfilled<models::InternImage<T, D>>(options);
      return run_network(c, net, [&](const Tensor<T, D>& x) { return named(net(x)); }, gradient_in_float, gradient_in_double);
    }
    auto net = nn::unfilled<models::InternImageUPerNet<T, D>>(
        models::InternImageUPerNetOptions{.classes = args["classes"].integer(), .aux = false, .backbone = options});
    run_network(
        c, net,
        [&](const Tensor<T, D>& x) {
          const auto maps = net.backbone(x);
          auto outputs = named(maps);
          outputs.push_back({"logits", net.decode_head(maps)});
          return outputs;
        },
        gradient_in_float, gradient_in_double);
  });

  registry.add("models/uperhead", []<class T, class D>(Case<T, D>& c) {
    const Json& args = c.attribute("args");
    models::UPerHeadOptions options{.channels = args["channels"].integer(), .classes = args["classes"].integer()};
    read(args["in_channels"], options.in);
    auto net = nn::unfilled<models::UPerHead<T, D>>(options);
    std::vector<NamedInput> maps;
    for (const char* name : {"c1", "c2", "c3", "c4"})
      maps.push_back({name, concat(c.text("input"), ".", name), shape_of(c.attribute("features")[name])});
    run_network_on(
        c, net, maps,
        [&](const std::vector<Tensor<T, D>>& x) {
          return std::vector<NamedOutput<T, D>>{{"y", net(std::array<Tensor<T, D>, 4>{x[0], x[1], x[2], x[3]})}};
        },
        gradient_in_float, gradient_in_double);
  });
}

}  // namespace segnet::golden
