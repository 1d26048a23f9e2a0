#include "segnet/ops/softmax.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct SoftmaxCase {
  Shape shape;
  int dim;
};

/// Every way through the kernel: columns (fewer and more than a group), tiles (fewer and more channels than lanes, whole and cut
/// tiles), rows (with and without a rest), and what is empty or of size 1.
const std::vector<SoftmaxCase>& softmax_cases() {
  static const std::vector<SoftmaxCase> cases = {
      {{5}, 0},        {{1}, -1},       {{3, 1}, 1},       {{4, 2}, 1},       {{70, 5}, -1},  {{33, 16}, 1},  {{2, 7, 5, 19}, -1},
      {{64, 32}, 1},   {{9, 33}, 1},    {{3, 64}, 1},      {{2, 150}, -1},    {{1, 1000}, 1}, {{2, 4, 3}, 1}, {{2, 3, 4, 5}, 2},
      {{4, 3, 2}, -3}, {{3, 5, 70}, 1}, {{2, 2, 300}, -2}, {{40, 2, 17}, -2}, {{0, 4}, 1},    {{2, 0}, 1},    {{2, 0, 3}, 1},
  };
  return cases;
}

std::string describe(const SoftmaxCase& c) { return concat("softmax ", c.shape, " dim ", c.dim); }

/// The definition, in long double.
template <class T>
Tensor<double> defined(const Tensor<T>& x, int dim, bool logarithm) {
  const int d = dim < 0 ? dim + x.rank() : dim;
  index_t inner = 1;
  for (int i = d + 1; i < x.rank(); ++i) inner *= x.dim(i);
  const index_t C = x.dim(d);
  Tensor<double> y(x.shape());
  for (index_t i = 0; i < x.numel(); ++i) {
    const index_t first = i / (C * inner) * C * inner + i % inner;
    long double top = -INFINITY, sum = 0;
    for (index_t c = 0; c < C; ++c) top = std::max<long double>(top, x.data()[first + c * inner]);
    for (index_t c = 0; c < C; ++c) sum += std::exp(static_cast<long double>(x.data()[first + c * inner]) - top);
    const long double shifted = static_cast<long double>(x.data()[i]) - top;
    y.data()[i] = static_cast<double>(logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
  }
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("softmax, log_softmax: the definition, over every dimension", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  const double eps = std::numeric_limits<T>::epsilon();
  for (const SoftmaxCase& c : softmax_cases()) {
    INFO(describe(c));
    const auto x = normal<T, D>(c.shape, 0, 5);
    CHECK(max_difference(softmax(x, c.dim), defined(x, c.dim, false)) <= 8 * eps);
    CHECK(max_difference(log_softmax(x, c.dim), defined(x, c.dim, true)) <= 60 * eps);
  }
}

TEST_CASE("softmax, log_softmax: gradients") {
  for (const SoftmaxCase& c : softmax_cases()) {
    if (Tensor<double>(c.shape).numel() == 0) continue;
    check_gradients(describe(c), [&](const auto& in) { return softmax(in[0], c.dim); }, {normal<double>(c.shape)});
    check_gradients("log_" + describe(c), [&](const auto& in) { return log_softmax(in[0], c.dim); }, {normal<double>(c.shape)});
  }
}

TEST_CASE("softmax, log_softmax: float gradients are those of double") {
  for (const SoftmaxCase& c : softmax_cases()) {
    INFO(describe(c));
    const auto x = integers<float>(c.shape, -6, 6), dy = integers<float>(c.shape, -3, 3);
    Tensor<double> x64(c.shape), dy64(c.shape);
    for (index_t i = 0; i < x.numel(); ++i) x64.data()[i] = x.data()[i], dy64.data()[i] = dy.data()[i];
    x.requires_grad(), x64.requires_grad();
    softmax(x, c.dim).backward(dy);
    softmax(x64, c.dim).backward(dy64);
    CHECK(max_difference(x.grad(), x64.grad()) < 5e-6);
    x.zero_grad(), x64.zero_grad();
    log_softmax(x, c.dim).backward(dy);
    log_softmax(x64, c.dim).backward(dy64);
    CHECK(max_difference(x.grad(), x64.grad()) < 5e-4);  // of sums up to 3000
  }
}

TEST_CASE_TEMPLATE("softmax: a constant added to all logits changes nothing", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const index_t C : {3, 19, 40}) {
    const auto x = integers<T, D>({50, C}, -9, 9), moved = x.clone();
    for (index_t i = 0; i < x.numel(); ++i) moved.data()[i] += T(10000);
    CHECK(equal(softmax(x), softmax(moved)));
    CHECK(equal(log_softmax(x), log_softmax(moved)));
  }
}

TEST_CASE_TEMPLATE("softmax: logits of +-1e4 neither overflow nor lose the logarithm", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const index_t C : {4, 50}) {
    const auto x = full<T, D>({3, C}, T(-1e4));
    for (index_t r = 0; r < 3; ++r) x.at(r, r) = T(1e4);
    x.requires_grad();
    const auto p = softmax(x), log_p = log_softmax(x);
    for (index_t r = 0; r < 3; ++r)
      for (index_t c = 0; c < C; ++c) {
        CHECK(p.at(r, c) == (c == r ? T(1) : T(0)));
        CHECK(log_p.at(r, c) == (c == r ? T(0) : T(-2e4)));
      }
    p.backward(ones<T, D>(x.shape()));
    log_p.backward(ones<T, D>(x.shape()));
    for (index_t i = 0; i < x.numel(); ++i) CHECK(std::isfinite(x.grad().data()[i]));
  }
}

