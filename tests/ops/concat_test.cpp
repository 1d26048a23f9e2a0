#include "segnet/ops/concat.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("concat and stack: every dimension, values by index, gradients exactly", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& base : {Shape{2, 3, 4}, Shape{1, 5, 2, 70}, Shape{3}})
    for (int dim = -base.rank(); dim < base.rank(); ++dim) {
      INFO("concat ", base, " along ", dim);
      std::vector<Tensor<T>> parts;
      for (const index_t size : {2, 1, 0, 5}) {
        Shape shape = base;
        shape[dim] = size;
        parts.push_back(integers<T>(shape, -9, 9).requires_grad());
      }
      const auto y = concat(parts, dim);
      REQUIRE(y.dim(dim) == 8);
      const auto back = split(y, {2, 1, 0, 5}, dim);
      for (std::size_t i = 0; i < parts.size(); ++i) CHECK(equal(back[i], parts[i]));
      const auto dy = integers<T>(y.shape(), -9, 9);
      y.backward(dy);
      const auto expected = split(dy, {2, 1, 0, 5}, dim);
      for (std::size_t i = 0; i < parts.size(); ++i) CHECK(equal(parts[i].grad(), expected[i]));

      const auto a = integers<T>(base, -9, 9).requires_grad(), b = integers<T>(base, -9, 9).requires_grad();
      const auto s = stack({a, b}, dim);
      REQUIRE(s.rank() == base.rank() + 1);
      const int at = dim < 0 ? dim + s.rank() : dim;
      CHECK(equal(select(s, at, 0), a));
      CHECK(equal(select(s, at, 1), b));
      const auto ds = integers<T>(s.shape(), -9, 9);
      s.backward(ds);
      CHECK(equal(a.grad(), select(ds, at, 0)));
      CHECK(equal(b.grad(), select(ds, at, 1)));
    }
}

TEST_CASE("concat: element by element, and only the gradients that are wanted") {
  const Tensor<float> a({2, 1, 2}, {1, 2, 3, 4}), b({2, 1, 3}, {5, 6, 7, 8, 9, 10});
  b.requires_grad();
  const auto y = concat({a, b}, -1);
  CHECK(equal(y, Tensor<float>({2, 1, 5}, {1, 2, 5, 6, 7, 3, 4, 8, 9, 10})));
  y.backward(Tensor<float>({2, 1, 5}, {0, 0, 1, 2, 3, 0, 0, 4, 5, 6}));
  CHECK(equal(b.grad(), Tensor<float>({2, 1, 3}, {1, 2, 3, 4, 5, 6})));
  CHECK_FALSE(a.grad());
  CHECK(equal(concat({Tensor<bool>({1}, {true}), Tensor<bool>({1}, {false})}, 0), Tensor<bool>({2}, {true, false})));
}

TEST_CASE("split and chunk: pieces and their gradients") {
  const auto x = integers<double>({7, 2}, -9, 9).requires_grad();
  const auto pieces = chunk(x, 3, 0);
  REQUIRE(pieces.size() == 3);
  CHECK(pieces[0].shape() == Shape{3, 2});
  CHECK(pieces[2].shape() == Shape{1, 2});
  CHECK(pieces[1].shares_memory_with(x));  // rows lie together
  pieces[1].backward(ones<double>({3, 2}));
  CHECK(equal(x.grad(), concat({zeros<double>({3, 2}), ones<double>({3, 2}), zeros<double>({1, 2})}, 0)));
  CHECK(chunk(x, 5, 0).size() == 4);  // of two rows each: the last one has one
  CHECK(chunk(zeros<float>({0, 2}), 3, 0).size() == 1);
  CHECK(chunk(x, 2, -1)[1].shape() == Shape{7, 1});
}

TEST_CASE("concat, stack, split, chunk: errors") {
  const auto a = zeros<float>({2, 3}), b = zeros<float>({2, 4});
  CHECK_THROWS_WITH_AS(concat({a, b}, 0), "segnet::concat: argument 'tensors': expected shapes like [2, 3] but in dimension 0, got [2, 4]",
                       ShapeError);
  CHECK_THROWS_AS(concat({a, zeros<float>({2, 3, 1})}, 1), ShapeError);
  CHECK_THROWS_WITH_AS(concat({a}, 2), doctest::Contains("segnet::concat: argument 'dim'"), ValueError);
  CHECK_THROWS_AS(concat(std::vector<Tensor<float>>{}, 0), ValueError);
  CHECK_THROWS_WITH_AS(stack({a, b}), "segnet::stack: argument 'tensors': expected all of shape [2, 3], got [2, 4]", ShapeError);
  CHECK_THROWS_AS(stack(std::vector<Tensor<float>>{}), ValueError);
  CHECK_THROWS_WITH_AS(split(a, {1, 1}, 1), "segnet::split: argument 'sizes': expected a sum of 3 for dimension 1 of [2, 3], got 2",
                       ValueError);
  CHECK_THROWS_WITH_AS(chunk(a, 0, 1), doctest::Contains("expected at least 1, got 0"), ValueError);
}
