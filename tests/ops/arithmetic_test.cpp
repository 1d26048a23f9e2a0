#include "segnet/ops/arithmetic.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Every shape that keeps or drops to 1 each size of `full`, and every one of these without leading dimensions.
std::vector<Shape> broadcastable_to(const Shape& full) {
  std::vector<Shape> shapes;
  for (int first = 0; first <= full.rank(); ++first)
    for (int bits = 0; bits < 1 << (full.rank() - first); ++bits) {
      Shape shape;
      for (int d = first; d < full.rank(); ++d) shape.push_back(bits >> (d - first) & 1 ? 1 : full[d]);
      shapes.push_back(shape);
    }
  return shapes;
}

/// The element of x, read as if it had shape y, at element i of y: by definition, one dimension at a time.
template <class T>
T broadcast_element(const Tensor<T>& x, const Shape& y, index_t i) {
  index_t offset = 0, stride = 1;
  for (int d = 1; d <= y.rank(); ++d) {
    const index_t at = i % y[-d];
    i /= y[-d];
    if (d > x.rank()) continue;
    if (x.dim(-d) != 1) offset += at * stride;
    stride *= x.dim(-d);
  }
  return x.data()[offset];
}

}  // namespace

TEST_CASE_TEMPLATE("arithmetic: every combination of broadcast dimensions, values and gradients exactly", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& full : {Shape{2, 3, 5}, Shape{3, 2, 2, 4}}) {
    const auto shapes = broadcastable_to(full);
    for (const Shape& a_shape : shapes)
      for (const Shape& b_shape : shapes) {
        const Shape shape = kernels::broadcast_shape("test", a_shape, b_shape);
        INFO("a ", a_shape, " b ", b_shape);
        const auto a = integers<T>(a_shape, -4, 4).requires_grad(), b = integers<T>(b_shape, -4, 4).requires_grad();
        const auto sum = a + b, difference = a - b, product = a * b;
        REQUIRE(sum.shape() == shape);
        bool right = true;
        for (index_t i = 0; i < sum.numel(); ++i) {
          const T x = broadcast_element(a, shape, i), y = broadcast_element(b, shape, i);
          right &= sum.data()[i] == x + y && difference.data()[i] == x - y && product.data()[i] == x * y;
        }
        CHECK(right);
        // a + b is linear: <a + b, dy> = <a, da> + <b, db>. a b is linear in each: <a b, dy> = <a, da> = <b, db>.
        const auto dy = integers<T>(shape, -4, 4);
        sum.backward(dy);
        CHECK(dot(sum, dy) == dot(a, a.grad()) + dot(b, b.grad()));
        a.zero_grad(), b.zero_grad();
        difference.backward(dy);
        CHECK(dot(difference, dy) == dot(a, a.grad()) + dot(b, b.grad()));
        a.zero_grad(), b.zero_grad();
        product.backward(dy);
        CHECK(dot(product, dy) == dot(a, a.grad()));
        CHECK(dot(product, dy) == dot(b, b.grad()));
      }
  }
}

