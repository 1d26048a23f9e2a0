#include <map>

#include "segnet/models/resnet.hpp"
#include "segnet/models/vgg.hpp"
#include "segnet/nn/summary.hpp"
#include "segnet/ops/slice.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::ResNet, models::ResNetBody, models::ResNetOptions, models::ResNetStem, models::ResNetStride, models::Vgg, models::VggFeatures;

namespace {

/// Parameters and 10^9 multiply-adds of a network, not computed.
template <class M>
void check_counts(const char* name, M net, const Shape& input, index_t parameters, double giga_multiply_adds) {
  const nn::Summary s = nn::summarize(net, input);
  INFO(name);
  CHECK(s.parameters == parameters);
  CHECK(static_cast<double>(s.multiply_adds) * 1e-9 == doctest::Approx(giga_multiply_adds).epsilon(1e-3));
}

/// Shapes by name, as in PyTorch but for the order of a convolution's dimensions.
template <class M>
std::map<std::string, Shape> shapes(const M& net) {
  std::map<std::string, Shape> all;
  for (const auto& entry : nn::state_dict(net)) all[entry.name] = entry.tensor.shape();
  return all;
}

/// A network in inference mode, its running statistics away from 0 and 1.
template <class M>
M with_statistics(M net) {
  nn::for_each_tensor(net, [](const std::string& name, auto& t) {
    if (name.ends_with("running_mean")) t.copy_from(normal<float>(t.shape(), 0, 0.1));
    if (name.ends_with("running_var")) t.copy_from(random_uniform<float>(t.shape(), testing::random(), 0.5, 1.5));
  });
  nn::eval(net);
  return net;
}

/// Every step-th pixel.
Tensor<float> subsampled(const Tensor<float>& x, index_t step) {
  Tensor<float> y({x.dim(0), (x.dim(1) + step - 1) / step, (x.dim(2) + step - 1) / step, x.dim(3)});
  for (index_t n = 0; n < y.dim(0); ++n)
    for (index_t h = 0; h < y.dim(1); ++h)
      for (index_t w = 0; w < y.dim(2); ++w)
        for (index_t c = 0; c < y.dim(3); ++c) y.at(n, h, w, c) = x.at(n, h * step, w * step, c);
  return y;
}

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  REQUIRE(a.shape() == b.shape());
  double largest = 0;
  for (index_t i = 0; i < a.numel(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a.data()[i] - b.data()[i])));
  return largest;
}

/// The same weights in a network of other options.
template <class M>
M with_weights_of(const M& from, M to) {
  nn::copy_state(nn::state_dict(from), nn::state_dict(to));
  nn::eval(to);
  return to;
}

}  // namespace

