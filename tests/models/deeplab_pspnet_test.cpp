#include <cstdlib>
#include <set>

#include "models/learns.hpp"
#include "segnet/io/npy.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/models/deeplab.hpp"
#include "segnet/models/deeplabv3.hpp"
#include "segnet/models/deeplabv3_plus.hpp"
#include "segnet/models/fcn_resnet.hpp"
#include "segnet/models/pspnet.hpp"
#include "segnet/nn/any_module.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::models;

namespace {

constexpr ResNetOptions resnet101{.depth = 101, .output_stride = 8};
constexpr ResNetOptions small{.depth = 50, .width = 4, .output_stride = 8};

/// Parameters and, unless 0, 10^9 multiply-adds of a network, not computed.
template <class M>
void check_counts(const char* name, M net, index_t size, index_t parameters, double giga_multiply_adds = 0) {
  INFO(name);
  CHECK(nn::num_parameters(net) == parameters);
  if (giga_multiply_adds == 0) return;
  CHECK(static_cast<double>(nn::summarize(net, {1, size, size, 3}).multiply_adds) * 1e-9 ==
        doctest::Approx(giga_multiply_adds).epsilon(2e-3));
}

/// Whether those names are in the network, and all others begin with one of `rest`.
template <class M>
void check_names(const M& net, const std::vector<std::string>& expected, const std::vector<std::string>& rest) {
  std::set<std::string> all = state_dict_names(net);
  for (const auto& name : expected) {
    INFO(name);
    CHECK(all.erase(name) == 1);
  }
  for (const auto& name : all) {
    bool known = name.ends_with("running_mean") || name.ends_with("running_var") || name.ends_with(".bias");
    for (const auto& prefix : rest) known |= name.starts_with(prefix);
    INFO(name);
    CHECK(known);
  }
}

}  // namespace

TEST_CASE("FCN, DeepLab and PSPNet: parameters and multiply-adds as published") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  check_counts("fcn_resnet50", FcnResNet<>({.aux = false}), 520, 32'957'013, 142.7);
  check_counts("fcn_resnet50, aux", FcnResNet<>(), 520, 35'322'218);
  check_counts("fcn_resnet101", FcnResNet<>({.aux = false, .backbone = resnet101}), 520, 51'949'141, 222.7);
  check_counts("fcn_resnet101, aux", FcnResNet<>({.backbone = resnet101}), 520, 54'314'346);
  check_counts("deeplabv3_resnet50", DeepLabV3<>({.aux = false}), 520, 39'638'869, 168.73);
  check_counts("deeplabv3_resnet50, aux", DeepLabV3<>(), 520, 42'004'074);
  check_counts("deeplabv3_resnet101", DeepLabV3<>({.aux = false, .backbone = resnet101}), 520, 58'630'997, 248.75);
  check_counts("deeplabv3_resnet101, aux", DeepLabV3<>({.backbone = resnet101}), 520, 60'996'202);

  check_counts("v1, 7x7", DeepLabVgg<>(DeepLabVggOptions::v1({7, 4, 4096})), 321, 134'346'581);
  check_counts("v1, 4x4", DeepLabVgg<>(DeepLabVggOptions::v1({4, 8, 4096})), 321, 65'140'565);
  check_counts("v1, LargeFOV", DeepLabVgg<>(), 321, 20'505'429);
  check_counts("v2, VGG-16", DeepLabVgg<>(DeepLabVggOptions::v2()), 321, 37'877'652);
  check_counts("v2, ResNet-101", DeepLabV2<>(), 321, 44'048'532);

  auto plain = DeepLabV3PlusOptions::paper();
  plain.separable = Separable::no;
  check_counts("v3+, plain", DeepLabV3Plus<>(plain), 512, 40'352'181);
  auto paper = DeepLabV3PlusOptions::paper();
  check_counts("v3+, ResNet-50", DeepLabV3Plus<>(paper), 512, 26'696'133, 37.7);
  paper.backbone.depth = 101;
  check_counts("v3+, ResNet-101", DeepLabV3Plus<>(paper), 512, 45'688'261);
  check_counts("v3+, segmentation_models.pytorch", DeepLabV3Plus<>(), 512, 26'682'725);
  check_counts("v3+, one class", DeepLabV3Plus<>({.classes = 1}), 512, 26'677'585);

  check_counts("pspnet50", PspNet<>({.aux = false}), 512, 46'592'597, 177.1);
  check_counts("pspnet50, 150 classes, aux", PspNet<>({.classes = 150}), 473, 46'658'774 + 2'398'358);
  check_counts("pspnet50, 19 classes, aux", PspNet<>({.classes = 19}), 713, 46'591'571 + 2'364'691);
  check_counts("pspnet101", PspNet<>({.aux = false, .backbone = resnet101}), 512, 65'584'725, 254.7);
  poison_fresh_memory(true);
}

