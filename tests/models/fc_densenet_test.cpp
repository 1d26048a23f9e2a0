#include "segnet/models/fc_densenet.hpp"

#include "models/learns.hpp"
#include "segnet/nn/summary.hpp"
#include "segnet/ops/arithmetic.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::FcDenseNet, models::FcDenseNetOptions;

TEST_CASE("FC-DenseNet: parameters, running statistics and multiply-adds as published") {
  nn::ShapesOnly shapes;
  poison_fresh_memory(false);  // nobody reads what nobody computes
  struct Row {
    FcDenseNetOptions net;
    index_t parameters, with_statistics, twelve_classes;
    double gmac_crop, gmac_full;  // at 224 x 224 and 360 x 480
  };
  for (Row r : {Row{models::fc_densenet56, 1'376'795, 1'397'963, 1'376'988, 8.92, 30.70},
                Row{models::fc_densenet67, 3'463'243, 3'502'923, 3'463'532, 20.90, 71.97},
                Row{models::fc_densenet103, 9'322'091, 9'425'163, 9'322'348, 20.07, 69.07}}) {
    FcDenseNet<> net(r.net);
    CHECK(nn::num_parameters(net) == r.parameters);
    index_t all = 0;
    for (const auto& entry : nn::state_dict(net)) all += entry.tensor.numel();
    CHECK(all == r.with_statistics);
    const auto giga = [&](index_t h, index_t w) { return 1e-9 * static_cast<double>(nn::summarize(net, {1, h, w, 3}).multiply_adds); };
    CHECK(giga(224, 224) == doctest::Approx(r.gmac_crop).epsilon(0.001));
    CHECK(giga(360, 480) == doctest::Approx(r.gmac_full).epsilon(0.001));
    r.net.classes = 12;
    CHECK(nn::num_parameters(FcDenseNet<>(r.net)) == r.twelve_classes);
  }
  poison_fresh_memory(true);
  CHECK_THROWS_WITH_AS(FcDenseNet<>({.layers = {1, 2}}), doctest::Contains("odd number of blocks"), ValueError);
}

TEST_CASE("dense_layer is concat, batch norm, ReLU and convolution, with their gradients and statistics") {
  for (const bool training : {true, false}) {
    INFO("training ", training);
    const auto a = normal<double>({2, 5, 4, 3}, 1, 2).requires_grad(), b = normal<double>({2, 5, 4, 2}),
               c = normal<double>({2, 5, 4, 17}).requires_grad();
    const auto weight = normal<double>({22}).requires_grad(), bias = normal<double>({22}).requires_grad();
    const auto w = normal<double>({4, 3, 3, 22}).requires_grad(), shift = normal<double>({4}).requires_grad();
    const auto mean = normal<double>({22}), variance = full<double>({22}, 1.5), mean2 = mean.clone(), variance2 = variance.clone();
    const std::vector<Tensor<double>> leaves{a, c, weight, bias, w, shift};

    FeatureStack<double> stack(a);
    stack.push_back(b);
    FeatureStack<double> other(c);
    (void)other.moments();  // what was computed for one stack serves another
    stack.push_back(other);
    CHECK(stack.parts()[2].shares_memory_with(c));
    const auto y = dense_layer(stack, {weight, bias, mean, variance, training, 0.3, 1e-3}, w, shift, {.padding = 1});
    const auto dy = normal<double>(y.shape());
    y.backward(dy);
    std::vector<Tensor<double>> got;
    for (const auto& leaf : leaves) got.push_back(leaf.grad()), leaf.zero_grad();

    const auto joined = concat({a, b, c}, -1);
    const auto expected = conv2d(batch_norm_relu(joined, weight, bias, mean2, variance2, training, 0.3, 1e-3), w, shift, {.padding = 1});
    CHECK(max_difference(y, expected) < 1e-12);
    CHECK(max_difference(stack.joined(), joined) == 0);
    CHECK(max_difference(mean, mean2) < 1e-15);
    CHECK(max_difference(variance, variance2) < 1e-15);
    expected.backward(dy);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      INFO("leaf ", i);
      CHECK(max_difference(got[i], leaves[i].grad()) < 1e-11);
    }
    NoGrad guard;
    CHECK_FALSE(dense_layer(stack, {weight, bias, mean, variance, false}, w).tracked());
  }
  FeatureStack<double> stack(zeros<double>({1, 2, 2, 3}));
  CHECK_THROWS_WITH_AS(stack.push_back(zeros<double>({1, 2, 3, 3})), doctest::Contains("of the size of [1, 2, 2, 3]"), ShapeError);
  const auto w = zeros<double>({1, 1, 1, 3});
  CHECK_THROWS_WITH_AS((void)dense_layer(stack, {zeros<double>({4})}, w), doctest::Contains("norm.weight"), ShapeError);
  CHECK_THROWS_WITH_AS((void)dense_layer(stack, {.training = false}, w), doctest::Contains("running_mean"), ShapeError);
  CHECK_THROWS_WITH_AS((void)dense_layer(FeatureStack<double>(zeros<double>({1, 1, 1, 3})), {}, w),
                       doctest::Contains("more than one value"), ShapeError);
}

