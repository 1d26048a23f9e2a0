#include "segnet/ops/indexing.hpp"

#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/slice.hpp"
#include "segnet/ops/sort.hpp"
#include "segnet/ops/unfold.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

Tensor<index_t> random_indices(const Shape& shape, index_t n) {
  Tensor<index_t> t(shape);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = testing::random().below(2 * n) - n;  // half of them from the end
  return t;
}
index_t counted(index_t i, index_t n) { return i < 0 ? i + n : i; }

}  // namespace

TEST_CASE_TEMPLATE("index_select and index_add: every dimension, by index; exact transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : {Shape{4, 3, 2}, Shape{2, 5, 20}, Shape{6}})
    for (int dim = -shape.rank(); dim < shape.rank(); ++dim) {
      INFO("x ", shape, " dim ", dim);
      const auto index = random_indices({7}, shape[dim]);
      const auto x = integers<T>(shape, -9, 9).requires_grad();
      const auto y = index_select(x, dim, index);
      for (index_t k = 0; k < 7; ++k) CHECK(equal(narrow(y, dim, k, 1), narrow(x, dim, counted(index.data()[k], shape[dim]), 1)));
      const auto dy = integers<T>(y.shape(), -9, 9);
      y.backward(dy);
      CHECK(dot(y, dy) == dot(x, x.grad()));

      const auto src = integers<T>(y.shape(), -9, 9).requires_grad();
      x.zero_grad();
      const auto z = index_add(x, dim, index, src, 2);
      const auto dz = integers<T>(shape, -9, 9);
      CHECK(dot(z, dz) == dot(x, dz) + 2 * dot(src, index_select(dz, dim, index)));
      z.backward(dz);
      CHECK(equal(x.grad(), dz));
      CHECK(equal(src.grad(), 2 * index_select(dz, dim, index)));
    }
}

TEST_CASE_TEMPLATE("gather and scatter_add: by index, smaller and larger than x; exact transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Shape shape{3, 5, 4};
  for (int dim = 0; dim < 3; ++dim)
    for (const Shape& index_shape :
         {Shape{3, 5, 4}, Shape{2, 3, 4}, Shape{1, 1, 1}, Shape{3, 0, 4}, Shape{dim == 0 ? 9 : 2, dim == 1 ? 9 : 2, dim == 2 ? 9 : 2}}) {
      INFO("dim ", dim, " index ", index_shape);
      const auto index = random_indices(index_shape, shape[dim]);
      const auto x = integers<T>(shape, -9, 9).requires_grad();
      const auto y = gather(x, dim, index);
      REQUIRE(y.shape() == index_shape);
      Tensor<T> scattered = zeros<T>(shape);
      const auto dy = integers<T>(index_shape, -9, 9);
      bool right = true;
      for (index_t i = 0; i < index_shape[0]; ++i)
        for (index_t j = 0; j < index_shape[1]; ++j)
          for (index_t k = 0; k < index_shape[2]; ++k) {
            index_t at[] = {i, j, k};
            at[dim] = counted(index.at(i, j, k), shape[dim]);
            right &= y.at(i, j, k) == x.at(at[0], at[1], at[2]);
            scattered.at(at[0], at[1], at[2]) += dy.at(i, j, k);
          }
      CHECK(right);
      y.backward(dy);
      CHECK(equal(x.grad(), scattered));

      // scatter_add takes from a source that may be larger than index.
      Shape larger = index_shape;
      for (int d = 0; d < 3; ++d) larger[d] += d;
      const auto src = integers<T>(larger, -9, 9).requires_grad();
      x.zero_grad();
      const auto z = scatter_add(x, dim, index, src);
      const auto dz = integers<T>(shape, -9, 9);
      z.backward(dz);
      CHECK(equal(x.grad(), dz));
      CHECK(dot(z, dz) == dot(x, dz) + dot(src, src.grad()));
    }
  const Tensor<T> base({2, 2}, {1, 2, 3, 4}), src({2, 3}, {10, 20, 30, 40, 50, 60});
  CHECK(equal(scatter_add(base, 1, Tensor<index_t>({2, 3}, {0, 0, 1, 1, -1, 0}), src), Tensor<T>({2, 2}, {31, 32, 63, 94})));
}

