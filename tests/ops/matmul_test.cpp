#include "segnet/ops/matmul.hpp"

#include "segnet/autograd/backward.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// a [m, k] times b [k, n] by the definition.
template <class T>
Tensor<T> product(const Tensor<T>& a, const Tensor<T>& b) {
  Tensor<T> y({a.dim(0), b.dim(1)});
  for (index_t i = 0; i < y.dim(0); ++i)
    for (index_t j = 0; j < y.dim(1); ++j) {
      T sum = 0;
      for (index_t k = 0; k < a.dim(1); ++k) sum += a.at(i, k) * b.at(k, j);
      y.at(i, j) = sum;
    }
  return y;
}
template <class T>
Tensor<T> swapped(const Tensor<T>& a) {
  Tensor<T> y({a.dim(1), a.dim(0)});
  for (index_t i = 0; i < a.dim(0); ++i)
    for (index_t j = 0; j < a.dim(1); ++j) y.at(j, i) = a.at(i, j);
  return y;
}

/// y is linear in a and in b, so <y, dy> = <a, da> = <b, db>, exactly on integers.
template <class T>
void check_transposes(const Shape& a_shape, const Shape& b_shape, const MatmulOptions& options, const Shape& y_shape) {
  INFO(to_string(a_shape), options.transpose_a ? "^T" : "", " x ", to_string(b_shape), options.transpose_b ? "^T" : "");
  const auto a = integers<T>(a_shape, -3, 3).requires_grad(), b = integers<T>(b_shape, -3, 3).requires_grad();
  const auto y = matmul(a, b, options);
  REQUIRE(y.shape() == y_shape);
  const auto dy = integers<T>(y_shape, -3, 3);
  y.backward(dy);
  CHECK(dot(y, dy) == dot(a, a.grad()));
  CHECK(dot(y, dy) == dot(b, b.grad()));
}

}  // namespace

TEST_CASE_TEMPLATE("matmul: equals its definition for all sizes and transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  std::vector<Shape> sizes{{1, 1, 1}, {12, 32, 7}, {24, 16, 64}, {97, 65, 130}, {5, 2060, 3}, {3, 20, 2100}, {300, 1, 1}, {2, 3, 0}};
  for (int i = 0; i < 40; ++i)
    sizes.push_back(Shape{1 + testing::random().below(60), 1 + testing::random().below(80), 1 + testing::random().below(70)});
  for (const Shape& size : sizes)
    for (int transposes = 0; transposes < 4; ++transposes) {
      const index_t m = size[0], n = size[1], k = size[2];
      const bool ta = transposes & 1, tb = transposes & 2;
      INFO("m = ", m, ", n = ", n, ", k = ", k, ", transposes ", ta, " ", tb);
      const auto a = integers<T>({m, k}, -3, 3), b = integers<T>({k, n}, -3, 3);
      CHECK(equal(matmul(ta ? swapped(a) : a, tb ? swapped(b) : b, {ta, tb}), product(a, b)));
    }
}

TEST_CASE_TEMPLATE("matmul: a stack broadcasts as NumPy's does", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto a = integers<T>({3, 1, 4, 5}, -3, 3), b = integers<T>({2, 5, 6}, -3, 3);
  const auto y = matmul(a, b);
  REQUIRE(y.shape() == Shape{3, 2, 4, 6});
  for (index_t i = 0; i < 3; ++i)
    for (index_t j = 0; j < 2; ++j)
      CHECK(equal(y.alias({4, 6}, (i * 2 + j) * 24), product(a.alias({4, 5}, i * 20), b.alias({5, 6}, j * 30))));
}

