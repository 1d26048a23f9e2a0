#include "segnet/optim/sgd.hpp"

#include "optim/optimizer_cases.hpp"
#include "segnet/nn/module.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {
struct Pair {
  nn::Parameter<float> weight{ones<float>({2})};
  nn::Parameter<float> bias{ones<float>({1})};
  SEGNET_FIELDS(weight, bias)
};

std::vector<optim::SgdOptions> all_options() {
  return {{.lr = 0.1},
          {.lr = 0.1, .weight_decay = 0.05},
          {.lr = 0.1, .momentum = 0.9},
          {.lr = 0.05, .momentum = 0.8, .dampening = 0.3, .weight_decay = 0.1},
          {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.02, .nesterov = true}};
}
}  // namespace

TEST_CASE_TEMPLATE("Sgd: the formula", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const auto& o : all_options())
    check_optimizer<T>([&](const auto& parameters) { return optim::Sgd<T>(parameters, o); },
                       [&](double& p, double g, std::array<double, 3>& m, int t) {
                         g += o.weight_decay * p;
                         m[0] = t == 1 ? g : o.momentum * m[0] + (1 - o.dampening) * g;
                         const double step = o.momentum == 0 ? g : o.nesterov ? g + o.momentum * m[0] : m[0];
                         p -= o.lr * step;
                       },
                       std::is_same_v<T, float> ? 2e-5 : 1e-13);
}

TEST_CASE_TEMPLATE("Sgd: resumes to the bit", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const auto& o : all_options()) check_resume<T>([&](const auto& parameters) { return optim::Sgd<T>(parameters, o); });
}

TEST_CASE("optimisers: groups have their own options, set_lr keeps their scale") {
  const Tensor<double> a({1}, {1}), b({1}, {1}), idle({1}, {1});
  for (const auto& t : {a, b, idle}) t.requires_grad();
  optim::Sgd<double> optimizer(std::vector{a, idle}, {.lr = 0.5});
  optimizer.add_group(std::vector{b}, {.lr = 0.5, .weight_decay = 1}).lr_scale = 10;
  const auto step = [&](double expected_a, double expected_b) {
    a.set_grad(ones<double>({1}));
    b.set_grad(ones<double>({1}));
    optimizer.step();
    CHECK(a.item() == expected_a);
    CHECK(b.item() == expected_b);
    CHECK(idle.item() == 1);
  };
  step(0.5, -9);
  optimizer.set_lr(0.25);
  CHECK(optimizer.lr() == 0.25);
  step(0.25, 11);  // b: -9 - 2.5 (1 - 9)
  optimizer.groups()[1].options.weight_decay = 0;
  step(0, 8.5);
  CHECK(optimizer.parameters().size() == 3);
  CHECK(optimizer.state().steps == std::vector<std::pair<std::string, std::int64_t>>{{"0", 3}, {"2", 3}});
}

TEST_CASE("optimisers: parameters of a module, by name") {
  const Pair pair;
  optim::Sgd<> optimizer(nn::named_parameters(pair), {.lr = 1, .momentum = 0.5});
  pair.weight.set_grad(ones<float>({2}));
  optimizer.step();
  CHECK(equal<float>(pair.weight, zeros<float>({2})));
  REQUIRE(optimizer.state().tensors.size() == 1);
  CHECK(optimizer.state().tensors[0].first == "weight.momentum");
  CHECK_THROWS_WITH_AS(optimizer.add_group(nn::named_parameters(pair)), doctest::Contains("two of 'weight'"), ValueError);
  CHECK_THROWS_WITH_AS(optimizer.add_group(nn::parameters(pair)), doctest::Contains("'weight' again as '2'"), ValueError);
}

TEST_CASE("optimisers: chosen at run time") {
  const auto w = full<float>({3}, 2);
  w.requires_grad();
  const std::unique_ptr<optim::Optimizer<float>> optimizer =
      std::make_unique<optim::Sgd<float>>(std::vector{w}, optim::SgdOptions{.lr = 1});
  w.set_grad(ones<float>({3}));
  optimizer->step();
  CHECK(equal(w, ones<float>({3})));
  optimizer->zero_grad();
  optimizer->step();
  CHECK(equal(w, ones<float>({3})));
}

TEST_CASE("Sgd: wrong options") {
  const auto w = zeros<float>({1});
  w.requires_grad();
  const auto with = [&](const optim::SgdOptions& options) { optim::Sgd<float> optimizer(std::vector{w}, options); };
  CHECK_THROWS_WITH_AS(with({.lr = -1}), "segnet::Sgd: argument 'lr': expected a number of at least 0, got -1", ValueError);
  CHECK_THROWS_AS(with({.lr = NAN}), ValueError);
  CHECK_THROWS_AS(with({.momentum = -0.1}), ValueError);
  CHECK_THROWS_AS(with({.weight_decay = -0.1}), ValueError);
  CHECK_THROWS_WITH_AS(with({.nesterov = true}), doctest::Contains("argument 'nesterov'"), ValueError);
  CHECK_THROWS_AS(with({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), ValueError);
}
