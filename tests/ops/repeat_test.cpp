#include "segnet/ops/repeat.hpp"

#include "segnet/ops/flip.hpp"
#include "segnet/ops/pixel_shuffle.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Every operation here picks elements: y = P x with 0-1 rows, so <y, dy> = <x, dx> exactly.
template <class T, class F>
void check_pick(const std::string& what, const Shape& shape, const F& f, const Shape& expected) {
  INFO(what, " of ", shape);
  const auto x = integers<T>(shape, -9, 9).requires_grad();
  const Tensor<T> y = f(x);
  CHECK(y.shape() == expected);
  const auto dy = integers<T>(y.shape(), -9, 9);
  y.backward(dy);
  CHECK(dot(y, dy) == dot(x, x.grad()));
}

}  // namespace

TEST_CASE("expand, repeat, repeat_interleave, flip, roll, pixel_shuffle: values") {
  const Tensor<float> x({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(equal(expand(x, {2, 2, 3}), Tensor<float>({2, 2, 3}, {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6})));
  CHECK(equal(expand(Tensor<int>({2, 1}, {7, 8}), {2, 2, 3}), Tensor<int>({2, 2, 3}, {7, 7, 7, 8, 8, 8, 7, 7, 7, 8, 8, 8})));
  const Tensor<float> row({1, 2}, {1, 2});
  CHECK(equal(repeat(row, {2, 2}), Tensor<float>({2, 4}, {1, 2, 1, 2, 1, 2, 1, 2})));
  CHECK(repeat(row, {3, 1, 2}).shape() == Shape{3, 1, 4});
  CHECK(repeat(row, {0, 1}).shape() == Shape{0, 2});
  CHECK(equal(repeat_interleave(row, 3, 1), Tensor<float>({1, 6}, {1, 1, 1, 2, 2, 2})));
  const Tensor<float> m({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(equal(flip(m, {1}), Tensor<float>({2, 3}, {3, 2, 1, 6, 5, 4})));
  CHECK(equal(flip(m, {0, -1}), Tensor<float>({2, 3}, {6, 5, 4, 3, 2, 1})));
  CHECK(equal(roll(m, 1, 1), Tensor<float>({2, 3}, {3, 1, 2, 6, 4, 5})));
  CHECK(equal(roll(m, -4, 1), Tensor<float>({2, 3}, {2, 3, 1, 5, 6, 4})));
  CHECK(roll(zeros<float>({0}), 2, 0).shape() == Shape{0});
  CHECK(equal(pixel_shuffle(arange<float>(8).alias({1, 1, 1, 8}), 2), Tensor<float>({1, 2, 2, 2}, {0, 4, 1, 5, 2, 6, 3, 7})));
  const auto image = normal<float>({2, 6, 9, 5});
  CHECK(equal(pixel_shuffle(pixel_unshuffle(image, 3), 3), image));
}

TEST_CASE_TEMPLATE("expand, repeat, repeat_interleave, flip, roll, pixel_shuffle: gradients are exact transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  check_pick<T>("expand", {2, 1, 3, 1}, [](const auto& x) { return expand(x, {2, 4, 3, 5}); }, {2, 4, 3, 5});
  check_pick<T>("expand", {3}, [](const auto& x) { return expand(x, {2, 2, 3}); }, {2, 2, 3});
  check_pick<T>("expand", {}, [](const auto& x) { return expand(x, {2, 3}); }, {2, 3});
  check_pick<T>("repeat", {2, 3}, [](const auto& x) { return repeat(x, {2, 1, 3}); }, {2, 2, 9});
  check_pick<T>("repeat_interleave", {2, 3, 2}, [](const auto& x) { return repeat_interleave(x, 3, -2); }, {2, 9, 2});
  check_pick<T>("flip", {2, 3, 20}, [](const auto& x) { return flip(x, {1, 2}); }, {2, 3, 20});
  check_pick<T>("roll", {4, 5, 40}, [](const auto& x) { return roll(roll(x, 2, 1), -3, -1); }, {4, 5, 40});
  check_pick<T>("pixel_shuffle", {1, 3, 4, 8}, [](const auto& x) { return pixel_shuffle(x, 2); }, {1, 6, 8, 2});
  check_pick<T>("pixel_unshuffle", {1, 6, 9, 2}, [](const auto& x) { return pixel_unshuffle(x, 3); }, {1, 2, 3, 18});
}

TEST_CASE("expand, repeat, flip, roll, pixel_shuffle: errors") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(expand(x, {3}), "segnet::expand: argument 'x': expected a shape that broadcasts to [3], got [2, 3]", ShapeError);
  CHECK_THROWS_AS(expand(x, {2, 4}), ShapeError);
  CHECK_THROWS_AS(expand(x, {1, 3}), ShapeError);
  CHECK_THROWS_WITH_AS(repeat(x, {2}), "segnet::repeat: argument 'repeats': expected at least 2 numbers for x [2, 3], got 1", ValueError);
  CHECK_THROWS_AS(repeat(x, {2, -1}), ValueError);
  CHECK_THROWS_AS(repeat_interleave(x, -1, 0), ValueError);
  CHECK_THROWS_AS(flip(x, {2}), ValueError);
  CHECK_THROWS_AS(roll(x, 1, -3), ValueError);
  CHECK_THROWS_WITH_AS(pixel_shuffle(zeros<float>({1, 2, 2, 6}), 2),
                       "segnet::pixel_shuffle: argument 'x': expected [N, H, W, C * 4], got [1, 2, 2, 6]", ShapeError);
  CHECK_THROWS_AS(pixel_shuffle(x, 0), ValueError);
  CHECK_THROWS_WITH_AS(pixel_unshuffle(zeros<float>({1, 2, 3, 1}), 2), doctest::Contains("[N, H * 2, W * 2, C]"), ShapeError);
}
