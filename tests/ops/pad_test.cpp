#include "segnet/ops/pad.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Which position of [0, n) stands at i, found by walking: one step to the left or right at a time.
index_t walk(PadMode mode, index_t i, index_t n) {
  index_t at = 0, direction = i < 0 && mode != PadMode::reflect ? -1 : 1;  // a mirror looks the same to the left
  for (index_t steps = std::abs(i); steps > 0; --steps) {
    if (mode == PadMode::circular) at = (at + direction + n) % n;
    else if (mode == PadMode::replicate) at = std::clamp<index_t>(at + direction, 0, n - 1);
    else {
      if (at + direction >= n) direction = -direction;
      at += direction;
    }
  }
  return at;
}

struct Case {
  Shape x;
  std::vector<index_t> padding;
};

}  // namespace

TEST_CASE_TEMPLATE("pad: every mode by walking along each dimension; the gradient is the exact transpose", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular})
    for (const Case& c : {Case{{1, 5, 6, 2}, {0, 0, 2, 3, 1, 4}},
                          {{2, 3, 4, 1}, {0, 0, 3, 1, 2, 0}},
                          {{7}, {0, 6}},
                          {{7}, {6, 0}},
                          {{2, 6, 7}, {-1, 2, 3, -2}},
                          {{3, 4}, {-1, -2, -1, -1}},
                          {{2, 20, 30, 3}, {0, 0, 9, 4, 3, 3}}}) {
      INFO("mode ", to_string(mode), " x ", c.x, " padding[0..1] ", c.padding[0], ", ", c.padding[1]);
      const auto x = integers<T>(c.x, -9, 9).requires_grad();
      const auto y = pad(x, c.padding, mode, T(0));
      Shape shape = c.x;
      std::vector<index_t> front(static_cast<std::size_t>(x.rank()));
      for (std::size_t p = 0; p < c.padding.size(); p += 2) {
        const int d = x.rank() - 1 - static_cast<int>(p / 2);
        shape[d] += c.padding[p] + c.padding[p + 1];
        front[static_cast<std::size_t>(d)] = c.padding[p];
      }
      REQUIRE(y.shape() == shape);
      index_t wrong = 0;
      for (index_t i = 0; i < y.numel(); ++i) {
        index_t rest = i, offset = 0, stride = 1;
        bool inside = true;
        for (int d = x.rank(); d-- > 0;) {
          const index_t at = rest % shape[d] - front[static_cast<std::size_t>(d)];
          rest /= shape[d];
          inside &= at >= 0 && at < x.dim(d);
          offset += (at >= 0 && at < x.dim(d) ? at : walk(mode, at, x.dim(d))) * stride;
          stride *= x.dim(d);
        }
        wrong += y.data()[i] != (inside || mode != PadMode::constant ? x.data()[offset] : T(0));
      }
      CHECK(wrong == 0);
      const auto dy = integers<T>(shape, -9, 9);
      y.backward(dy);
      CHECK(dot(y, dy) == dot(x, x.grad()));
    }
}

TEST_CASE("pad: the value of a constant border, nothing to do, empty tensors") {
  const Tensor<float> x({1, 2}, {1, 2});
  CHECK(equal(pad(x, {1, 0, 0, 1}, PadMode::constant, 0.5), Tensor<float>({2, 3}, {0.5f, 1, 2, 0.5f, 0.5f, 0.5f})));
  CHECK(pad(x, {0, 0, 0, 0}).shares_memory_with(x));
  CHECK(equal(pad(zeros<float>({2, 0}), {1, 1}, PadMode::constant, 3), full<float>({2, 2}, 3)));
  CHECK(pad(x, {-1, -1}).shape() == Shape{1, 0});
  CHECK(equal(pad(Tensor<int>({2}, {1, 2}), {1, 1}, PadMode::circular), Tensor<int>({4}, {2, 1, 2, 1})));
}

TEST_CASE("pad: errors") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(
      pad(x, {1}), "segnet::pad: argument 'padding': expected pairs {before, after} for at most 2 dimensions, got 1 numbers", ValueError);
  CHECK_THROWS_AS(pad(x, {0, 0, 0, 0, 1, 1}), ValueError);
  CHECK_THROWS_WITH_AS(pad(x, {3, 0}, PadMode::reflect),
                       "segnet::pad: argument 'padding': expected at most 2 for mode reflect in dimension 1 of [2, 3], got 3", ValueError);
  CHECK_THROWS_AS(pad(x, {0, 4}, PadMode::circular), ValueError);
  CHECK_THROWS_WITH_AS(pad(x, {-2, -2}), "segnet::pad: argument 'x': expected at least 4 in dimension 1 to crop, got [2, 3]", ShapeError);
  CHECK_THROWS_AS(pad(zeros<float>({0}), {1, 0}, PadMode::replicate), ShapeError);
}
