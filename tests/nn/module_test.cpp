#include "segnet/nn/module.hpp"

#include "segnet/nn/any_module.hpp"
#include "segnet/nn/containers.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/ops/resize.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class T, class D = Cpu>
struct Block {
  nn::Conv2d<T, D> conv;
  std::optional<nn::Conv2d<T, D>> shortcut;
  nn::Buffer<T, D> scale{full<T, D>({1}, 2)};
  bool training = true;

  Block(index_t in, index_t out) : conv(in, out, 3, {.padding = 1}, nn::Bias::no) {
    if (in != out) shortcut.emplace(in, out, 1);
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const { return conv(x); }
  SEGNET_FIELDS(conv, shortcut, scale)
};

template <class T, class D = Cpu>
struct Net {
  nn::Sequential<nn::Conv2d<T, D>, Block<T, D>> stem{nn::Conv2d<T, D>(3, 4, 3, {.padding = 1}), Block<T, D>(4, 4)};
  nn::ModuleList<Block<T, D>> layers;
  nn::ConvTranspose2d<T, D> up{8, 2, 2, {.stride = 2}};

  Net() {
    layers.push_back({4, 8});
    layers.push_back({8, 8});
  }
  Tensor<T, D> operator()(const Tensor<T, D>& x) const {
    Tensor<T, D> y = stem(x);
    for (const auto& layer : layers) y = layer(y);
    return up(y);
  }
  SEGNET_FIELDS(stem, layers, up)
};

}  // namespace

TEST_CASE_TEMPLATE("modules: names, order and sizes follow the list of fields", T, float, double) {
  const Net<T> net;
  std::string names;
  for (const auto& entry : nn::state_dict<T>(net)) names += entry.name + " ";
  CHECK(names ==
        "stem.0.weight stem.0.bias stem.1.conv.weight stem.1.scale layers.0.conv.weight layers.0.shortcut.weight "
        "layers.0.shortcut.bias layers.0.scale layers.1.conv.weight layers.1.scale up.weight up.bias ");
  const index_t expected = (27 * 4 + 4) + 36 * 4 + (36 * 8 + 4 * 8 + 8) + 72 * 8 + (8 * 4 * 2 + 2);
  CHECK(nn::num_parameters(net) == expected);
  index_t sum = 0;
  for (const auto& p : nn::parameters<T>(net)) sum += p.numel();
  CHECK(sum == expected);
  CHECK(nn::named_parameters<T>(net).size() == 9);
}

TEST_CASE("modules: train and eval reach every layer, freezing stops gradients, zero_grad forgets them") {
  Net<float> net;
  nn::eval(net);
  CHECK_FALSE(net.stem.get<1>().training);
  CHECK_FALSE(net.layers[1].training);
  nn::train(net);
  CHECK(net.layers[0].training);

  nn::set_trainable(net.stem, false);
  const auto x = normal<float>({1, 4, 4, 3});
  net(x).backward(ones<float>({1, 8, 8, 2}));
  CHECK_FALSE(net.stem.get<0>().weight.grad());
  CHECK(net.layers[0].conv.weight.grad());
  CHECK_FALSE(net.layers[0].shortcut->weight.grad());  // not part of the computation
  nn::zero_grad(net);
  CHECK_FALSE(net.layers[0].conv.weight.grad());
}

TEST_CASE("modules: copies share their tensors, clones do not") {
  Net<float> net;
  const Net<float> copy = net, clone = nn::clone(net);
  net.up.bias.fill(5);
  CHECK(copy.up.bias.at(0) == 5);
  CHECK(clone.up.bias.at(0) != 5);
  CHECK(clone.up.weight.tracked());
  CHECK(clone.up.weight.layout == nn::WeightLayout::convolution);
  CHECK(clone.layers[0].scale.at(0) == 2);
  CHECK_FALSE(clone.layers[0].scale.tracked());
}

TEST_CASE("modules: copy_state moves every tensor, between types too, and refuses another network") {
  default_generator() = {1};
  const Net<float> from;
  default_generator() = {2};
  const Net<float> to;
  const Net<double> wide;
  nn::copy_state(nn::state_dict<float>(from), nn::state_dict<float>(to));
  nn::copy_state(nn::state_dict<float>(from), nn::state_dict<double>(wide));
  const auto a = nn::state_dict<float>(from), b = nn::state_dict<float>(to);
  const auto c = nn::state_dict<double>(wide);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(equal(a[i].tensor, b[i].tensor));
    CHECK(max_difference(a[i].tensor, c[i].tensor) == 0);
    CHECK_FALSE(a[i].tensor.shares_memory_with(b[i].tensor));
  }
  const Block<float> other(4, 8);
  CHECK_THROWS_WITH_AS(nn::copy_state(nn::state_dict<float>(other), nn::state_dict<float>(to)),
                       doctest::Contains("expected 'stem.0.weight', got 'conv.weight'"), ValueError);
}

