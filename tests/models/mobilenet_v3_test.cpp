#include <map>

#include "models/learns.hpp"
#include "segnet/models/lraspp.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/nn/summary.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::LrAspp, models::MobileNetV3, models::MobileNetV3Body, models::MobileNetV3Options;

TEST_CASE("MobileNetV3 and LR-ASPP: parameters and multiply-adds as torchvision's documentation has them") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  MobileNetV3<> classifier;
  const nn::Summary large = nn::summarize(classifier, {1, 224, 224, 3});
  CHECK(large.parameters == 5'483'032);
  CHECK(static_cast<double>(large.multiply_adds) * 1e-9 == doctest::Approx(0.217).epsilon(5e-3));
  LrAspp<> segmenter;
  const nn::Summary lraspp = nn::summarize(segmenter, {1, 520, 520, 3});
  CHECK(lraspp.parameters == 3'221'538);
  CHECK(static_cast<double>(lraspp.multiply_adds) * 1e-9 == doctest::Approx(2.09).epsilon(5e-3));
}

TEST_CASE("MobileNetV3: torchvision's names and shapes") {
  const nn::ShapesOnly no_arithmetic;
  std::map<std::string, Shape> shapes;
  for (const auto& entry : nn::state_dict(MobileNetV3<>())) shapes[entry.name] = entry.tensor.shape();
  CHECK(shapes.size() == 174 + 2 * 46);  // parameters, and the statistics of 46 norms
  CHECK(shapes.at("features.0.0.weight") == Shape{16, 3, 3, 3});
  CHECK(shapes.at("features.1.block.0.0.weight") == Shape{16, 3, 3, 1});  // depthwise: nothing to expand
  CHECK(shapes.at("features.4.block.2.fc1.weight") == Shape{24, 1, 1, 72});
  CHECK(shapes.at("features.4.block.2.fc2.bias") == Shape{72});
  CHECK(shapes.at("features.15.block.3.1.running_var") == Shape{160});
  CHECK(shapes.at("features.16.1.weight") == Shape{960});
  CHECK(shapes.at("classifier.0.weight") == Shape{1280, 960});
  CHECK(shapes.at("classifier.3.bias") == Shape{1000});
}

TEST_CASE("MobileNetV3: widths in multiples of 8, none a tenth too small") {
  const MobileNetV3Options narrow{.width = 0.35};
  CHECK(narrow.channels(16) == 8);   // 5.6
  CHECK(narrow.channels(40) == 16);  // 14
  CHECK(narrow.channels(24) == 8);   // 8.4
  CHECK(narrow.channels(80) == 32);  // 28: 24 would be less than nine tenths
  CHECK(MobileNetV3Options{}.channels(1280) == 1280);
}

TEST_CASE("MobileNetV3: sizes at both output strides; dilation changes what is between the pixels, not the pixels") {
  default_generator() = testing::random().split(1);
  MobileNetV3Body<> net({.width = 0.35});
  MobileNetV3Body<> dilated({.width = 0.35, .dilated = true});
  nn::copy_state(nn::state_dict(net), nn::state_dict(dilated));
  nn::eval(net);
  nn::eval(dilated);
  const NoGrad guard;
  const auto x = normal<float>({2, 65, 98, 3});
  CHECK(net.to_stride_8(x).shape() == Shape{2, 9, 13, 16});
  CHECK(net(x).shape() == Shape{2, 3, 4, 336});
  CHECK(dilated(x).shape() == Shape{2, 5, 7, 336});
  CHECK(dilated.to_stride_8(x).to_vector() == net.to_stride_8(x).to_vector());
}

TEST_CASE("LR-ASPP learns a batch, its logits have the size of the image") {
  default_generator() = testing::random().split(1);
  LrAspp<> net({.classes = 3, .channels = 16, .backbone = {.width = 0.35, .dilated = true}});
  const auto x = normal<float>({2, 33, 46, 3});
  const auto labels = integers<std::int32_t>({2, 33, 46}, 0, 2);
  CHECK(net(x).shape() == Shape{2, 33, 46, 3});
  learns(net, [&] { return cross_entropy(net(x), labels); });
}
