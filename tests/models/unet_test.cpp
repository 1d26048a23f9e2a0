#include "segnet/models/unet.hpp"

#include <cstdlib>

#include "segnet/autograd/backward.hpp"
#include "segnet/io/npy.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/nn/summary.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::UNet;

TEST_CASE("U-Net: parameter counts as published") {
  const auto count = [](const models::UNetOptions& o) { return nn::num_parameters(UNet<>(o)); };
  CHECK(count({.in_channels = 1, .classes = 2, .valid = true}) == 31'030'658);
  CHECK(count({.in_channels = 1, .classes = 1}) == 31'030'593);
  CHECK(count({.in_channels = 3, .classes = 2}) == 31'031'810);
  CHECK(count({.in_channels = 3, .classes = 11}) == 31'032'395);
  CHECK(count({.in_channels = 3, .classes = 21}) == 31'033'045);
  CHECK(count({.in_channels = 3, .classes = 21, .batch_norm = true}) == 31'038'933);
  CHECK(count({.in_channels = 3, .classes = 2, .batch_norm = true}) == 31'037'698);
}

TEST_CASE("U-Net: sizes of figure 1, multiply-adds") {
  UNet<> valid({.in_channels = 1, .classes = 2, .base = 1, .valid = true});
  CHECK(valid(zeros<float>({1, 572, 572, 1})).shape() == Shape{1, 388, 388, 2});
  CHECK(valid(zeros<float>({1, 188, 204, 1})).shape() == Shape{1, 4, 20, 2});
  CHECK_THROWS_WITH_AS((void)valid(zeros<float>({1, 576, 572, 1})), doctest::Contains("even and at least 2 before each of the 4 poolings"),
                       ShapeError);
  CHECK_THROWS_AS((void)valid(zeros<float>({1, 140, 140, 1})), ShapeError);
  UNet<> same({.classes = 3, .base = 1, .depth = 2});
  CHECK(same(zeros<float>({2, 12, 8, 3})).shape() == Shape{2, 12, 8, 3});
  CHECK_THROWS_WITH_AS((void)same(zeros<float>({2, 10, 8, 3})), doctest::Contains("multiples of 4"), ShapeError);
  CHECK_THROWS_WITH_AS((void)same(zeros<float>({2, 12, 8, 4})), doctest::Contains("[N, H, W, 3]"), ShapeError);
  CHECK_THROWS_AS(UNet<>({.depth = 0}), ValueError);
  CHECK_THROWS_WITH_AS(UNet<>({.dropout = 1.5}), doctest::Contains("'dropout': expected a probability in [0, 1]"), ValueError);
  // 48.1 GMAC at 256 x 256 is quadratic in the width and in the sides up to the first and last layer.
  UNet<> small({.in_channels = 1, .classes = 2});
  CHECK(static_cast<double>(nn::summarize(small, {1, 32, 32, 1}).multiply_adds) * 64e-9 == doctest::Approx(48.1).epsilon(0.01));
}

TEST_CASE("U-Net: inference is what its layers compute") {
  default_generator() = {5};
  for (const bool batch_norm : {false, true}) {
    models::UNet<> net({.classes = 3, .base = 4, .depth = 2, .batch_norm = batch_norm});
    nn::eval(net);
    const auto x = normal<float>({1, 16, 24, 3});
    const auto recorded = net(x);
    CHECK(max_difference(no_grad([&] { return net(x); }), recorded) < 1e-5);
  }
}

TEST_CASE("U-Net: dropout behind the last two levels of the contracting path, in training alone") {
  const auto x = normal<float>({1, 16, 24, 3});
  for (const int depth : {1, 3}) {
    INFO("depth ", depth);
    const auto same_weights = [&](double rate) {
      default_generator() = {5};
      return UNet<>({.classes = 3, .base = 4, .depth = depth, .dropout = rate});
    };
    UNet<> net = same_weights(0.5), plain = same_weights(0);
    CHECK(nn::state_dict(net).size() == nn::state_dict(plain).size());
    default_generator() = {7};
    const auto dropped = net(x);
    CHECK(default_generator().offset == 2);
    CHECK_FALSE(equal(dropped, plain(x)));
    // The paths written out, with the masks of the same streams: level `depth - 1` is dropped for the pooling and for the skip.
    default_generator() = {7};
    std::vector<Tensor<float>> levels;
    for (int level = 0; level <= depth; ++level) {
      const auto& part = plain.down[static_cast<std::size_t>(level)];
      levels.push_back(part(level ? max_pool2d(levels.back(), {.kernel = 2}).output : x));
      if (level >= depth - 1) levels.back() = dropout(levels.back(), 0.5);
    }
    Tensor<float> y = levels.back();
    for (std::size_t i = 0; i < plain.up.size(); ++i) y = plain.dec[i](concat({levels[levels.size() - 2 - i], plain.up[i](y)}, -1));
    CHECK(equal(plain.head(y), dropped));

    nn::eval(net);
    nn::eval(plain);
    CHECK(equal(net(x), plain(x)));
    CHECK(default_generator().offset == 2);
  }
}

