#include "segnet/ops/dropout.hpp"

#include "segnet/autograd/checkpoint.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("dropout: the mask is that of its Philox blocks, forward and backward", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const Shape& shape : std::vector<Shape>{{1}, {3}, {63}, {64}, {65}, {2, 5, 7, 3}, {70000}, {0, 4}})
    for (const double p : {0.25, 0.5, 0.9}) {
      INFO("dropout of ", to_string(shape), " p ", p);
      Generator generator{segnet::testing::random().bits(), segnet::testing::random().bits()};
      const Generator before = generator;
      const auto x = integers<T, D>(shape, 1, 9);
      x.requires_grad();
      const auto y = dropout(x, p, true, generator);
      CHECK(generator.seed == before.seed);
      CHECK(generator.offset == before.offset + 1);
      const auto dy = integers<T, D>(shape, 1, 9), expected = zeros<T, D>(shape), dx = zeros<T, D>(shape);
      for (index_t i = 0; i < x.numel(); ++i) {
        const std::uint32_t bits = Philox::block(before.seed, before.offset, static_cast<std::uint64_t>(i / 4)).r[i % 4];
        if (static_cast<double>(bits) * 0x1p-32 < p) continue;
        expected.data()[i] = x.data()[i] * static_cast<T>(1 / (1 - p));
        dx.data()[i] = dy.data()[i] * static_cast<T>(1 / (1 - p));
      }
      CHECK(equal(y, expected));
      y.backward(dy);
      CHECK(equal(x.grad(), dx));
      Generator again = before;
      CHECK(equal(dropout(x.detach(), p, true, again), expected));
    }
}

TEST_CASE("dropout: drops the share p and keeps the mean") {
  Generator generator{run_seed(), 0};
  const auto x = ones<float>({1 << 18});
  for (const double p : {0.1, 0.5, 0.8}) {
    const auto y = dropout(x, p, true, generator);
    double kept = 0, sum = 0;
    for (index_t i = 0; i < x.numel(); ++i) {
      kept += y.data()[i] != 0;
      sum += static_cast<double>(y.data()[i]);
    }
    const double n = static_cast<double>(x.numel()), deviation = std::sqrt(p * (1 - p) / n);
    CHECK(std::abs(kept / n - (1 - p)) < 6 * deviation);
    CHECK(std::abs(sum / n - 1) < 6 * deviation / (1 - p));
  }
}

TEST_CASE("dropout: p = 0 and inference are x itself and draw nothing; p = 1 is zero") {
  Generator generator{3, 5};
  const auto x = normal<float>({4, 6});
  CHECK(dropout(x, 0, true, generator).shares_memory_with(x));
  CHECK(dropout(x, 0.5, false, generator).shares_memory_with(x));
  CHECK(dropout2d(x, 0, true, generator).shares_memory_with(x));
  CHECK(dropout2d(x, 0.5, false, generator).shares_memory_with(x));
  CHECK(generator.offset == 5);
  CHECK(equal(dropout(x, 1, true, generator), zeros<float>({4, 6})));
  CHECK(equal(dropout2d(x, 1, true, generator), zeros<float>({4, 6})));
}

TEST_CASE_TEMPLATE("dropout2d: a channel of an image goes as a whole; the same in the backward pass", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const Shape& shape : std::vector<Shape>{{3, 4, 5, 21}, {2, 1, 1, 64}, {5, 7, 2}, {0, 3, 3, 4}, {4, 6}}) {
    INFO("dropout2d of ", to_string(shape));
    Generator generator{segnet::testing::random().bits(), 0}, same = generator;
    const index_t N = shape[0], C = shape.back(), pixels = N ? shape.numel() / (N * C) : 0;
    const auto x = integers<T, D>(shape, 1, 9);
    x.requires_grad();
    const auto y = dropout2d(x, 0.5, true, generator), factors = dropout(ones<T, D>({N, C}), 0.5, true, same);
    const auto dy = integers<T, D>(shape, 1, 9);
    y.backward(dy);
    for (index_t i = 0; i < x.numel(); ++i) {
      const T factor = factors.data()[i / (pixels * C) * C + i % C];
      CHECK((factor == 0 || factor == 2));
      CHECK(y.data()[i] == x.data()[i] * factor);
      CHECK(x.grad().data()[i] == dy.data()[i] * factor);
    }
  }
}

TEST_CASE("dropout: the same bits for any number of threads; a checkpoint drops the same elements again") {
  const auto x = normal<double>({300, 301});
  const int threads = num_threads();
  std::vector<Tensor<double>> results;
  for (const int t : {1, 2, 5}) {
    set_num_threads(t);
    Generator generator{9, 9};
    results.push_back(dropout(x, 0.5, true, generator));
  }
  set_num_threads(threads);
  CHECK(equal(results[0], results[1]));
  CHECK(equal(results[0], results[2]));

  default_generator() = {17, 0};
  const auto leaf = x.detach();
  leaf.requires_grad();
  const auto y = checkpoint([](const Tensor<double>& in) { return dropout(in, 0.5); }, leaf);
  y.backward(ones<double>(x.shape()));
  for (index_t i = 0; i < x.numel(); ++i)
    if ((y.data()[i] != 0) != (leaf.grad().data()[i] != 0)) FAIL("element ", i, " was dropped in one pass only");
}

TEST_CASE("dropout: wrong arguments are named") {
  const auto x = zeros<float>({2, 3});
  CHECK_THROWS_WITH_AS((void)dropout(x, -0.1), "segnet::dropout: argument 'p': expected a probability in [0, 1], got -0.1", ValueError);
  CHECK_THROWS_AS((void)dropout(x, std::nan("")), ValueError);
  CHECK_THROWS_WITH_AS((void)dropout2d(x, 1.5), doctest::Contains("dropout2d: argument 'p'"), ValueError);
  CHECK_THROWS_WITH_AS((void)dropout2d(zeros<float>({3})), doctest::Contains("expected [N, ..., C], got [3]"), ShapeError);
}

TEST_CASE("drop_path: an image is dropped whole or scaled, and so is its gradient") {
  Generator generator{run_seed(), 0};
  const auto x = integers<float>({200, 2, 3}, 1, 9).requires_grad();
  const auto y = drop_path(x, 0.25, true, generator);
  y.backward(ones<float>(x.shape()));
  index_t dropped = 0;
  for (index_t n = 0; n < 200; ++n) {
    const bool gone = y.at(n, 0, 0) == 0;
    dropped += gone;
    for (index_t i = n * 6; i < n * 6 + 6; ++i) {
      const float factor = gone ? 0 : static_cast<float>(1 / 0.75);
      CHECK(y.data()[i] == x.data()[i] * factor);
      CHECK(x.grad().data()[i] == factor);
    }
  }
  CHECK(std::abs(static_cast<double>(dropped) / 200 - 0.25) < 0.15);  // five standard deviations
  CHECK(drop_path(x, 0.25, false).data() == x.data());
  CHECK_THROWS_WITH_AS((void)drop_path(x, 2), doctest::Contains("drop_path: argument 'p'"), ValueError);
}