TEST_CASE("FC-DenseNet: training keeps each map once") {
  default_generator() = {1};
  // What a graph of the layers' own operations keeps: for each layer the joined maps, and what the norm made of them.
  FcDenseNetOptions o{.first = 8, .growth = 8, .layers = {12, 1, 1}, .dropout = 0};
  FcDenseNet<float> net(o);
  const auto x = normal<float>({1, 64, 64, 3});
  const std::size_t before = memory_stats<Cpu>().in_use;
  const auto y = net(x);
  const std::size_t kept = memory_stats<Cpu>().in_use - before, map = 8 * 64 * 64 * sizeof(float);
  // 13 maps of the first block, 3 more of the last ones at full size, logits; a quarter for the bottom. The head's are joined again.
  CHECK(kept < 26 * map);
  CHECK(kept > 16 * map);  // naively: 2 * (1 + 2 + ... + 12) = 156 for the first block alone
}

TEST_CASE("FC-DenseNet: any size from 2^n on, names, batch statistics at inference") {
  default_generator() = {2};
  FcDenseNetOptions o{.classes = 2, .first = 4, .growth = 2, .layers = {2, 1, 2, 1, 2}};
  FcDenseNet<> net(o);
  CHECK(net(normal<float>({2, 21, 10, 3})).shape() == Shape{2, 21, 10, 2});
  std::vector<std::string> names;
  for (const auto& entry : nn::state_dict(net)) names.push_back(entry.name);
  for (const char* name : {"first.weight", "down.1.layers.0.bn.running_var", "td.0.bn.weight", "td.1.conv.bias",
                           "bottleneck.layers.1.conv.weight", "tu.0.weight", "up.1.layers.1.conv.bias", "head.bias"})
    CHECK(std::count(names.begin(), names.end(), name) == 1);

  const auto x = normal<float>({1, 16, 12, 3});
  nn::eval(net);
  CHECK(net(normal<float>({1, 4, 5, 3})).shape() == Shape{1, 4, 5, 2});
  CHECK_THROWS_AS((void)net(normal<float>({1, 3, 5, 3})), ShapeError);
  CHECK(max_difference(net(x), net(x)) == 0);  // no dropout

  o.norm = {.eps = 1e-4, .track_running_stats = false};
  FcDenseNet<> paper(o);
  nn::eval(paper);
  for (const auto& entry : nn::state_dict(paper)) CHECK(entry.trainable);
  const auto alone = paper(x), brighter = paper(x * 3.0f);  // normalised by themselves
  CHECK(max_difference(alone, net(x)) > 1e-3);
  CHECK(max_difference(alone, brighter) > 0);
  nn::train(paper);
  nn::for_each_module(paper, [](const std::string&, auto& m) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(m)>, nn::Dropout>) m.p = 0;
  });
  CHECK(max_difference(alone, paper(x)) == 0);
}

TEST_CASE("FC-DenseNet: a few steps lower the loss") {
  default_generator() = {3};
  FcDenseNet<> net({.classes = 3, .first = 8, .growth = 4, .layers = {2, 2, 2, 2, 2}});
  learns(net, {2, 32, 32, 3}, 3, 32, 32);
}