TEST_CASE("FCN, DeepLab and PSPNet: names of other implementations") {
  const nn::ShapesOnly no_arithmetic;
  check_names(FcnResNet<>({.backbone = small}),
              {"classifier.0.weight", "classifier.1.weight", "classifier.4.weight", "classifier.4.bias", "aux_classifier.0.weight",
               "aux_classifier.1.weight", "aux_classifier.4.weight", "aux_classifier.1.running_var", "aux_classifier.4.bias"},
              {"backbone.conv1.", "backbone.bn1.", "backbone.layer"});
  check_names(DeepLabV3<>({.backbone = small}),
              {"classifier.0.convs.0.0.weight",
               "classifier.0.convs.0.1.weight",
               "classifier.0.convs.1.0.weight",
               "classifier.0.convs.1.1.weight",
               "classifier.0.convs.2.0.weight",
               "classifier.0.convs.2.1.weight",
               "classifier.0.convs.3.0.weight",
               "classifier.0.convs.3.1.weight",
               "classifier.0.convs.4.1.weight",
               "classifier.0.convs.4.2.weight",
               "classifier.0.project.0.weight",
               "classifier.0.project.1.weight",
               "classifier.1.weight",
               "classifier.2.weight",
               "classifier.2.running_mean",
               "classifier.4.weight",
               "classifier.4.bias",
               "aux_classifier.0.weight",
               "aux_classifier.1.weight",
               "aux_classifier.4.weight"},
              {"backbone."});
  check_names(DeepLabV3Plus<>({.backbone = small}),
              {"decoder.aspp.0.convs.0.0.weight",   "decoder.aspp.0.convs.0.1.weight", "decoder.aspp.0.convs.1.0.0.weight",
               "decoder.aspp.0.convs.1.0.1.weight", "decoder.aspp.0.convs.1.1.weight", "decoder.aspp.0.convs.2.0.0.weight",
               "decoder.aspp.0.convs.2.0.1.weight", "decoder.aspp.0.convs.2.1.weight", "decoder.aspp.0.convs.3.0.0.weight",
               "decoder.aspp.0.convs.3.0.1.weight", "decoder.aspp.0.convs.3.1.weight", "decoder.aspp.0.convs.4.1.weight",
               "decoder.aspp.0.convs.4.2.weight",   "decoder.aspp.0.project.0.weight", "decoder.aspp.0.project.1.weight",
               "decoder.aspp.1.0.weight",           "decoder.aspp.1.1.weight",         "decoder.aspp.2.weight",
               "decoder.block1.0.weight",           "decoder.block1.1.weight",         "decoder.block2.0.0.weight",
               "decoder.block2.0.1.weight",         "decoder.block2.1.weight",         "segmentation_head.0.weight",
               "segmentation_head.0.bias"},
              {"encoder.conv1.", "encoder.bn1.", "encoder.layer"});
  check_names(PspNet<>({.backbone = {.width = 4, .output_stride = 8, .stem = ResNetStem::deep_64_64_128}}),
              {"layer0.0.weight", "layer0.1.weight", "layer0.3.weight", "layer0.4.weight", "layer0.6.weight", "layer0.7.weight",
               "ppm.features.0.1.weight", "ppm.features.0.2.weight", "ppm.features.3.1.weight", "ppm.features.3.2.weight",
               "ppm.features.3.2.running_var", "cls.0.weight", "cls.1.weight", "cls.4.weight", "cls.4.bias", "aux.0.weight", "aux.1.weight",
               "aux.4.weight"},
              {"layer1.", "layer2.", "layer3.", "layer4.", "ppm.features.1.", "ppm.features.2."});
  check_names(DeepLabV2<>({.backbone = small}), {"aspp.c0.weight", "aspp.c1.weight", "aspp.c2.weight", "aspp.c3.weight", "aspp.c3.bias"},
              {"backbone."});
  const auto v1 = state_dict_names(DeepLabVgg<>({.width = 2, .branches = {{.channels = 4}}}));
  CHECK(v1.size() == 32);
  for (const char* name : {"conv1_1.weight", "conv5_3.bias", "fc6.weight", "fc7.bias", "fc8.weight"}) CHECK(v1.count(name));
  CHECK(state_dict_names(DeepLabVgg<>(DeepLabVggOptions::v2({2, 4}))).count("fc8_2.bias"));
}