TEST_CASE("VGG and ResNet: parameters and multiply-adds as torchvision's documentation has them") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);  // of gigabytes that nobody reads
  const Shape image{1, 224, 224, 3};
  check_counts("vgg11", Vgg<>({.depth = 11}), image, 132'863'336, 7.609);
  check_counts("vgg11_bn", Vgg<>({.depth = 11, .batch_norm = true}), image, 132'868'840, 7.609);
  check_counts("vgg13", Vgg<>({.depth = 13}), image, 133'047'848, 11.308);
  check_counts("vgg13_bn", Vgg<>({.depth = 13, .batch_norm = true}), image, 133'053'736, 11.308);
  check_counts("vgg16", Vgg<>({.depth = 16}), image, 138'357'544, 15.470);
  check_counts("vgg16_bn", Vgg<>({.depth = 16, .batch_norm = true}), image, 138'365'992, 15.470);
  check_counts("vgg19", Vgg<>({.depth = 19}), image, 143'667'240, 19.632);
  check_counts("vgg19_bn", Vgg<>({.depth = 19, .batch_norm = true}), image, 143'678'248, 19.632);
  CHECK(nn::num_parameters(VggFeatures<>()) == 14'714'688);

  check_counts("resnet18", ResNet<>({.depth = 18}), image, 11'689'512, 1.814);
  check_counts("resnet34", ResNet<>({.depth = 34}), image, 21'797'672, 3.664);
  check_counts("resnet50", ResNet<>({.depth = 50}), image, 25'557'032, 4.089);
  check_counts("resnet101", ResNet<>({.depth = 101}), image, 44'549'160, 7.801);
  check_counts("resnet152", ResNet<>({.depth = 152}), image, 60'192'808, 11.514);

  const Shape large{1, 512, 512, 3};
  check_counts("50, stride 32", ResNetBody<>({.depth = 50}), large, 23'508'032, 21.35);
  check_counts("50, stride 16", ResNetBody<>({.depth = 50, .output_stride = 16}), large, 23'508'032, 32.43);
  check_counts("50, stride 8", ResNetBody<>({.depth = 50, .output_stride = 8}), large, 23'508'032, 99.67);
  check_counts("101, stride 8", ResNetBody<>({.depth = 101, .output_stride = 8}), large, 42'500'160, 177.25);
  CHECK(nn::num_parameters(ResNetBody<>({.stem = ResNetStem::deep_32_32_64})) == 23'508'032 + 19'232);
  CHECK(nn::num_parameters(ResNetBody<>({.stem = ResNetStem::deep_64_64_128})) == 23'508'032 + 123'776);
  // The stride in the first 1x1 leaves the 3x3 a quarter of the pixels.
  ResNet<> caffe({.stride_in = ResNetStride::conv1x1});
  CHECK(static_cast<double>(nn::summarize(caffe, image).multiply_adds) * 1e-9 == doctest::Approx(3.858).epsilon(1e-3));
  poison_fresh_memory(true);
}

TEST_CASE("VGG and ResNet: torchvision's names") {
  const nn::ShapesOnly no_arithmetic;
  const auto vgg = shapes(Vgg<>({.width = 2, .hidden = 6}));
  CHECK(vgg.size() == 32);
  for (const int i : {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28}) CHECK(vgg.count(concat("features.", i, ".weight")));
  CHECK(vgg.at("features.28.weight") == Shape{16, 3, 3, 16});
  CHECK(vgg.at("classifier.0.weight") == Shape{6, 16 * 49});
  CHECK(vgg.at("classifier.3.bias") == Shape{6});
  CHECK(vgg.at("classifier.6.weight") == Shape{1000, 6});
  const auto vgg_bn = shapes(Vgg<>({.batch_norm = true, .width = 2, .hidden = 6}));
  CHECK(vgg_bn.size() == 32 + 13 * 4);
  CHECK(vgg_bn.at("features.40.weight") == Shape{16, 3, 3, 16});
  CHECK(vgg_bn.at("features.41.running_var") == Shape{16});

  const auto resnet = shapes(ResNet<>({.width = 2}));
  CHECK(resnet.size() == 161 + 106);
  CHECK(resnet.at("conv1.weight") == Shape{2, 7, 7, 3});
  CHECK(resnet.at("bn1.running_mean") == Shape{2});
  CHECK(resnet.at("layer1.0.downsample.0.weight") == Shape{8, 1, 1, 2});
  CHECK(resnet.at("layer1.0.downsample.1.weight") == Shape{8});
  CHECK(resnet.at("layer3.5.conv2.weight") == Shape{8, 3, 3, 8});
  CHECK(resnet.at("layer4.2.bn3.running_var") == Shape{64});
  CHECK(resnet.at("fc.weight") == Shape{1000, 64});
  CHECK(!resnet.count("layer1.1.downsample.0.weight"));
  const auto basic = shapes(ResNet<>({.depth = 18, .width = 2}));
  CHECK(basic.size() == 62 + 40);
  CHECK(!basic.count("layer1.0.downsample.0.weight"));
  CHECK(!basic.count("layer1.0.conv3.weight"));
  CHECK(shapes(ResNetBody<>({.width = 2, .stem = ResNetStem::deep_64_64_128})).at("conv3.weight") == Shape{4, 3, 3, 2});
}

TEST_CASE("VGG: stages, and what fits a classifier") {
  default_generator() = testing::random().split(1);
  const auto net = with_statistics(Vgg<>({.depth = 11, .batch_norm = true, .classes = 3, .width = 2, .hidden = 5}));
  const auto x = normal<float>({2, 70, 64, 3});
  const auto stages = net.features.stages(x);
  REQUIRE(stages.size() == 5);
  CHECK(stages[0].shape() == Shape{2, 35, 32, 2});
  CHECK(stages[1].shape() == Shape{2, 17, 16, 4});
  CHECK(stages[2].shape() == Shape{2, 8, 8, 8});
  CHECK(stages[3].shape() == Shape{2, 4, 4, 16});
  CHECK(stages[4].shape() == Shape{2, 2, 2, 16});
  CHECK(largest_difference(stages[4], net.features(x)) == 0);
  CHECK(net(x).shape() == Shape{2, 3});
  CHECK_THROWS_WITH_AS(Vgg<>({.depth = 12}), doctest::Contains("11, 13, 16 or 19"), ValueError);
}

TEST_CASE("ResNet: sizes at every output stride, rounded up") {
  default_generator() = testing::random().split(1);
  const nn::ShapesOnly no_arithmetic;
  for (const int depth : {18, 50})
    for (const index_t stride : {8, 16, 32}) {
      const ResNetBody<> body({.depth = depth, .width = 2, .output_stride = stride});
      for (const index_t size : {64, 65, 97}) {
        INFO("depth ", depth, " stride ", stride, " size ", size);
        const auto c1 = body.layer1(body.stem(zeros<float>({1, size, 40, 3}))), c2 = body.layer2(c1), c3 = body.layer3(c2);
        const auto at = [&](index_t s) { return (size + s - 1) / s; };
        CHECK(c1.dim(1) == at(4));
        CHECK(c2.dim(1) == at(8));
        CHECK(c3.dim(1) == at(std::min<index_t>(stride, 16)));
        CHECK(body.layer4(c3).shape() == Shape{1, at(stride), (40 + stride - 1) / stride, body.options.channels(4)});
      }
    }
  CHECK_THROWS_WITH_AS(ResNetBody<>({.depth = 20}), doctest::Contains("18, 34, 50, 101 or 152"), ValueError);
  CHECK_THROWS_WITH_AS(ResNetBody<>({.output_stride = 4}), doctest::Contains("8, 16 or 32"), ValueError);
}

// Dilation in place of a stride computes the same function at more places: at every second (fourth) pixel it is what the strided network
// gives. For that the first block of a layer needs the dilation before it where its 3x3 convolution had the stride, and its own where
// the 1x1 before it had.
TEST_CASE("ResNet: a smaller output stride gives the same features, and more between them") {
  default_generator() = testing::random().split(1);
  const auto x = normal<float>({1, 65, 41, 3});
  for (const int depth : {18, 50})
    for (const auto stride_in : {ResNetStride::conv3x3, ResNetStride::conv1x1}) {
      if (depth == 18 && stride_in == ResNetStride::conv1x1) continue;
      const bool own = stride_in == ResNetStride::conv1x1;
      const auto net = with_statistics(ResNetBody<>({.depth = depth, .width = 4, .stride_in = stride_in}));
      const auto expected = net(x);
      double scale = 0;
      for (const float v : expected.to_vector()) scale = std::max(scale, std::abs(static_cast<double>(v)));
      REQUIRE(scale > 0);
      for (const index_t stride : {8, 16})
        for (const bool dilate_first_block : {false, true}) {
          INFO("depth ", depth, " own ", own, " stride ", stride, " dilate_first_block ", dilate_first_block);
          const auto dense = with_weights_of(
              net,
              ResNetBody<>(
                  {.depth = depth, .width = 4, .output_stride = stride, .stride_in = stride_in, .dilate_first_block = dilate_first_block}));
          const double off = largest_difference(subsampled(dense(x), 32 / stride), expected) / scale;
          if (dilate_first_block == own) CHECK(off < 1e-5);
          else CHECK(off > 1e-3);
        }
    }
}

TEST_CASE("ResNet: multi-grid multiplies the dilations of layer4 alone") {
  const nn::ShapesOnly no_arithmetic;
  const ResNetBody<> body({.width = 2, .output_stride = 16, .dilate_first_block = true, .multi_grid = {1, 2, 4}});
  for (std::size_t block = 0; block < 3; ++block) CHECK(body.layer4[block].conv2.options.dilation == Extent2(index_t{2} << block));
  CHECK(body.layer3[1].conv2.options.dilation == Extent2(1));
}
