#include "segnet/optim/adam.hpp"

#include "optim/optimizer_cases.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class Options>
std::vector<Options> all_options() {
  return {{.lr = 0.1},
          {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.1},
          {.lr = 0.1, .weight_decay = 0, .amsgrad = true},
          {.lr = 0.1, .beta2 = 0.5, .weight_decay = 0.2, .amsgrad = true}};
}

/// The papers' formula; `decoupled` for AdamW.
template <class Options>
auto formula(const Options& o, bool decoupled) {
  return [=](double& p, double g, std::array<double, 3>& m, int t) {
    if (decoupled) p *= 1 - o.lr * o.weight_decay;
    else g += o.weight_decay * p;
    m[0] = o.beta1 * m[0] + (1 - o.beta1) * g;
    m[1] = o.beta2 * m[1] + (1 - o.beta2) * g * g;
    m[2] = std::max(m[2], m[1]);
    const double v = (o.amsgrad ? m[2] : m[1]) / (1 - std::pow(o.beta2, t));
    p -= o.lr * m[0] / (1 - std::pow(o.beta1, t)) / (std::sqrt(v) + o.eps);
  };
}

}  // namespace

TEST_CASE_TEMPLATE("Adam, AdamW: the formula", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-12;
  for (const auto& o : all_options<optim::AdamOptions>())
    check_optimizer<T>([&](const auto& parameters) { return optim::Adam<T>(parameters, o); }, formula(o, false), tolerance);
  for (const auto& o : all_options<optim::AdamWOptions>())
    check_optimizer<T>([&](const auto& parameters) { return optim::AdamW<T>(parameters, o); }, formula(o, true), tolerance);
}

TEST_CASE_TEMPLATE("Adam, AdamW: resume to the bit", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const auto& o : all_options<optim::AdamOptions>())
    check_resume<T>([&](const auto& parameters) { return optim::Adam<T>(parameters, o); });
  for (const auto& o : all_options<optim::AdamWOptions>())
    check_resume<T>([&](const auto& parameters) { return optim::AdamW<T>(parameters, o); });
}

TEST_CASE("Adam: the first step has the length of the learning rate, whatever the gradient") {
  const Tensor<double> w({3}, {1, 1, 1});
  w.requires_grad();
  w.set_grad(Tensor<double>({3}, {1e-3, -5, 1e6}));
  optim::Adam<double>(std::vector{w}, {.lr = 0.25}).step();
  CHECK(max_difference(w, Tensor<double>({3}, {0.75, 1.25, 0.75})) < 1e-5);
}

TEST_CASE("Adam, AdamW: wrong options") {
  const auto w = zeros<float>({1});
  w.requires_grad();
  CHECK_THROWS_WITH_AS(optim::Adam<float>(std::vector{w}, {.beta1 = 1}),
                       "segnet::Adam: argument 'beta1': expected a number in [0, 1), got 1", ValueError);
  CHECK_THROWS_WITH_AS(optim::AdamW<float>(std::vector{w}, {.beta2 = -0.1}), doctest::Contains("segnet::AdamW: argument 'beta2'"),
                       ValueError);
  CHECK_THROWS_AS(optim::Adam<float>(std::vector{w}, {.eps = -1}), ValueError);
  CHECK_THROWS_AS(optim::AdamW<float>(std::vector{w}, {.weight_decay = -1}), ValueError);
}