TEST_CASE("FCN, DeepLab and PSPNet: logits have the size of the image, whatever it is") {
  default_generator() = testing::random().split(1);
  const auto x = normal<float>({1, 33, 46, 3});
  const Shape expected{1, 33, 46, 5};
  const auto check = [&](auto net) {
    nn::eval(net);
    CHECK(net(x).shape() == expected);
    if constexpr (requires { net.with_aux(x); }) {
      const auto [out, aux] = net.with_aux(x);
      CHECK(out.shape() == expected);
      CHECK(aux.shape() == expected);
      CHECK(out.to_vector() == net(x).to_vector());
    }
  };
  check(FcnResNet<>({.classes = 5, .backbone = small}));
  check(DeepLabV3<>({.classes = 5, .backbone = small, .channels = 6, .rates = {1, 2, 3}}));
  check(DeepLabV3Plus<>({.classes = 5, .backbone = small, .channels = 6, .low_channels = 3}));
  check(PspNet<>({.classes = 5, .backbone = small}));
  check(DeepLabV2<>({.classes = 5, .backbone = small}));
  check(DeepLabVgg<>({.classes = 5, .width = 2, .branches = {{.channels = 4}}}));
  check(DeepLabVgg<>({.classes = 5, .width = 2, .branches = {{4, 4, 3}, {7, 2, 3}, {3, 12, 3}}}));
  check(MultiScale<DeepLabV2<>>{DeepLabV2<>({.classes = 5, .backbone = small})});
  const auto outputs = nn::AnyModule<>(PspNet<>({.classes = 5, .backbone = small})).outputs(concat({x, x}, 0));
  REQUIRE(outputs.size() == 2);
  CHECK(outputs[1].shape() == Shape{2, 33, 46, 5});
  CHECK(nn::AnyModule<>(DeepLabV2<>({.classes = 5, .backbone = small})).outputs(x).size() == 1);
  PspNet<> without({.classes = 5, .aux = false, .backbone = small});
  nn::eval(without);
  CHECK(!without.with_aux(x).aux);
  // Sides of 8 n + 1 give maps of n + 1.
  CHECK(DeepLabVgg<>({.width = 2, .branches = {{.channels = 4}}}).coarse(zeros<float>({1, 321, 33, 3})).shape() == Shape{1, 41, 5, 21});
}