TEST_CASE_TEMPLATE("arithmetic: large operands are read in blocks, whose seams do not show", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  struct Case {
    Shape a, b;
  };
  for (const Case& c : {Case{{2, 37, 41, 19}, {19}},
                        {{2, 37, 41, 19}, {2, 1, 1, 19}},
                        {{2, 37, 41, 19}, {2, 37, 41, 1}},
                        {{70000}, {}},
                        {{3, 1500}, {1500}},
                        {{3, 1500}, {3, 1}},
                        {{30, 1, 1500}, {7, 1}},
                        {{5, 1, 1023}, {1, 9, 1023}}}) {
    INFO("a ", c.a, " b ", c.b);
    const auto a = integers<T>(c.a, -9, 9), b = integers<T>(c.b, -9, 9);
    for (const auto& [x, y] : {std::pair(a, b), std::pair(b, a)}) {
      const auto difference = x - y;
      index_t wrong = 0;
      for (index_t i = 0; i < difference.numel(); ++i)
        wrong += difference.data()[i] != broadcast_element(x, difference.shape(), i) - broadcast_element(y, difference.shape(), i);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("arithmetic: gradients of what is not linear") {
  const Shape full{2, 3, 4};
  for (const Shape& a_shape : {full, Shape{3, 1}, Shape{2, 1, 4}})
    for (const Shape& b_shape : {full, Shape{4}, Shape{}, Shape{1, 3, 1}}) {
      const std::string shapes = concat(a_shape, " with ", b_shape);
      const auto a = distinct<double>(a_shape), positive = random_uniform<double>(a_shape, testing::random(), 0.5, 2);
      const auto b = random_uniform<double>(b_shape, testing::random(), 0.5, 2);
      check_gradients("div " + shapes, [](const auto& in) { return in[0] / in[1]; }, {a, b});
      check_gradients("pow " + shapes, [](const auto& in) { return pow(in[0], in[1]); }, {positive, b});
      check_gradients("atan2 " + shapes, [](const auto& in) { return atan2(in[0], in[1]); }, {a, b});
      check_gradients("maximum " + shapes, [](const auto& in) { return maximum(in[0], in[1]); }, {a, b});
      check_gradients("minimum " + shapes, [](const auto& in) { return minimum(in[0], in[1]); }, {a, b});
    }
}

TEST_CASE_TEMPLATE("arithmetic: with numbers, on either side", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Tensor<T> x({4}, {1, -2, 4, 8});
  x.requires_grad();
  CHECK(equal(x + 2, Tensor<T>({4}, {3, 0, 6, 10})));
  CHECK(equal(2 + x, Tensor<T>({4}, {3, 0, 6, 10})));
  CHECK(equal(x - 2, Tensor<T>({4}, {-1, -4, 2, 6})));
  CHECK(equal(2 - x, Tensor<T>({4}, {1, 4, -2, -6})));
  CHECK(equal(x * 0.5, Tensor<T>({4}, {T(0.5), -1, 2, 4})));
  CHECK(equal(x / 2, Tensor<T>({4}, {T(0.5), -1, 2, 4})));
  CHECK(equal(8 / x, Tensor<T>({4}, {8, -4, 2, 1})));
  CHECK(equal(-x, Tensor<T>({4}, {-1, 2, -4, -8})));
  CHECK(equal(pow(x, 2), Tensor<T>({4}, {1, 4, 16, 64})));
  CHECK(equal(maximum(x, 3), Tensor<T>({4}, {3, 3, 4, 8})));
  CHECK(equal(minimum(x, 3), Tensor<T>({4}, {1, -2, 3, 3})));
  const auto gradient = [&](const Tensor<T>& y) {
    x.zero_grad();
    y.backward(ones<T>({4}));
    return x.grad();
  };
  CHECK(equal(gradient(2 + x), ones<T>({4})));
  CHECK(equal(gradient(2 - x), full<T>({4}, -1)));
  CHECK(equal(gradient(x * 3), full<T>({4}, 3)));
  CHECK(equal(gradient(x / 4), full<T>({4}, T(0.25))));
  CHECK(equal(gradient(8 / x), Tensor<T>({4}, {-8, -2, T(-0.5), T(-0.125)})));
  CHECK(equal(gradient(-x), full<T>({4}, -1)));
  CHECK(equal(gradient(pow(x, 2)), Tensor<T>({4}, {2, -4, 8, 16})));
  CHECK(equal(gradient(maximum(x, 4)), Tensor<T>({4}, {0, 0, T(0.5), 1})));
}

TEST_CASE("arithmetic: ties, zeros and NaN") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor<double> a({4}, {1, 2, nan, 3}), b({4}, {1, 3, 0, nan});
  a.requires_grad(), b.requires_grad();
  const auto larger = maximum(a, b);
  CHECK(equal(larger, Tensor<double>({4}, {1, 3, nan, nan})));
  CHECK(equal(minimum(a, b), Tensor<double>({4}, {1, 2, nan, nan})));
  larger.backward(Tensor<double>({4}, {8, 8, 0, 0}));
  CHECK(equal(a.grad(), Tensor<double>({4}, {4, 0, 0, 0})));
  CHECK(equal(b.grad(), Tensor<double>({4}, {4, 8, 0, 0})));

  const Tensor<double> base({3}, {0, 0, 2}), exponent({3}, {2, 0, 0});
  base.requires_grad(), exponent.requires_grad();
  pow(base, exponent).backward(ones<double>({3}));
  CHECK(equal(base.grad(), zeros<double>({3})));
  CHECK(equal(exponent.grad(), Tensor<double>({3}, {0, 0, std::log(2.0)})));
}

TEST_CASE("arithmetic: the same tensor twice, empty tensors, integers") {
  const auto x = Tensor<double>({2}, {3, 5}).requires_grad();
  (x * x + x).backward(ones<double>({2}));
  CHECK(equal(x.grad(), Tensor<double>({2}, {7, 11})));

  const auto none = zeros<float>({0, 4}).requires_grad(), row = ones<float>({4}).requires_grad();
  const auto y = none * row;
  CHECK(y.shape() == Shape{0, 4});
  y.backward(zeros<float>({0, 4}));
  CHECK(none.grad().shape() == Shape{0, 4});
  CHECK(equal(row.grad(), zeros<float>({4})));
  CHECK((zeros<float>({0, 1}) + ones<float>({1, 3})).shape() == Shape{0, 3});
  CHECK((zeros<float>({3, 0}) + ones<float>({})).shape() == Shape{3, 0});

  CHECK(equal(Tensor<int>({2}, {3, 5}) * 2 - Tensor<int>({1}, {1}), Tensor<int>({2}, {5, 9})));
}

TEST_CASE("arithmetic: the backward pass keeps only what it reads") {
  const std::size_t before = memory_stats().in_use;
  {
    const auto x = ones<float>({1 << 20}).requires_grad();
    auto y = x * 2 + 1;        // neither reads an operand backwards:
    y = y + ones<float>({1});  // all results but the last are freed
    CHECK(memory_stats().in_use - before < 2.5 * 4 * (1 << 20));
    y.backward(ones<float>({1 << 20}));
    CHECK(x.grad().data()[77] == 2);
  }
  CHECK(memory_stats().in_use == before);
}

TEST_CASE("arithmetic: shapes that do not broadcast") {
  const auto a = zeros<float>({2, 3}), b = zeros<float>({2, 4});
  CHECK_THROWS_WITH_AS(a + b, "segnet::add: argument 'b': expected a shape that broadcasts with [2, 3], got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(less(a, b), "segnet::less: argument 'b': expected a shape that broadcasts with [2, 3], got [2, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(sum_to(a, {4}), doctest::Contains("segnet::sum_to"), ShapeError);
  CHECK_THROWS_WITH_AS(sum_to(b, {3, 2, 4}), "segnet::sum_to: argument 'shape': expected a shape that broadcasts to [2, 4], got [3, 2, 4]",
                       ShapeError);
}

TEST_CASE("comparisons: broadcast, numbers, NaN") {
  const Tensor<float> a({2, 3}, {1, 2, 3, 4, 5, std::nanf("")}), b({3}, {2, 2, 2});
  CHECK(equal(less(a, b), Tensor<bool>({2, 3}, {true, false, false, false, false, false})));
  CHECK(equal(less_equal(a, b), Tensor<bool>({2, 3}, {true, true, false, false, false, false})));
  CHECK(equal(greater(a, b), Tensor<bool>({2, 3}, {false, false, true, true, true, false})));
  CHECK(equal(greater_equal(a, 2), Tensor<bool>({2, 3}, {false, true, true, true, true, false})));
  CHECK(equal(equal_to(a, 5), Tensor<bool>({2, 3}, {false, false, false, false, true, false})));
}

TEST_CASE("where and masked_fill: values, gradients, shapes") {
  const Tensor<bool> mask({2, 1}, {true, false});
  const Tensor<double> a({2, 3}, {1, 2, 3, 4, 5, 6}), b({3}, {10, 20, 30});
  a.requires_grad(), b.requires_grad();
  const auto y = where(mask, a, b);
  CHECK(equal(y, Tensor<double>({2, 3}, {1, 2, 3, 10, 20, 30})));
  y.backward(Tensor<double>({2, 3}, {1, 2, 4, 8, 16, 32}));
  CHECK(equal(a.grad(), Tensor<double>({2, 3}, {1, 2, 4, 0, 0, 0})));
  CHECK(equal(b.grad(), Tensor<double>({3}, {8, 16, 32})));

  a.zero_grad();
  const auto filled = masked_fill(a, mask, -7);
  CHECK(equal(filled, Tensor<double>({2, 3}, {-7, -7, -7, 4, 5, 6})));
  filled.backward(ones<double>({2, 3}));
  CHECK(equal(a.grad(), Tensor<double>({2, 3}, {0, 0, 0, 1, 1, 1})));

  // A NaN that is not taken does not reach the gradient.
  const Tensor<double> bad({1}, {std::nan("")});
  bad.requires_grad();
  where(Tensor<bool>({1}, {false}), bad, ones<double>({1})).backward(ones<double>({1}));
  CHECK(bad.grad().item() == 0);

  CHECK_THROWS_WITH_AS(masked_fill(b, mask, 0), "segnet::masked_fill: argument 'mask': expected a shape that broadcasts to [3], got [2, 1]",
                       ShapeError);
  CHECK_THROWS_AS(where(Tensor<bool>({4}), a, b), ShapeError);
}

TEST_CASE("cast: values, and gradients between float and double") {
  CHECK(equal(cast<int>(Tensor<float>({3}, {1.9f, -1.9f, 0})), Tensor<int>({3}, {1, -1, 0})));
  const Tensor<float> x({2}, {0.5f, 3});
  x.requires_grad();
  const auto y = cast<double>(x);
  (y * y).backward(ones<double>({2}));
  CHECK(equal(x.grad(), Tensor<float>({2}, {1, 6})));
  CHECK(cast<float>(x).node() == x.node());
}
