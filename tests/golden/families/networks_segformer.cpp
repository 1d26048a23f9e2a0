// MiT, SegFormer and Lawin.
#include "golden/networks.hpp"
#include "segnet/models/lawin.hpp"

namespace segnet::golden {

namespace {

/// One of the networks: compiled as one.
template <class T, class D>
struct Network {
  std::optional<models::MixTransformer<T, D>> mit;
  std::optional<models::SegFormer<T, D>> segformer;
  std::optional<nn::Conv2d<T, D>> unused;  ///< a classifier that the base class of SegFormer's head makes
  std::optional<models::Lawin<T, D>> lawin;

  template <class Self, class Visit>
  static void for_each_field(Self& self, Visit&& visit) {
    visit("", self.mit);
    visit("", self.segformer);
    visit("decode_head.conv_seg", self.unused);
    visit("", self.lawin);
  }
};

/// Without weights.
template <class T, class D>
Network<T, D> network(const std::string& name, const Json& args) {
  const nn::ShapesOnly no_weights;
  const auto backbone = models::MixTransformerOptions::b(std::stoi(args["name"].string().substr(5)));  // mit_b0
  Network<T, D> net;
  if (name == "mit") {
    net.mit.emplace(backbone);
    return net;
  }
  const index_t classes = args["classes"].integer(), embed = args["embed"].integer();
  if (name == "lawin") {
    net.lawin.emplace(models::LawinOptions{classes, backbone, embed});
  } else {
    net.segformer.emplace(models::SegFormerOptions{classes, backbone, embed});
    net.unused.emplace(128, classes, 1);
  }
  return net;
}

/// The four maps and, of a network for segmentation, the logits at 1/4.
template <class T, class D>
std::vector<NamedOutput<T, D>> outputs_of(const Network<T, D>& net, const Tensor<T, D>& x) {
  const auto c = net.mit ? (*net.mit)(x) : net.segformer ? net.segformer->backbone(x) : net.lawin->backbone(x);
  std::vector<NamedOutput<T, D>> outputs{{"c1", c[0]}, {"c2", c[1]}, {"c3", c[2]}, {"c4", c[3]}};
  if (net.segformer) outputs.push_back({"logits", net.segformer->decode_head(c)});
  if (net.lawin) outputs.push_back({"logits", net.lawin->decode_head(c)});
  return outputs;
}

}  // namespace

void add_networks_segformer(Registry& registry) {
  const auto compute = [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    auto net = network<T, D>(c.text("net"), c.attribute("args"));
    run_network(c, net, [&](const Tensor<T, D>& x) { return outputs_of(net, x); });
  };
  for (const char* name : {"mit", "segformer", "lawin"}) registry.add(concat("models/", name), compute);
}

}  // namespace segnet::golden