TEST_CASE("layers: the seed of the default generator names the weights") {
  default_generator() = {11};
  const nn::Conv2d<float> a(3, 4, 3);
  default_generator() = {11};
  const nn::Conv2d<float> b(3, 4, 3), c(3, 4, 3);
  CHECK(equal<float>(a.weight, b.weight));
  CHECK_FALSE(equal<float>(a.weight, c.weight));
  CHECK_THROWS_WITH_AS(nn::Conv2d<float>(3, 4, 3, {.groups = 2}), doctest::Contains("a divisor of the 3 input channels, got 2"),
                       ValueError);
}

TEST_CASE("init: variances are what the papers say") {
  Generator& g = testing::random();
  const auto variance = [](const Tensor<double>& t) { return dot(t, t) / static_cast<double>(t.numel()); };
  const Tensor<double> w({64, 3, 3, 32});  // fan in 288, fan out 576
  nn::init::kaiming_normal(w, g);
  CHECK(variance(w) == doctest::Approx(2.0 / 288).epsilon(0.05));
  nn::init::kaiming_uniform(w, g);
  CHECK(variance(w) == doctest::Approx(2.0 / 288).epsilon(0.05));
  nn::init::xavier_normal(w, g);
  CHECK(variance(w) == doctest::Approx(2.0 / (288 + 576)).epsilon(0.05));
  nn::init::xavier_uniform(w, g);
  CHECK(variance(w) == doctest::Approx(2.0 / (288 + 576)).epsilon(0.05));
  CHECK_THROWS_AS(nn::init::kaiming_normal(Tensor<double>({3}), g), ShapeError);
}

TEST_CASE_TEMPLATE("init: a bilinear transposed convolution reproduces constants and ramps", T, float, double) {
  for (const index_t s : {2, 3, 4, 8}) {
    INFO("upsampling by ", s);
    const index_t k = 2 * s - s % 2, p = (k - s + 1) / 2;  // the sizes of Long et al.
    nn::ConvTranspose2d<T> up(2, 2, k, {.stride = s, .padding = p}, nn::Bias::no);
    nn::init::bilinear<T>(up.weight);
    Tensor<T> x({1, 8, 8, 2});
    for (index_t i = 0; i < 8; ++i)
      for (index_t j = 0; j < 8; ++j) {
        x.at(0, i, j, 0) = 3;
        x.at(0, i, j, 1) = static_cast<T>(j);
      }
    const auto y = up(x);
    const index_t c = y.dim(1) / 2;
    for (index_t j = c - s; j < c + s; ++j) {
      CHECK(y.at(0, c, j, 0) == doctest::Approx(3));
      CHECK(y.at(0, c, j + 1, 1) - y.at(0, c, j, 1) == doctest::Approx(1.0 / static_cast<double>(s)));
    }
  }
}

TEST_CASE("init: a bilinear transposed convolution is bilinear resizing, but for half a kernel at the border, where it fades") {
  for (const index_t s : {2, 3, 4, 8}) {
    INFO("upsampling by ", s);
    const index_t k = 2 * s - s % 2;
    nn::ConvTranspose2d<double> up(3, 3, k, {.stride = s, .padding = s / 2, .groups = 3}, nn::Bias::no);
    nn::init::bilinear<double>(up.weight);
    const auto x = normal<double>({1, 5, 7, 3});
    const auto y = up(x), expected = resize(x, {5 * s, 7 * s});
    REQUIRE(y.shape() == expected.shape());
    double worst = 0;
    for (index_t i = k / 2; i < 5 * s - k / 2; ++i)
      for (index_t j = k / 2; j < 7 * s - k / 2; ++j)
        for (index_t c = 0; c < 3; ++c) worst = std::max(worst, std::abs(y.at(0, i, j, c) - expected.at(0, i, j, c)));
    CHECK(worst < 1e-12);
    CHECK(std::abs(y.at(0, 0, 0, 0)) < std::abs(expected.at(0, 0, 0, 0)));
  }
}

TEST_CASE("summary: layers in the order of their calls, with shapes, parameters and multiply-adds") {
  Net<float> net;
  const nn::Summary s = nn::summarize(net, {2, 8, 6, 3});
  REQUIRE(s.rows.size() == 5);
  CHECK(s.rows[0].name == "stem.0");
  CHECK(s.rows[0].type == std::string("Conv2d"));
  CHECK(s.rows[0].output == Shape{2, 8, 6, 4});
  CHECK(s.rows[0].multiply_adds == 2 * 48 * 4 * 27);
  CHECK(s.rows[2].name == "layers.0.conv");
  CHECK(s.rows[4].name == "up");
  CHECK(s.rows[4].parameters == 8 * 4 * 2 + 2);
  CHECK(s.rows[4].multiply_adds == 2 * 48 * 8 * 4 * 2);
  CHECK(s.output == Shape{2, 16, 12, 2});
  CHECK(s.parameters == nn::num_parameters(net));
  CHECK(net.layers[0].training);  // as before
  CHECK(nn::to_string(s).find("multiply-adds") != std::string::npos);
  CHECK(nn::grouped(1234567) == "1,234,567");

  nn::AnyModule<float> any(net);
  CHECK(any.summarize({2, 8, 6, 3}).multiply_adds == s.multiply_adds);
  CHECK(any.state_dict().size() == 12);
}