TEST_CASE_TEMPLATE("softmax: NaN and infinity stay in their slice", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const index_t C : {4, 50}) {
    const auto x = zeros<T, D>({40, C});
    x.at(1, 0) = x.at(2, C - 1) = static_cast<T>(NAN);
    x.at(3, 1) = static_cast<T>(INFINITY);
    x.at(4, 1) = static_cast<T>(-INFINITY);
    for (index_t c = 0; c < C; ++c) x.at(5, c) = static_cast<T>(-INFINITY);
    const auto y = softmax(x), z = log_softmax(x);
    for (index_t r = 0; r < 40; ++r)
      for (index_t c = 0; c < C; ++c) {
        const bool poisoned = r == 1 || r == 2 || r == 3 || r == 5, masked = r == 4 && c == 1;
        CHECK(std::isnan(y.at(r, c)) == poisoned);
        if (!poisoned) CHECK((y.at(r, c) == T(0)) == masked);
        if (!poisoned) CHECK((z.at(r, c) == static_cast<T>(-INFINITY)) == masked);
        if (poisoned) CHECK(std::isnan(z.at(r, c)));
      }
  }
}

TEST_CASE("softmax: same bits for any number of threads") {
  const int before = num_threads();
  for (const SoftmaxCase& c : {SoftmaxCase{{20000, 19}, 1}, {{3000, 60}, 1}, {{3, 21, 5000}, 1}}) {
    const auto x = normal<float>(c.shape);
    set_num_threads(1);
    const auto one = softmax(x, c.dim);
    set_num_threads(3);
    CHECK(equal(one, softmax(x, c.dim)));
  }
  set_num_threads(before);
}

TEST_CASE("softmax keeps its output only") {
  const auto x = normal<float>({1000, 19});
  x.requires_grad();
  const std::size_t before = memory_stats().in_use;
  const auto y = softmax(x);
  CHECK(memory_stats().in_use - before < 1000 * 19 * 4 + 20000);
}

TEST_CASE("softmax: a dimension that is not there") {
  CHECK_THROWS_WITH_AS(void(softmax(zeros<float>({2, 3}), 2)), "segnet::softmax: argument 'dim': expected a dimension in [-2, 2), got 2",
                       ValueError);
  CHECK_THROWS_WITH_AS(void(log_softmax(zeros<float>({2, 3}), -3)), doctest::Contains("segnet::log_softmax: argument 'dim'"), ValueError);
  CHECK_THROWS_AS(void(softmax(zeros<float>({}))), ValueError);
}
