#include "segnet/ops/linear.hpp"

#include "segnet/autograd/backward.hpp"
#include "segnet/ops/matmul.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("linear: y = x W^T + b and its gradients, over any number of leading dimensions", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  struct Case {
    Shape x;
    index_t outputs;
  };
  for (const auto& [shape, outputs] : {Case{{5}, 3}, Case{{7, 20}, 33}, Case{{2, 3, 4, 65}, 17}, Case{{200, 40}, 2061}, Case{{0, 8}, 4},
                                       Case{{3000, 24}, 11}, Case{{6, 1030}, 8}}) {
    INFO(to_string(shape), " -> ", outputs);
    const auto x = integers<T>(shape, -3, 3).requires_grad(), w = integers<T>({outputs, shape[-1]}, -3, 3).requires_grad(),
               b = integers<T>({outputs}, -3, 3).requires_grad();
    const auto y = linear(x, w, b), plain = linear(x.detach(), w.detach());
    CHECK(equal(plain, matmul(x.detach(), w.detach(), {.transpose_b = true})));
    for (index_t i = 0; i < y.numel(); ++i)
      if (y.data()[i] != plain.data()[i] + b.data()[i % outputs]) FAIL_CHECK("the bias is missing in element ", i);
    const auto dy = integers<T>(y.shape(), -3, 3);
    y.backward(dy);
    CHECK(dot(plain, dy) == dot(x, x.grad()));
    CHECK(dot(plain, dy) == dot(w, w.grad()));
    Tensor<T> db = zeros<T>({outputs});
    for (index_t i = 0; i < dy.numel(); ++i) db.data()[i % outputs] += dy.data()[i];
    CHECK(equal(b.grad(), db));
  }
}

TEST_CASE("linear: the same bits for any number of threads") {
  const int before = num_threads();
  const auto x = normal<float>({5000, 30}), w = normal<float>({20, 30}), b = normal<float>({20});
  const auto run = [&](int threads) {
    set_num_threads(threads);
    const auto leaf = b.detach().requires_grad(), leaf_w = w.detach().requires_grad();
    const auto y = linear(x, leaf_w, leaf);
    y.backward(y.detach());
    return std::vector{y.detach(), leaf.grad(), leaf_w.grad()};
  };
  const auto one = run(1);
  for (const int threads : {2, 5}) {
    const auto many = run(threads);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(equal(one[i], many[i]));
  }
  set_num_threads(before);
}

TEST_CASE("linear: errors name the argument, what was expected and what came") {
  const auto x = ones<float>({2, 4});
  CHECK_THROWS_WITH_AS((void)linear(x, ones<float>({4, 3})),
                       "segnet::linear: argument 'weight': expected [out, 4] for input [2, 4], got [4, 3]", ShapeError);
  CHECK_THROWS_WITH_AS((void)linear(x, ones<float>({3, 4}), ones<float>({4})), "segnet::linear: argument 'bias': expected [3], got [4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)linear(Tensor<float>(Shape{}), ones<float>({3, 4})),
                       "segnet::linear: argument 'x': expected [..., in], got []", ShapeError);
}
