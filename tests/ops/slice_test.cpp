#include "segnet/ops/slice.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("slice: ranges of every dimension, by index; the gradient is the exact transpose", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const Shape shape{5, 6, 7};
  const std::vector<Range> ranges{{}, {1, 3}, {0, -1, 2}, {-3}, {2, 99, 3}, {4, 2}, {3, 4}};
  for (const Range& a : ranges)
    for (const Range& b : ranges)
      for (const Range& c : ranges) {
        const Range range[] = {a, b, c};
        std::vector<index_t> picked[3];
        for (int d = 0; d < 3; ++d) {  // Python's rule, spelled out
          const index_t n = shape[d];
          for (index_t i = 0; i < n; ++i) {
            const index_t start = range[d].start < 0 ? range[d].start + n : range[d].start;
            const index_t stop = range[d].stop < 0 ? range[d].stop + n : range[d].stop;
            if (i >= start && i < stop && (i - start) % range[d].step == 0) picked[d].push_back(i);
          }
        }
        const auto x = integers<T>(shape, -99, 99).requires_grad();
        const auto y = slice(x, {a, b, c});
        std::vector<T> expected;
        for (const index_t i : picked[0])
          for (const index_t j : picked[1])
            for (const index_t k : picked[2]) expected.push_back(x.at(i, j, k));
        REQUIRE(y.shape() == Shape{static_cast<index_t>(picked[0].size()), static_cast<index_t>(picked[1].size()),
                                   static_cast<index_t>(picked[2].size())});
        CHECK(equal(y, Tensor<T>(y.shape(), expected)));
        const auto dy = integers<T>(y.shape(), -9, 9);
        y.backward(dy);
        CHECK(dot(y, dy) == dot(x, x.grad()));
      }
}

TEST_CASE("slice: what is contiguous is not copied") {
  const auto x = normal<float>({4, 5, 6});
  CHECK(slice(x, {{1, 3}}).shares_memory_with(x));
  CHECK(slice(x, {{2, 3}, {1, 4}}).shares_memory_with(x));
  CHECK(slice(x, {{2, 3}, {1, 2}, {3, 5}}).shares_memory_with(x));
  CHECK_FALSE(slice(x, {{1, 3}, {1, 4}}).shares_memory_with(x));
  CHECK_FALSE(slice(x, {{0, 4, 2}}).shares_memory_with(x));
  CHECK(slice(x, {{}, {}}).shares_memory_with(x));
  CHECK(narrow(x, 0, 2, 2).data() == x.data() + 60);
  CHECK(select(x, 0, -1).data() == x.data() + 90);
}

TEST_CASE("narrow and select: values, gradients, empty parts") {
  const Tensor<double> x({2, 3}, {1, 2, 3, 4, 5, 6});
  x.requires_grad();
  const auto y = narrow(x, 1, -2, 2);
  CHECK(equal(y, Tensor<double>({2, 2}, {2, 3, 5, 6})));
  y.backward(Tensor<double>({2, 2}, {1, 2, 3, 4}));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {0, 1, 2, 0, 3, 4})));
  x.zero_grad();
  const auto column = select(x, -1, 1);
  CHECK(equal(column, Tensor<double>({2}, {2, 5})));
  column.backward(Tensor<double>({2}, {7, 8}));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {0, 7, 0, 0, 8, 0})));
  CHECK(narrow(x, 0, 2, 0).shape() == Shape{0, 3});
}

TEST_CASE("slice, narrow, select: errors") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS(slice(x, {{}, {}, {}}), "segnet::slice: argument 'ranges': expected at most 2 for x [2, 3], got 3", ValueError);
  CHECK_THROWS_WITH_AS(slice(x, {{0, 2, 0}}), "segnet::slice: argument 'step': expected at least 1, got 0", ValueError);
  CHECK_THROWS_WITH_AS(narrow(x, 1, 1, 3), "segnet::narrow: argument 'length': expected 0 to 2 from 1 on in dimension 1 of [2, 3], got 3",
                       ValueError);
  CHECK_THROWS_AS(narrow(x, 1, -4, 1), ValueError);
  CHECK_THROWS_AS(narrow(x, 1, 0, -1), ValueError);
  CHECK_THROWS_WITH_AS(select(x, 0, 2), "segnet::select: argument 'index': expected an element of dimension 0 of [2, 3], got 2",
                       ValueError);
}
