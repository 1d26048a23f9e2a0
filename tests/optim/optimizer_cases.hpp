// Optimisers against their formulas: what the tests of the single optimisers share.
#pragma once

#include "segnet/optim/optimizer.hpp"
#include "support/testing.hpp"

namespace segnet::testing {

/// Runs `steps` steps on parameters of several sizes (none, one element, more than a chunk) with random gradients, and the formula
/// beside it on plain doubles: formula(parameter, gradient, state, t) with three numbers of state per element, 0 at first.
template <class T, class Make, class Formula>
void check_optimizer(const Make& make, const Formula& formula, double tolerance) {
  const std::vector<Shape> shapes = {{0}, {1}, {3, 5}, {40000}};
  std::vector<Tensor<T>> parameters;
  std::vector<std::vector<double>> expected;
  std::vector<std::vector<std::array<double, 3>>> memory;
  for (const Shape& shape : shapes) {
    parameters.push_back(normal<T>(shape));
    parameters.back().requires_grad();
    const auto values = parameters.back().to_vector();
    expected.emplace_back(values.begin(), values.end());
    memory.emplace_back(values.size());
  }
  auto optimizer = make(parameters);
  for (int t = 1; t <= 5; ++t) {
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      const auto gradient = normal<T>(shapes[k]);
      parameters[k].set_grad(gradient);
      for (std::size_t i = 0; i < expected[k].size(); ++i)
        formula(expected[k][i], static_cast<double>(gradient.data()[i]), memory[k][i], t);
    }
    optimizer.step();
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      double worst = 0;
      for (std::size_t i = 0; i < expected[k].size(); ++i)
        worst = std::max(worst, std::abs(static_cast<double>(parameters[k].data()[i]) - expected[k][i]));
      CAPTURE(shapes[k]);
      CAPTURE(t);
      CHECK(worst < tolerance);
    }
    optimizer.zero_grad();
    CHECK_FALSE(parameters[3].grad());
  }
}

/// A training of four steps is the same, to the bit, as two steps, a checkpoint into a fresh optimiser, and two more.
template <class T, class Make>
void check_resume(const Make& make) {
  const std::vector<Shape> shapes = {{7}, {20, 30}, {4}};
  std::vector<Tensor<T>> start, gradients;
  for (int t = 0; t < 4; ++t)
    for (const Shape& shape : shapes) gradients.push_back(normal<T>(shape));
  for (const Shape& shape : shapes) start.push_back(normal<T>(shape));
  const auto train = [&](auto& optimizer, const std::vector<Tensor<T>>& parameters, std::size_t from, std::size_t to) {
    for (std::size_t t = from; t < to; ++t) {
      for (std::size_t k = 0; k < shapes.size(); ++k)
        if (k < 2 || t == 3) parameters[k].set_grad(gradients[t * shapes.size() + k]);  // the last one joins late
      optimizer.step();
      optimizer.zero_grad();
    }
  };
  const auto copies = [&](const std::vector<Tensor<T>>& from) {
    std::vector<Tensor<T>> to;
    for (const auto& tensor : from) to.push_back(tensor.clone().requires_grad());
    return to;
  };
  const auto whole = copies(start), first = copies(start);
  auto optimizer = make(whole), before = make(first);
  train(optimizer, whole, 0, 4);
  train(before, first, 0, 2);
  const auto second = copies(first);
  auto after = make(second);
  auto state = before.state();
  CHECK(state.steps.size() == 2);
  after.load_state(state);
  train(before, first, 2, 3);  // must not touch what was loaded
  train(after, second, 2, 4);
  for (std::size_t k = 0; k < shapes.size(); ++k) CHECK(equal(whole[k], second[k]));

  state = after.state();
  const auto unchanged = second[0].clone();
  if (!state.tensors.empty()) {
    auto broken = state;
    broken.tensors.pop_back();
    CHECK_THROWS_AS(after.load_state(broken), ValueError);
    broken = state;
    broken.tensors[0].second = Tensor<T>({8});
    CHECK_THROWS_AS(after.load_state(broken), ShapeError);
  }
  auto foreign = state;
  foreign.steps.push_back({"nobody", 3});
  CHECK_THROWS_WITH_AS(after.load_state(foreign), doctest::Contains("1 entries of others"), ValueError);
  CHECK(after.state().steps == state.steps);
}

}  // namespace segnet::testing
