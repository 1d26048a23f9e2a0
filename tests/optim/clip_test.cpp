#include "segnet/optim/clip.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {
template <class T>
std::vector<Tensor<T>> parameters_with_gradients(const std::vector<std::vector<T>>& gradients) {
  std::vector<Tensor<T>> all;
  for (const auto& g : gradients) {
    all.push_back(zeros<T>({static_cast<index_t>(g.size())}));
    all.back().requires_grad();
    all.back().set_grad(Tensor<T>(all.back().shape(), g));
  }
  return all;
}
}  // namespace

TEST_CASE_TEMPLATE("clip_grad_norm: one norm over all gradients", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  auto parameters = parameters_with_gradients<T>({{3, 0}, {0, 4, 0}});
  parameters.push_back(zeros<T>({2}).requires_grad());  // no gradient
  CHECK(optim::clip_grad_norm(parameters, 10) == 5);
  CHECK(equal(parameters[0].grad(), Tensor<T>({2}, {3, 0})));
  CHECK(optim::clip_grad_norm(parameters, 1) == 5);
  CHECK(max_difference(parameters[0].grad(), Tensor<double>({2}, {3 / 5.000001, 0})) < 1e-7);
  CHECK(max_difference(parameters[1].grad(), Tensor<double>({3}, {0, 4 / 5.000001, 0})) < 1e-7);
  CHECK_FALSE(parameters[2].grad());
  CHECK(optim::clip_grad_norm(parameters, 0) < 1);
  CHECK(optim::grad_norm(parameters) == 0);
  CHECK(optim::grad_norm(std::vector<Tensor<T>>{}) == 0);
}

TEST_CASE("clip_grad_norm: a million elements, the same bits for any number of threads") {
  const auto w = zeros<float>({1000003});
  w.requires_grad();
  w.set_grad(full<float>(w.shape(), 0.1f));
  const int before = num_threads();
  set_num_threads(1);
  const double one = optim::grad_norm(std::vector{w});
  set_num_threads(3);
  CHECK(optim::grad_norm(std::vector{w}) == one);
  set_num_threads(before);
  CHECK(std::abs(one - static_cast<double>(0.1f) * std::sqrt(1000003.0)) < 1e-9);
}

TEST_CASE("clip_grad_norm: what is not finite is reported and left alone") {
  for (const float bad : {NAN, INFINITY}) {
    const auto parameters = parameters_with_gradients<float>({{1, bad}, {2, 3}});
    CHECK_FALSE(std::isfinite(optim::clip_grad_norm(parameters, 1)));
    CHECK(equal(parameters[1].grad(), Tensor<float>({2}, {2, 3})));
  }
}

TEST_CASE("clipping never writes to a gradient that somebody else holds") {
  const auto a = zeros<float>({2}), b = zeros<float>({2});
  a.requires_grad(), b.requires_grad();
  const Tensor<float> shared({2}, {6, 8});
  a.set_grad(shared);
  b.set_grad(shared);
  const double norm = optim::clip_grad_norm(std::vector{a, b}, 1);
  CHECK(norm == std::sqrt(200.0));
  CHECK(equal(shared, Tensor<float>({2}, {6, 8})));
  CHECK(equal(a.grad(), b.grad()));
  CHECK(std::abs(optim::grad_norm(std::vector{a, b}) - 1) < 1e-6);
}

TEST_CASE_TEMPLATE("clip_grad_value", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto parameters = parameters_with_gradients<T>({{3, -7, T(0.5), static_cast<T>(NAN)}, {-1}});
  optim::clip_grad_value(parameters, 2);
  CHECK(equal(parameters[0].grad(), Tensor<T>({4}, {2, -2, T(0.5), static_cast<T>(NAN)})));
  CHECK(equal(parameters[1].grad(), Tensor<T>({1}, {-1})));
  CHECK_THROWS_AS(optim::clip_grad_value(parameters, -1), ValueError);
  CHECK_THROWS_AS(optim::clip_grad_norm(parameters, NAN), ValueError);
}
