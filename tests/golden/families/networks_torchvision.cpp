// torchvision's classifiers and segmentation networks.
#include "golden/networks.hpp"
#include "segnet/models/deeplabv3.hpp"
#include "segnet/models/fcn_resnet.hpp"
#include "segnet/models/lraspp.hpp"
#include "segnet/models/vgg.hpp"

namespace segnet::golden {

namespace {

/// Of gradients in float, where one ReLU on the other side moves them by 1e-3 and more (traced for ResNet-50, see `run_network`), and there
/// are fifty and more in a row here; double is held to 1e-9.
constexpr double gradient_in_float = 2e-2;

/// With one output, of that name.
template <class T, class D, class M>
void run_plain(Case<T, D>& c, M net, const char* output, double gradient_in_double = 1e-9) {
  run_network(
      c, net, [&](const Tensor<T, D>& x) { return std::vector<NamedOutput<T, D>>{{output, net(x)}}; }, gradient_in_float,
      gradient_in_double);
}
template <class T, class D, class M>
void run_segmentation(Case<T, D>& c, M net) {
  run_network(
      c, net,
      [&](const Tensor<T, D>& x) {
        const auto [out, aux] = net.with_aux(x);
        std::vector<NamedOutput<T, D>> outputs{{"out", out}};
        if (aux) outputs.push_back({"aux", aux});
        return outputs;
      },
      gradient_in_float);
}

}  // namespace

void add_networks_torchvision(Registry& registry) {
  registry.add("models/tv_cls", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const Json& args = c.attribute("args");
    const std::string& name = args["name"].string();
    const index_t classes = args.find("num_classes") ? args["num_classes"].integer() : 1000;
    if (name.starts_with("vgg")) {
      auto net = nn::unfilled<models::Vgg<T, D>>(
          models::VggOptions{.depth = std::stoi(name.substr(3)), .batch_norm = name.ends_with("_bn"), .classes = classes});
      net.dropout.p = 0;  // off in the file, in training too
      return run_plain(c, std::move(net), "y");
    }
    if (!name.starts_with("resnet")) c.not_implemented("classifiers other than VGG and ResNet");
    index_t output_stride = 32;
    if (const Json* dilated = args.find("replace_stride_with_dilation"))
      for (const Json& layer : dilated->array()) output_stride /= layer.boolean() ? 2 : 1;
    run_plain(c,
              nn::unfilled<models::ResNet<T, D>>(
                  models::ResNetOptions{.depth = std::stoi(name.substr(6)), .classes = classes, .output_stride = output_stride}),
              "y");
  });

  registry.add("models/tv_seg", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const Json& args = c.attribute("args");
    const std::string& name = args["name"].string();
    const index_t classes = args["num_classes"].integer();
    // PyTorch's derivative of hardsigmoid is the float 1/6 in double, too.
    if (name == "lraspp_mobilenet_v3_large")
      return run_plain(c, nn::unfilled<models::LrAspp<T, D>>(models::LrAsppOptions{.classes = classes}), "out", 1e-6);
    const std::size_t resnet = name.find("_resnet");
    if (resnet == std::string::npos) c.not_implemented("backbones other than ResNet");
    const models::ResNetOptions backbone{.depth = std::stoi(name.substr(resnet + 7)), .output_stride = 8};
    const bool aux = args.find("aux_loss") && args["aux_loss"].boolean();
    if (name.starts_with("fcn"))
      run_segmentation(c, nn::unfilled<models::FcnResNet<T, D>>(models::FcnResNetOptions{classes, aux, backbone}));
    else
      run_segmentation(
          c, nn::unfilled<models::DeepLabV3<T, D>>(models::DeepLabV3Options{.classes = classes, .aux = aux, .backbone = backbone}));
  });
}

}  // namespace segnet::golden
