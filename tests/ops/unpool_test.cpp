#include "segnet/ops/unpool.hpp"

#include "segnet/autograd/backward.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("unpooling: a 2x2 image, forward and backward", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Tensor<T> x({1, 2, 2, 1}, {1, 2, 3, 4});
  x.requires_grad();
  const auto dy = reshape(arange<T>(16), Shape{1, 4, 4, 1});
  const auto near = nearest_unpool2d(x);
  CHECK(equal(near, Tensor<T>({1, 4, 4, 1}, {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4})));
  near.backward(dy);
  CHECK(equal(x.grad(), Tensor<T>({1, 2, 2, 1}, {10, 18, 42, 50})));
  x.zero_grad();
  const auto nails = bed_of_nails_unpool2d(x);
  CHECK(equal(nails, Tensor<T>({1, 4, 4, 1}, {1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0})));
  nails.backward(dy);
  CHECK(equal(x.grad(), Tensor<T>({1, 2, 2, 1}, {0, 2, 8, 10})));
}

TEST_CASE_TEMPLATE("unpooling: channels, batches and unequal factors, each an exact transpose", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Extent2 factor : {Extent2(1), Extent2(3, 2), Extent2(1, 4), Extent2(49, 1)}) {
    const auto x = integers<T>({2, 3, 5, 4}, -3, 3).requires_grad();
    const auto near = nearest_unpool2d(x, factor), nails = bed_of_nails_unpool2d(x, factor);
    REQUIRE(near.shape() == Shape{2, 3 * factor.h, 5 * factor.w, 4});
    REQUIRE(nails.shape() == near.shape());
    for (index_t h = 0; h < near.dim(1); ++h)
      for (index_t v = 0; v < near.dim(2); ++v) {
        REQUIRE(near.at(1, h, v, 3) == x.at(1, h / factor.h, v / factor.w, 3));
        REQUIRE(nails.at(1, h, v, 3) == (h % factor.h || v % factor.w ? T(0) : near.at(1, h, v, 3)));
      }
    for (const auto& y : {near, nails}) {
      const auto dy = integers<T>(y.shape(), -3, 3);
      x.zero_grad();
      y.backward(dy);
      CHECK(dot(y, dy) == dot(x, x.grad()));
    }
  }
}

TEST_CASE("unpooling: errors") {
  CHECK_THROWS_WITH_AS((void)nearest_unpool2d(ones<float>({2, 3, 4})),
                       "segnet::nearest_unpool2d: argument 'x': expected [N, H, W, C], got [2, 3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS((void)bed_of_nails_unpool2d(ones<float>({1, 3, 4, 1}), {2, 0}),
                       "segnet::bed_of_nails_unpool2d: argument 'factor': expected at least 1x1, got 2x0", ValueError);
}