TEST_CASE("U-Net: padded sizes are the smallest that the network takes") {
  for (const bool valid : {false, true})
    for (const int depth : {1, 2, 3, 4}) {
      const UNet<> net({.in_channels = 1, .classes = 1, .base = 1, .depth = depth, .valid = valid});
      for (const index_t n : {1, 2, 5, 16, 31, 50}) {
        INFO("valid ", valid, " depth ", depth, " n ", n);
        const index_t size = net.padded_size(n), other = net.padded_size(1);
        NoGrad guard;
        CHECK(net(zeros<float>({1, size, other, 1})).dim(1) == size - 2 * net.margin());
        CHECK(size - 2 * net.margin() >= n);
        CHECK(size - net.stride() - 2 * net.margin() < n);
      }
    }
}

TEST_CASE("U-Net: any image size through AnySize, tiles agree with the whole image away from their borders") {
  default_generator() = {3};
  for (const bool valid : {false, true}) {
    const models::AnySize<UNet<>> net{UNet<>({.classes = 3, .base = 2, .depth = 2, .valid = valid})};
    CHECK(net(normal<float>({1, 13, 9, 3})).shape() == Shape{1, 13, 9, 3});
    CHECK(net(normal<float>({1, 1, 1, 3})).shape() == Shape{1, 1, 1, 3});
    CHECK(nn::state_dict(net)[0].name == "down.0.0.weight");
    const auto x = normal<float>({1, 64, 80, 3});
    const auto whole = models::predict_probabilities(net, x), tiled = models::predict_probabilities(net, x, {.tile = 64, .overlap = 48});
    // Receptive field 44: columns 22 or more from both borders of both tiles see the same pixels.
    for (index_t h = 0; h < 64; ++h)
      for (index_t c = 0; c < 3; ++c) CHECK(std::abs(whole.at(0, h, 40, c) - tiled.at(0, h, 40, c)) < 1e-5f);
  }
  CHECK_THROWS_AS(
      (void)models::predict_probabilities([](const auto& x) { return x; }, zeros<float>({1, 9, 9, 2}), {.tile = 4, .overlap = 4}),
      ValueError);
}

TEST_CASE("U-Net: gradients of every parameter, with and without batch norm") {
  for (const bool valid : {false, true})
    for (const bool batch_norm : {false, true}) {
      default_generator() = {5};
      UNet<double> net({.in_channels = 2, .classes = 2, .base = 2, .depth = 1, .valid = valid, .batch_norm = batch_norm});
      auto inputs = nn::parameters<double>(net);
      const auto x = normal<double>({2, valid ? 20 : 4, valid ? 20 : 6, 2});
      inputs.push_back(x);
      check_gradients(concat("valid ", valid, " batch_norm ", batch_norm), [&](const auto& in) { return net(in.back()); }, inputs,
                      {.rtol = 1e-4, .atol = 1e-5, .max_elements = 8});
    }
}

// tests/pytorch/round_trip.py makes the folder, and looks at what is written into it.
TEST_CASE("U-Net, round trip: PyTorch's weights give the same here, and go back") {
  const char* folder = std::getenv("SEGNET_ROUND_TRIP");
  if (!folder) {
    MESSAGE("skipped: tests/pytorch/round_trip.py runs it");
    return;
  }
  const std::string path = folder;
  UNet<> net({.classes = 3, .base = 4, .depth = 2, .batch_norm = true});
  CHECK(load_weights(path + "/unet.pth", net).complete());
  nn::eval(net);
  const double error = max_difference(net(load_npy<float>(path + "/input.npy")).detach(), load_npy<float>(path + "/output.npy"));
  MESSAGE("largest difference of the output: ", error);
  CHECK(error < 1e-5);
  save_weights(path + "/mine.pth", net);
  save_weights(path + "/mine.safetensors", net);
}
