#include "segnet/optim/rmsprop.hpp"

#include "optim/optimizer_cases.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {
std::vector<optim::RmspropOptions> all_options() {
  return {{.lr = 0.05},
          {.lr = 0.05, .alpha = 0.9, .eps = 1e-3, .weight_decay = 0.1},
          {.lr = 0.02, .alpha = 0.9, .centered = true},
          {.lr = 0.02, .weight_decay = 0.05, .momentum = 0.9},
          {.lr = 0.02, .alpha = 0.95, .weight_decay = 0.01, .momentum = 0.5, .centered = true}};
}
}  // namespace

TEST_CASE_TEMPLATE("Rmsprop: the formula", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const auto& o : all_options())
    check_optimizer<T>([&](const auto& parameters) { return optim::Rmsprop<T>(parameters, o); },
                       [&](double& p, double g, std::array<double, 3>& m, int) {
                         g += o.weight_decay * p;
                         m[0] = o.alpha * m[0] + (1 - o.alpha) * g * g;
                         if (o.centered) m[1] = o.alpha * m[1] + (1 - o.alpha) * g;
                         m[2] = o.momentum * m[2] + g / (std::sqrt(m[0] - m[1] * m[1]) + o.eps);
                         p -= o.lr * m[2];
                       },
                       std::is_same_v<T, float> ? 1e-4 : 1e-11);
}

TEST_CASE_TEMPLATE("Rmsprop: resumes to the bit", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const auto& o : all_options()) check_resume<T>([&](const auto& parameters) { return optim::Rmsprop<T>(parameters, o); });
}

TEST_CASE("Rmsprop: a constant gradient never makes a centered variance negative") {
  const auto w = zeros<float>({1000});
  w.requires_grad();
  const auto gradient = normal<float>({1000});
  optim::Rmsprop<float> optimizer(std::vector{w}, {.lr = 1e-6, .alpha = 0.5, .centered = true});
  for (int t = 0; t < 60; ++t) {
    w.set_grad(gradient);
    optimizer.step();
  }
  for (index_t i = 0; i < 1000; ++i) CHECK_FALSE(std::isnan(w.data()[i]));
}

TEST_CASE("Rmsprop: wrong options") {
  const auto w = zeros<float>({1});
  w.requires_grad();
  CHECK_THROWS_WITH_AS(optim::Rmsprop<float>(std::vector{w}, {.alpha = -1}), doctest::Contains("segnet::Rmsprop: argument 'alpha'"),
                       ValueError);
  CHECK_THROWS_AS(optim::Rmsprop<float>(std::vector{w}, {.momentum = -1}), ValueError);
}
