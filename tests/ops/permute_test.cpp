#include "segnet/ops/permute.hpp"

#include <algorithm>

#include "segnet/core/layout.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("permute: every order of up to five dimensions, by index; its gradient is the inverse", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5}, Shape{17, 1, 40}, Shape{2, 3, 4, 5}, Shape{2, 19, 1, 3, 18}}) {
    std::vector<int> order;
    for (int d = 0; d < shape.rank(); ++d) order.push_back(d);
    do {
      const auto x = integers<T>(shape, -99, 99).requires_grad();
      const auto y = permute(x, order);
      index_t wrong = 0;
      for (index_t i = 0; i < y.numel(); ++i) {
        index_t at[Shape::max_rank] = {}, rest = i, offset = 0;
        for (int d = y.rank(); d-- > 0;) {
          at[order[static_cast<std::size_t>(d)]] = rest % y.dim(d);
          rest /= y.dim(d);
        }
        for (int d = 0; d < shape.rank(); ++d) offset = offset * shape[d] + at[d];
        wrong += y.data()[i] != x.data()[offset];
      }
      CHECK(wrong == 0);
      const auto dy = integers<T>(y.shape(), -9, 9);
      y.backward(dy);
      CHECK(dot(y, dy) == dot(x, x.grad()));
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_CASE("permute: large images, as from_nchw and to_nchw do") {
  const auto x = normal<float>({2, 19, 130, 77});
  CHECK(equal(permute(x, {0, 2, 3, 1}), from_nchw(x)));
  const auto y = normal<double>({2, 130, 77, 64});
  CHECK(equal(permute(y, {0, -1, 1, 2}), to_nchw(y)));
}

TEST_CASE("transpose: matrices and batches, other types, empty tensors") {
  CHECK(equal(transpose(Tensor<int>({2, 3}, {1, 2, 3, 4, 5, 6}), 0, 1), Tensor<int>({3, 2}, {1, 4, 2, 5, 3, 6})));
  CHECK(transpose(zeros<float>({2, 0, 3}), 0, -1).shape() == Shape{3, 0, 2});
  const auto x = normal<double>({2, 3, 4}).requires_grad();
  check_gradients("transpose", [](const auto& in) { return transpose(in[0], -1, 1); }, {x});
}

TEST_CASE("permute: errors") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(permute(x, {0}), "segnet::permute: argument 'order': expected 2 dimensions for x [2, 3], got 1", ValueError);
  CHECK_THROWS_WITH_AS(permute(x, {0, -2}), "segnet::permute: argument 'order': expected each dimension once, got dimension 0 twice",
                       ValueError);
  CHECK_THROWS_AS(permute(x, {0, 2}), ValueError);
  CHECK_THROWS_WITH_AS(transpose(x, 0, 2), doctest::Contains("segnet::transpose: argument 'dim1'"), ValueError);
}