TEST_CASE_TEMPLATE("matmul: both gradients are exact transposes", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  check_transposes<T>({4, 5}, {5, 6}, {}, {4, 6});
  check_transposes<T>({5, 4}, {5, 6}, {.transpose_a = true}, {4, 6});
  check_transposes<T>({4, 5}, {6, 5}, {.transpose_b = true}, {4, 6});
  check_transposes<T>({5, 4}, {6, 5}, {true, true}, {4, 6});
  check_transposes<T>({5}, {5}, {}, {});
  check_transposes<T>({5}, {5, 6}, {}, {6});
  check_transposes<T>({4, 5}, {5}, {.transpose_b = true}, {4});  // a vector has no transpose
  check_transposes<T>({5, 4}, {5}, {.transpose_a = true, .transpose_b = true}, {4});
  check_transposes<T>({7, 4, 5}, {5}, {}, {7, 4});
  check_transposes<T>({5}, {7, 5, 6}, {}, {7, 6});
  check_transposes<T>({7, 4, 5}, {5, 6}, {}, {7, 4, 6});                     // one b for all
  check_transposes<T>({7, 5, 4}, {5, 6}, {.transpose_a = true}, {7, 4, 6});  //
  check_transposes<T>({4, 5}, {7, 5, 6}, {}, {7, 4, 6});                     // one a for all
  check_transposes<T>({3, 1, 4, 5}, {2, 6, 5}, {.transpose_b = true}, {3, 2, 4, 6});
  check_transposes<T>({3, 2, 5, 4}, {3, 1, 6, 5}, {true, true}, {3, 2, 4, 6});
  check_transposes<T>({100, 9, 33}, {100, 33, 17}, {}, {100, 9, 17});  // small products side by side
  check_transposes<T>({2, 130, 70}, {2, 70, 90}, {}, {2, 130, 90});    // large ones one after the other
  check_transposes<T>({0, 4, 5}, {5, 6}, {}, {0, 4, 6});
  check_transposes<T>({0, 5, 4}, {5, 6}, {.transpose_a = true}, {0, 4, 6});
  check_transposes<T>({4, 0}, {0, 6}, {}, {4, 6});
}

TEST_CASE("matmul: the same bits for any number of threads") {
  const int before = num_threads();
  const auto a = normal<float>({211, 1500}), b = normal<float>({1500, 75}), stack = normal<float>({9, 40, 211});
  set_num_threads(1);
  const auto one = matmul(a, b), several = matmul(stack, a), transposed = matmul(a, a, {.transpose_a = true});
  for (const int threads : {2, 3, 7}) {
    set_num_threads(threads);
    CHECK(equal(matmul(a, b), one));
    CHECK(equal(matmul(stack, a), several));
    CHECK(equal(matmul(a, a, {.transpose_a = true}), transposed));
  }
  set_num_threads(before);
}

TEST_CASE("bmm: a stack of matrices, of equal height") {
  const auto a = integers<float>({3, 4, 5}, -3, 3), b = integers<float>({3, 5, 6}, -3, 3);
  CHECK(equal(bmm(a, b), matmul(a, b)));
  CHECK_THROWS_WITH_AS((void)bmm(a, b.alias({1, 5, 6})), "segnet::bmm: argument 'b': expected [3, 5, n], got [1, 5, 6]", ShapeError);
  CHECK_THROWS_WITH_AS((void)bmm(a.alias({4, 5}), b), "segnet::bmm: argument 'a': expected [B, m, k], got [4, 5]", ShapeError);
}

TEST_CASE("matmul: errors name the argument, what was expected and what came") {
  const auto a = ones<float>({2, 4, 5});
  CHECK_THROWS_WITH_AS((void)matmul(a, ones<float>({6, 7})),
                       "segnet::matmul: argument 'b': expected [..., 5, n] for a [2, 4, 5], got [6, 7]", ShapeError);
  CHECK_THROWS_WITH_AS((void)matmul(a, ones<float>({5, 7}), {.transpose_b = true}),
                       "segnet::matmul: argument 'b': expected [..., n, 5] for a [2, 4, 5], got [5, 7]", ShapeError);
  CHECK_THROWS_WITH_AS((void)matmul(a, ones<float>({4})), "segnet::matmul: argument 'b': expected [5] for a [2, 4, 5], got [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)matmul(a, ones<float>({3, 5, 7})),
                       "segnet::matmul: argument 'b': expected leading dimensions that broadcast with those of a [2, 4, 5], got [3, 5, 7]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)matmul(Tensor<float>(Shape{}), a), "segnet::matmul: argument 'a': expected at least one dimension, got []",
                       ShapeError);
}