TEST_CASE("embedding, gather_pixels, one_hot, nonzero") {
  const Tensor<double> weight({3, 2}, {1, 2, 3, 4, 5, 6});
  weight.requires_grad();
  const auto y = embedding(weight, Tensor<index_t>({2, 2}, {0, 2, 2, 1}));
  CHECK(equal(y, Tensor<double>({2, 2, 2}, {1, 2, 5, 6, 5, 6, 3, 4})));
  y.backward(ones<double>({2, 2, 2}));
  CHECK(equal(weight.grad(), Tensor<double>({3, 2}, {1, 1, 1, 1, 2, 2})));

  const auto x = integers<double>({2, 3, 4, 5}, -9, 9).requires_grad();
  const Tensor<index_t> n({3}, {0, 1, 1}), h({3}, {2, 0, 0}), w({3}, {-1, 1, 1});
  const auto pixels = gather_pixels(x, n, h, w);
  REQUIRE(pixels.shape() == Shape{3, 5});
  for (index_t c = 0; c < 5; ++c) {
    CHECK(pixels.at(0, c) == x.at(0, 2, 3, c));
    CHECK(pixels.at(2, c) == x.at(1, 0, 1, c));
  }
  pixels.backward(ones<double>({3, 5}));
  CHECK(x.grad().at(1, 0, 1, 3) == 2);
  CHECK(dot(x.grad(), ones<double>(x.shape())) == 15);

  CHECK(equal(one_hot(Tensor<index_t>({2}, {2, 0}), 3), Tensor<index_t>({2, 3}, {0, 0, 1, 1, 0, 0})));
  CHECK(equal(one_hot<float>(Tensor<index_t>({1}, {1}), 2), Tensor<float>({1, 2}, {0, 1})));
  const Tensor<bool> mask({2, 2}, {false, true, true, false});
  CHECK(equal(nonzero(mask), Tensor<index_t>({2, 2}, {0, 1, 1, 0})));
  CHECK(nonzero(zeros<bool>({3})).shape() == Shape{0, 1});
}

TEST_CASE("tril and triu") {
  const Tensor<double> x({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(equal(tril(x), Tensor<double>({2, 3}, {1, 0, 0, 4, 5, 0})));
  CHECK(equal(tril(x, 1), Tensor<double>({2, 3}, {1, 2, 0, 4, 5, 6})));
  CHECK(equal(triu(x), Tensor<double>({2, 3}, {1, 2, 3, 0, 5, 6})));
  CHECK(equal(triu(x, -1), x));
  x.requires_grad();
  triu(x, 1).backward(Tensor<double>({2, 3}, {1, 2, 3, 4, 5, 6}));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {0, 2, 3, 0, 0, 6})));
}

TEST_CASE_TEMPLATE("sort and topk: stable, NaN last or first, gradients to where elements came from", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : {Shape{3, 8}, Shape{2, 70, 3}, Shape{1, 1}, Shape{2, 0}})
    for (int dim = 0; dim < shape.rank(); ++dim)
      for (const bool descending : {false, true}) {
        INFO("x ", shape, " dim ", dim, " descending ", descending);
        const auto x = integers<T>(shape, -4, 4).requires_grad();
        const auto [values, indices] = sort(x, dim, descending);
        CHECK(equal(gather(x.detach(), dim, indices), values));
        const index_t n = shape[dim];
        for (index_t k = 0; k + 1 < n; ++k) {
          const auto a = narrow(values, dim, k, 1), b = narrow(values, dim, k + 1, 1);
          const auto i = narrow(indices, dim, k, 1), j = narrow(indices, dim, k + 1, 1);
          for (index_t e = 0; e < a.numel(); ++e) {
            CHECK((descending ? a.data()[e] >= b.data()[e] : a.data()[e] <= b.data()[e]));
            if (a.data()[e] == b.data()[e]) CHECK(i.data()[e] < j.data()[e]);
          }
        }
        const auto dy = integers<T>(values.shape(), -9, 9);
        values.backward(dy);
        CHECK(dot(values, dy) == dot(x, x.grad()));
        if (n < 3) continue;
        const auto best = topk(x, 3, dim, descending);
        CHECK(equal(best.values, narrow(values, dim, 0, 3)));
        CHECK(equal(best.indices, narrow(indices, dim, 0, 3)));
      }
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const Tensor<T> x({4}, {2, nan, 1, nan});
  CHECK(equal(sort(x).indices, Tensor<index_t>({4}, {2, 0, 1, 3})));
  CHECK(equal(sort(x, 0, true).indices, Tensor<index_t>({4}, {1, 3, 0, 2})));
}

