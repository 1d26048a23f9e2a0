#include "segnet/models/segnet_basic.hpp"

#include "segnet/autograd/backward.hpp"
#include "segnet/nn/summary.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("SegNet-Basic: parameters as published, any image size") {
  CHECK(nn::num_parameters(models::SegNetBasic<>({.classes = 11})) == 1'416'587);
  CHECK(nn::num_parameters(models::SegNetBasic<>({.classes = 12})) == 1'416'652);
  models::SegNetBasic<> net({.classes = 3, .width = 4});
  CHECK(net(zeros<float>({2, 45, 30, 3})).shape() == Shape{2, 45, 30, 3});
  nn::eval(net);
  CHECK(net(zeros<float>({1, 1, 1, 3})).shape() == Shape{1, 1, 1, 3});
  CHECK(nn::state_dict(net)[2].name == "conv1_bn.weight");
}

TEST_CASE("SegNet-Basic: 59.2 GMAC at 360 x 480") {
  models::SegNetBasic<> net({.classes = 11});
  CHECK(static_cast<double>(nn::summarize(net, {1, 32, 32, 3}).multiply_adds) * (360.0 * 480) / (32 * 32) * 1e-9 ==
        doctest::Approx(59.2).epsilon(0.01));
}

TEST_CASE("SegNet-Basic: gradients") {
  default_generator() = {5};
  models::SegNetBasic<double> net({.in_channels = 2, .classes = 2, .width = 2});
  auto inputs = nn::parameters<double>(net);
  inputs.push_back(normal<double>({2, 16, 16, 2}));
  check_gradients("segnet-basic", [&](const auto& in) { return net(in.back()); }, inputs, {.rtol = 1e-4, .atol = 1e-4, .max_elements = 4});
}