TEST_CASE("ASPP: rates that leave the map are 1x1 convolutions; sums of branches") {
  default_generator() = testing::random().split(1);
  const AsppSum<> aspp(4, 3, {9, 2});
  const auto x = normal<float>({1, 9, 7, 4});
  const auto centre = [&](const nn::Conv2d<>& conv) {
    Tensor<float> w({3, 1, 1, 4});
    for (index_t o = 0; o < 3; ++o)
      for (index_t c = 0; c < 4; ++c) w.at(o, 0, 0, c) = conv.weight.at(o, 1, 1, c);
    return conv2d(x, w);
  };
  const auto expected = centre(aspp.branches[0]) + conv2d(x, aspp.branches[1].weight, {}, {.padding = 2, .dilation = 2});
  const auto y = aspp(x);
  for (index_t i = 0; i < y.numel(); ++i) CHECK(y.data()[i] == doctest::Approx(expected.data()[i]).epsilon(1e-4));
  // The image's mean is the same at every pixel: with all other branches at 0, so is the result.
  Aspp<> pyramid({.in = 4, .channels = 2, .rates = {1, 2}});
  nn::eval(pyramid);
  for (const auto& conv : pyramid.convs) Tensor<float>(conv.conv.weight).fill(0);
  const auto z = pyramid(x);
  CHECK(z.shape() == Shape{1, 9, 7, 2});
  for (index_t i = 2; i < z.numel(); ++i) CHECK(z.data()[i] == doctest::Approx(z.data()[i % 2]));
}

TEST_CASE("Spatial pyramid pooling: a vector of one length for every image") {
  const SpatialPyramidPooling spp;
  CHECK(spp(normal<float>({2, 13, 9, 3})).shape() == Shape{2, 3 * 21});
  CHECK(spp(normal<float>({2, 4, 4, 3})).shape() == Shape{2, 3 * 21});
  Tensor<float> x({1, 2, 2, 1}, {1, 4, 3, 2});
  CHECK(SpatialPyramidPooling{{1, 2}}(x).to_vector() == std::vector<float>{4, 1, 4, 3, 2});
  CHECK(SpatialPyramidPooling{{2, 1}, PyramidPool::average}(x).to_vector() == std::vector<float>{1, 4, 3, 2, 2.5f});
}

TEST_CASE("Pyramid pooling: the map itself, and averages of the grids resized to it") {
  default_generator() = testing::random().split(1);
  PyramidPooling<> ppm({.in = 4, .bins = {1, 3}});
  nn::eval(ppm);
  const auto x = random_uniform<float>({1, 7, 5, 4}, testing::random());
  for (const auto& f : ppm.features) {  // each grid's first channel is x's first
    Tensor<float>(f.conv.weight).fill(0);
    f.conv.weight.data()[0] = 1;
  }
  const auto y = ppm(x);
  CHECK(y.shape() == Shape{1, 7, 5, 8});
  double mean = 0, cell = 0;
  for (index_t h = 0; h < 7; ++h)
    for (index_t w = 0; w < 5; ++w) {
      for (index_t c = 0; c < 4; ++c) CHECK(y.at(0, h, w, c) == x.at(0, h, w, c));
      mean += static_cast<double>(x.at(0, h, w, 0)) / 35;
      if (h < 3 && w < 2) cell += static_cast<double>(x.at(0, h, w, 0)) / 6;  // rows floor(0) to ceil(7 / 3), columns to ceil(5 / 3)
    }
  const double norm = 1 / std::sqrt(1 + 1e-5);
  CHECK(y.at(0, 3, 2, 4) == doctest::Approx(mean * norm));
  CHECK(y.at(0, 0, 0, 6) == doctest::Approx(cell * norm));  // corners meet corners
  CHECK_THROWS_WITH_AS(PyramidPooling<>({.in = 4, .bins = {1, 2, 3}}), doctest::Contains("divides the 4 channels"), ValueError);
  nn::train(ppm);
  CHECK_THROWS_WITH_AS((void)ppm(x), doctest::Contains("more than one value"), ShapeError);
}