TEST_CASE_TEMPLATE("unfold and fold: transposes of each other; unfold is what a convolution reads", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  struct Case {
    Shape x;
    Extent2 kernel;
    UnfoldOptions options;
  };
  for (const Case& c : {Case{{2, 5, 6, 2}, 3, {.stride = {2, 1}, .padding = 1}},
                        {{1, 7, 6, 2}, {2, 3}, {.dilation = {3, 2}}},
                        {{1, 4, 4, 1}, {1, 1}, {}},
                        {{2, 3, 5, 3}, {3, 2}, {.padding = {Extent2(2, 0), Extent2(1, 1)}}}}) {
    INFO("x ", c.x, " kernel ", to_string(c.kernel));
    const auto x = integers<T>(c.x, -9, 9).requires_grad();
    const auto y = unfold(x, c.kernel, c.options);
    const auto dy = integers<T>(y.shape(), -9, 9).requires_grad();
    const auto z = fold(dy, {c.x[1], c.x[2]}, c.kernel, c.options);
    CHECK(dot(y, dy) == dot(x, z));
    y.backward(dy.detach());
    CHECK(equal(x.grad(), z));
    const auto dz = integers<T>(c.x, -9, 9);
    z.backward(dz);
    CHECK(equal(dy.grad(), unfold(dz, c.kernel, c.options)));
  }
  const auto x = arange<T>(9).alias({1, 3, 3, 1});
  CHECK(equal(unfold(x, 2), Tensor<T>({1, 4, 4}, {0, 1, 3, 4, 1, 2, 4, 5, 3, 4, 6, 7, 4, 5, 7, 8})));
  CHECK(equal(fold(ones<T>({1, 4, 4}), 3, 2), Tensor<T>({1, 3, 3, 1}, {1, 2, 1, 2, 4, 2, 1, 2, 1})));
}

TEST_CASE("indexing, sort, unfold: errors") {
  const auto x = zeros<float>({2, 3});
  const Tensor<index_t> bad({2}, {0, 3}), square({2, 2}, {0, 0, 0, 0});
  CHECK_THROWS_WITH_AS(index_select(x, 1, bad), "segnet::index_select: argument 'index': expected indices in [-3, 3), got 3", ValueError);
  CHECK_THROWS_WITH_AS(index_select(x, 0, square), "segnet::index_select: argument 'index': expected [K], got [2, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(index_add(x, 0, Tensor<index_t>({1}, {0}), x), "segnet::index_add: argument 'src': expected [1, 3], got [2, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(gather(x, 0, bad), doctest::Contains("at most the sizes of x [2, 3], except in dimension 0"), ShapeError);
  CHECK_THROWS_AS(gather(x, 0, Tensor<index_t>({1, 4})), ShapeError);
  CHECK_THROWS_AS(gather(x, 0, Tensor<index_t>({1, 1}, {2})), ValueError);
  CHECK_THROWS_WITH_AS(scatter_add(x, 1, square, zeros<float>({2, 1})), doctest::Contains("at least the sizes of index [2, 2]"),
                       ShapeError);
  CHECK_THROWS_AS(embedding(zeros<float>({3}), bad), ShapeError);
  CHECK_THROWS_AS(embedding(zeros<float>({3, 2}), bad), ValueError);
  CHECK_THROWS_AS(gather_pixels(x, bad, bad, bad), ShapeError);
  CHECK_THROWS_AS(gather_pixels(zeros<float>({1, 2, 2, 1}), bad, bad, Tensor<index_t>({1})), ShapeError);
  CHECK_THROWS_WITH_AS(one_hot(bad, 3), "segnet::one_hot: argument 'index': expected classes in [0, 3), got 3", ValueError);
  CHECK_THROWS_WITH_AS(topk(x, 4), "segnet::topk: argument 'k': expected 0 to 3 in dimension 1 of [2, 3], got 4", ValueError);
  CHECK_THROWS_AS(tril(zeros<float>({3})), ShapeError);
  CHECK_THROWS_WITH_AS(unfold(zeros<float>({1, 2, 2, 1}), 3), doctest::Contains("segnet::unfold"), ShapeError);
  CHECK_THROWS_WITH_AS(fold(zeros<float>({1, 5, 4}), 3, 2),
                       "segnet::fold: argument 'x': expected [N, 4, 4 * C]: 2x2 patches, got [1, 5, 4]", ShapeError);
  CHECK_THROWS_AS(fold(zeros<float>({1, 4, 3}), 3, 2), ShapeError);
}
