#include "segnet/ops/reshape.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("reshape, flatten, squeeze, unsqueeze: the same memory, forwards and backwards", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto x = integers<T>({2, 3, 4, 5}, -9, 9).requires_grad();
  const auto check = [&](const Tensor<T>& y, const Shape& shape) {
    INFO("to ", shape);
    CHECK(y.shape() == shape);
    CHECK(y.shares_memory_with(x));
    CHECK(y.data() == x.data());
    x.zero_grad();
    const auto dy = integers<T>(shape, -9, 9);
    y.backward(dy);
    CHECK(equal(x.grad(), dy.alias(x.shape())));
    CHECK(x.grad().shares_memory_with(dy));
  };
  check(reshape(x, Shape{6, 20}), {6, 20});
  check(reshape(x, {2, 12, -1}), {2, 12, 5});
  check(reshape(x, {-1}), {120});
  check(reshape(x, std::vector<index_t>{5, -1, 2}), {5, 12, 2});
  check(flatten(x), {120});
  check(flatten(x, 1), {2, 60});
  check(flatten(x, 1, -2), {2, 12, 5});
  check(flatten(x, 2, 2), {2, 3, 4, 5});
  check(unsqueeze(x, 0), {1, 2, 3, 4, 5});
  check(unsqueeze(x, -1), {2, 3, 4, 5, 1});
  check(unsqueeze(x, 2), {2, 3, 1, 4, 5});
  check(squeeze(unsqueeze(x, 3), 3), {2, 3, 4, 5});
  check(squeeze(unsqueeze(x, -2), -2), {2, 3, 4, 5});
}

TEST_CASE("reshape: scalars, empty tensors, other types") {
  CHECK(reshape(ones<float>({1, 1}), Shape{}).shape() == Shape{});
  CHECK(flatten(ones<float>({})).shape() == Shape{1});
  CHECK(reshape(zeros<float>({0, 3}), {5, 0}).shape() == Shape{5, 0});
  CHECK(reshape(zeros<float>({0, 3}), {-1, 3}).shape() == Shape{0, 3});
  CHECK(reshape(arange<int>(6), {2, -1}).shape() == Shape{2, 3});
}

TEST_CASE("reshape: errors") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(reshape(x, Shape{4}), "segnet::reshape: argument 'shape': expected the 6 elements of [2, 3], got [4]", ShapeError);
  CHECK_THROWS_WITH_AS(reshape(x, {-1, -1}), "segnet::reshape: argument 'sizes': expected at most one -1, got two", ValueError);
  CHECK_THROWS_WITH_AS(reshape(x, {4, -1}), doctest::Contains("expected sizes that divide 6 elements"), ShapeError);
  CHECK_THROWS_WITH_AS(reshape(x, {0, -1}), doctest::Contains("expected no -1 beside a size of 0"), ValueError);
  CHECK_THROWS_AS(reshape(x, {-2, -3}), ValueError);
  CHECK_THROWS_WITH_AS(squeeze(x, 1), "segnet::squeeze: argument 'x': expected size 1 in dimension 1, got [2, 3]", ShapeError);
  CHECK_THROWS_AS(unsqueeze(x, 3), ValueError);
  CHECK_THROWS_WITH_AS(flatten(x, 1, 0), "segnet::flatten: argument 'first': expected at most last = 0, got 1", ValueError);
}