TEST_CASE("Multi-scale DeepLab: the largest logit of all scales") {
  default_generator() = testing::random().split(1);
  MultiScale<DeepLabV2<>> net{DeepLabV2<>({.classes = 3, .backbone = small})};
  nn::eval(net);
  const auto x = normal<float>({1, 41, 33, 3});
  const auto all = net.logits(x);
  REQUIRE(all.size() == 4);
  CHECK(all[0].to_vector() == net.network.coarse(x).to_vector());
  for (index_t i = 0; i < all[3].numel(); ++i) CHECK(all[3].data()[i] == std::max({all[0].data()[i], all[1].data()[i], all[2].data()[i]}));
  // Training: the maximum and each scale, as large as the image.
  const auto outputs = nn::AnyModule<>(net).outputs(x);
  REQUIRE(outputs.size() == 4);
  CHECK(outputs[0].to_vector() == net(x).to_vector());
  for (std::size_t i = 1; i < 4; ++i) CHECK(outputs[i].to_vector() == resize(all[i - 1], {41, 33}).to_vector());
  net.scales = {1};
  CHECK(net.outputs(x).size() == 1);
  CHECK(net(x).to_vector() == net.network(x).to_vector());
  CHECK(state_dict_names(net) == state_dict_names(net.network));
}

TEST_CASE("FCN, DeepLab and PSPNet learn a batch, auxiliary losses included") {
  default_generator() = testing::random().split(1);
  const auto x = normal<float>({2, 33, 33, 3});
  const auto labels = integers<std::int32_t>({2, 33, 33}, 0, 2);
  const auto plain = [&](const char* name, auto net) {
    INFO(name);
    learns(net, [&] { return cross_entropy(net(x), labels); });
  };
  const auto with_aux = [&](const char* name, auto net) {
    INFO(name);
    learns(net, [&] {
      const auto [out, aux] = net.with_aux(x);
      return cross_entropy(out, labels) + cross_entropy(aux, labels) * 0.4f;
    });
  };
  with_aux("fcn", FcnResNet<>({.classes = 3, .backbone = small}));
  with_aux("v3", DeepLabV3<>({.classes = 3, .backbone = small, .channels = 8, .rates = {1, 2, 3}}));
  plain("v3+", DeepLabV3Plus<>({.classes = 3, .backbone = small, .channels = 8, .low_channels = 4}));
  with_aux("pspnet", PspNet<>({.classes = 3, .backbone = small}));
  plain("v2", DeepLabV2<>({.classes = 3, .backbone = small}));
  plain("v1", DeepLabVgg<>({.classes = 3, .width = 4, .branches = {{.channels = 8}}}));
  plain("v2 on VGG-16", DeepLabVgg<>({.classes = 3, .width = 4, .branches = {{3, 6, 8}, {3, 12, 8}}, .average_pool = false}));
}

// tests/pytorch/round_trip.py makes the folder, and looks at what is written into it.
TEST_CASE("FCN and DeepLab v3, round trip: torchvision's weights give the same here, and go back") {
  const char* folder = std::getenv("SEGNET_ROUND_TRIP");
  if (!folder) {
    MESSAGE("skipped: tests/pytorch/round_trip.py runs it");
    return;
  }
  const auto round_trip = [&](const std::string& name, auto net, const char* format) {
    const std::string path = concat(folder, "/", name);
    CHECK(load_weights(path + ".pth", net).complete());
    nn::eval(net);
    NoGrad guard;
    const auto [out, aux] = net.with_aux(load_npy<float>(path + ".input.npy"));
    const double error = max_difference(out, load_npy<float>(path + ".out.npy"));
    const double aux_error = max_difference(aux, load_npy<float>(path + ".aux.npy"));
    MESSAGE(name, ", largest difference of the outputs: ", error, ", ", aux_error);
    CHECK(error < 5e-5);
    CHECK(aux_error < 5e-5);
    save_weights(concat(path, ".mine.", format), net);
  };
  round_trip("fcn_resnet50", FcnResNet<>(), "pth");
  round_trip("deeplabv3_resnet50", DeepLabV3<>(), "safetensors");
}
