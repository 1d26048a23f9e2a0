#include "segnet/ops/reduction.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Every element of x with the position of its result, by definition: f(result, x element) for each element in row-major order.
template <class T, class F>
void for_each_with_result(const Tensor<T>& x, unsigned reduced, const F& f) {
  for (index_t i = 0; i < x.numel(); ++i) {
    index_t rest = i, result = 0, stride = 1;
    for (int d = x.rank(); d-- > 0;) {
      const index_t at = rest % x.dim(d);
      rest /= x.dim(d);
      if (reduced >> d & 1u) continue;
      result += at * stride;
      stride *= x.dim(d);
    }
    f(result, x.data()[i]);
  }
}

Dims dims_of(unsigned bits, int rank) {
  std::vector<int> list;
  for (int d = 0; d < rank; ++d)
    if (bits >> d & 1u) list.push_back(d % 2 ? d : d - rank);  // some from the end
  return list;
}

/// Shapes that take every way through the kernel: short and long rows, few and many columns, several pieces, sizes of 1.
std::vector<Shape> shapes() {
  return {{2, 3, 4}, {3, 1, 5, 2}, {40, 19}, {33, 64}, {5, 65}, {7, 300, 3}, {2, 3, 600}, {3000, 70}, {200001}, {2, 1, 7, 1, 3}, {}};
}

}  // namespace

TEST_CASE_TEMPLATE("sum, mean, amax, amin: any set of dimensions, exactly", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : shapes())
    for (unsigned bits = shape.rank() ? 1 : 0; bits < 1u << shape.rank(); ++bits) {
      INFO("x ", shape, " dims bits ", bits);
      const auto x = integers<T>(shape, -8, 8).requires_grad();
      const Dims dims = dims_of(bits, shape.rank());
      const auto y = sum(x, dims), kept = sum(x, dims, true);
      CHECK(kept.numel() == y.numel());
      CHECK(kept.rank() == shape.rank());
      std::vector<double> sums(static_cast<std::size_t>(y.numel()), 0), largest(sums.size(), -99), smallest(sums.size(), 99);
      for_each_with_result(x, bits, [&](index_t r, T v) {
        const auto k = static_cast<std::size_t>(r);
        sums[k] += static_cast<double>(v);
        largest[k] = std::max<double>(largest[k], v);
        smallest[k] = std::min<double>(smallest[k], v);
      });
      const Tensor<double> expected(y.shape(), sums);
      CHECK(equal(cast<double>(y), expected));
      CHECK(equal(cast<double>(amax(x, dims)), Tensor<double>(y.shape(), largest)));
      CHECK(equal(cast<double>(amin(x, dims)), Tensor<double>(y.shape(), smallest)));
      const double n = static_cast<double>(x.numel()) / static_cast<double>(y.numel());
      CHECK(max_difference(mean(x, dims), expected * (1 / n)) <= 8 * (sizeof(T) == 4 ? 1e-7 : 2e-16));

      const auto dy = integers<T>(y.shape(), -8, 8);
      y.backward(dy);
      CHECK(dot(y, dy) == dot(x, x.grad()));
    }
}

TEST_CASE("sum: float keeps its digits over a million elements, whatever the number of threads") {
  const Tensor<float> x = random_uniform<float>({1000, 1100}, testing::random(), 0.5, 1.5);
  double exact = 0;
  for (index_t i = 0; i < x.numel(); ++i) exact += static_cast<double>(x.data()[i]);
  const float all = sum(x).item();
  CHECK(std::abs(all - exact) <= 6e-8 * exact);
  const auto columns = sum(x, 0), rows = sum(x, 1);
  const int threads = num_threads();
  for (const int n : {1, 2, 5}) {
    set_num_threads(n);
    CHECK(sum(x).item() == all);
    CHECK(equal(sum(x, 0), columns));
    CHECK(equal(sum(x, 1), rows));
  }
  set_num_threads(threads);
}

TEST_CASE("sum: integers and small types do not overflow on the way") {
  CHECK(sum(full<int>({100000}, 1000)).item() == 100000000);
  CHECK(sum(full<index_t>({3}, index_t{1} << 40)).item() == index_t{3} << 40);
  CHECK(equal(sum(full<std::uint8_t>({2, 9}, 20), 1), full<std::uint8_t>({2}, 180)));
}

TEST_CASE("var, stddev, norm, logsumexp, prod, cumsum: values by definition, gradients by differences") {
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{5, 1, 2}, Shape{70}})
    for (unsigned bits = 1; bits < 1u << shape.rank(); ++bits) {
      const Dims dims = dims_of(bits, shape.rank());
      const std::string what = concat(shape, " dims bits ", bits);
      INFO(what);
      const auto x = normal<double>(shape, 3, 2);
      const auto y = sum(x, dims);
      const double n = static_cast<double>(x.numel() / y.numel());
      Tensor<double> squares = zeros<double>(y.shape()), absolutes = squares.clone(), powers = squares.clone(),
                     deviations = squares.clone();
      for_each_with_result(x, bits, [&](index_t r, double v) {
        squares.data()[r] += v * v;
        absolutes.data()[r] += std::abs(v);
        powers.data()[r] += std::exp(v);
        deviations.data()[r] += (v - y.data()[r] / n) * (v - y.data()[r] / n);
      });
      CHECK(max_difference(var(x, dims, false), deviations / n) < 1e-12);
      if (n > 1) {
        CHECK(max_difference(var(x, dims), deviations / (n - 1)) < 1e-12);
        CHECK(max_difference(stddev(x, dims), sqrt(deviations / (n - 1))) < 1e-12);
        check_gradients("var " + what, [&](const auto& in) { return var(in[0], dims, true, true); }, {x});
        check_gradients("stddev " + what, [&](const auto& in) { return stddev(in[0], dims); }, {x});
      }
      CHECK(max_difference(norm(x, dims), sqrt(squares)) < 1e-12);
      CHECK(max_difference(norm(x, dims, 1), absolutes) < 1e-12);
      CHECK(max_difference(logsumexp(x, dims), log(powers)) < 1e-12);
      check_gradients("norm " + what, [&](const auto& in) { return norm(in[0], dims, 2, true); }, {x});
      check_gradients("norm 1 " + what, [&](const auto& in) { return norm(in[0], dims, 1); }, {distinct<double>(shape)});
      check_gradients("logsumexp " + what, [&](const auto& in) { return logsumexp(in[0], dims); }, {x});
    }
  for (int dim = 0; dim < 3; ++dim) {
    const auto x = normal<double>({2, 3, 4});
    check_gradients(concat("prod ", dim), [&](const auto& in) { return prod(in[0], dim); }, {x});
    check_gradients(concat("cumsum ", dim), [&](const auto& in) { return cumsum(in[0], dim); }, {x});
  }
  CHECK(equal(prod(Tensor<double>({2, 3}, {1, 2, 3, 4, 5, 6}), 0), Tensor<double>({3}, {4, 10, 18})));
  CHECK(equal(cumsum(Tensor<float>({2, 3}, {1, 2, 3, 4, 5, 6}), 1), Tensor<float>({2, 3}, {1, 3, 6, 4, 9, 15})));
  CHECK(equal(cumsum(Tensor<int>({2, 3}, {1, 2, 3, 4, 5, 6}), 0), Tensor<int>({2, 3}, {1, 2, 3, 5, 7, 9})));
}

TEST_CASE("var: a large mean costs no digits") {
  const Tensor<float> x({4}, {10000.25f, 9999.75f, 10000.25f, 9999.75f});
  CHECK(var(x, {}, false).item() == 0.0625f);
}

TEST_CASE("prod and norm: gradients at zero") {
  const Tensor<double> x({3, 3}, {2, 0, 3, 0, 0, 5, 2, 3, 4});
  x.requires_grad();
  prod(x, 1).backward(ones<double>({3}));
  CHECK(equal(x.grad(), Tensor<double>({3, 3}, {0, 6, 0, 0, 0, 0, 12, 8, 6})));
  const Tensor<double> zero = zeros<double>({2});
  zero.requires_grad();
  (norm(zero) + norm(zero, {}, 1)).backward();
  CHECK(equal(zero.grad(), zeros<double>({2})));
}

TEST_CASE("logsumexp: far beyond the range of exp, infinities, nothing") {
  CHECK(logsumexp(Tensor<float>({2}, {1000, 1000})).item() == doctest::Approx(1000 + std::log(2.0)));
  CHECK(logsumexp(full<float>({3}, -INFINITY)).item() == -INFINITY);
  CHECK(logsumexp(Tensor<double>({2}, {INFINITY, 0})).item() == INFINITY);
  CHECK(logsumexp(zeros<double>({0})).item() == -INFINITY);
}

TEST_CASE_TEMPLATE("max, min, argmax, argmin along a dimension: the first of equals, its gradient", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const Shape& shape : shapes())
    for (int dim = 0; dim < shape.rank(); ++dim) {
      INFO("x ", shape, " dim ", dim);
      const auto x = integers<T>(shape, -5, 5).requires_grad();  // many ties
      const unsigned bits = 1u << dim;
      const auto largest = max(x, dim), smallest = min(x, dim - shape.rank(), true);
      CHECK(equal(largest.values, amax(x.detach(), dim)));
      CHECK(equal(smallest.values, amin(x.detach(), dim, true)));
      index_t inner = 1;
      for (int d = dim + 1; d < shape.rank(); ++d) inner *= shape[d];
      Tensor<index_t> first_largest = full<index_t>(largest.values.shape(), -1), first_smallest = first_largest.clone();
      index_t i = 0;
      for_each_with_result(x, bits, [&](index_t r, T v) {
        const index_t at = i++ / inner % shape[dim];
        if (first_largest.data()[r] < 0 && v == largest.values.data()[r]) first_largest.data()[r] = at;
        if (first_smallest.data()[r] < 0 && v == smallest.values.data()[r]) first_smallest.data()[r] = at;
      });
      CHECK(equal(largest.indices, first_largest));
      CHECK(equal(reshape(smallest.indices, first_smallest.shape()), first_smallest));
      CHECK(equal(argmax(x, dim), first_largest));
      CHECK(equal(argmin(x, dim), first_smallest));
      const auto dy = integers<T>(largest.values.shape(), -8, 8);
      largest.values.backward(dy);
      CHECK(dot(largest.values, dy) == dot(x, x.grad()));
    }
}

TEST_CASE("extremes: ties share, NaN wins, integers, everything") {
  const double nan = std::nan("");
  const Tensor<double> x({2, 3}, {3, 1, 3, 3, 2, 0});
  x.requires_grad();
  max(x).backward(full<double>({}, 6));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {2, 0, 2, 2, 0, 0})));
  x.zero_grad();
  amax(x, 1).backward(Tensor<double>({2}, {4, 5}));
  CHECK(equal(x.grad(), Tensor<double>({2, 3}, {2, 0, 2, 5, 0, 0})));
  CHECK(min(x).item() == 0);
  CHECK(argmax(x).item() == 0);
  CHECK(argmin(x).item() == 5);

  const Tensor<double> with_nan({2, 3}, {1, nan, 5, 1, 2, 3});
  CHECK(equal(amax(with_nan, 1), Tensor<double>({2}, {nan, 3})));
  CHECK(equal(amin(with_nan, 0), Tensor<double>({3}, {1, nan, 3})));
  CHECK(equal(argmax(with_nan, 1), Tensor<index_t>({2}, {1, 2})));
  CHECK(equal(argmin(with_nan, 0), Tensor<index_t>({3}, {0, 0, 1})));
  CHECK(equal(argmax(full<float>({1, 2}, -INFINITY), 1), Tensor<index_t>({1}, {0})));
  CHECK(equal(max(Tensor<int>({2, 2}, {1, 2, 5, 4}), 1).values, Tensor<int>({2}, {2, 5})));
}

TEST_CASE("reductions: nothing to reduce, and errors") {
  const auto none = zeros<float>({2, 0, 3});
  CHECK(equal(sum(none, 1), zeros<float>({2, 3})));
  CHECK(sum(none).item() == 0);
  CHECK(std::isnan(mean(none).item()));
  CHECK(equal(prod(none, 1), ones<float>({2, 3})));
  CHECK(sum(none, {0, 2}).shape() == Shape{0});
  CHECK(amax(none, 0).shape() == Shape{0, 3});
  none.requires_grad();
  sum(none, 1).backward(ones<float>({2, 3}));
  CHECK(none.grad().shape() == none.shape());
  CHECK(std::isnan(var(ones<float>({1})).item()));

  CHECK_THROWS_WITH_AS(sum(none, 3), "segnet::sum: argument 'dims': expected a dimension in [-3, 3), got 3", ValueError);
  CHECK_THROWS_WITH_AS(mean(none, {0, -3}), "segnet::mean: argument 'dims': expected each dimension once, got dimension 0 twice",
                       ValueError);
  CHECK_THROWS_WITH_AS(amax(none, 1), "segnet::amax: argument 'x': expected at least one element in the reduced dimensions, got [2, 0, 3]",
                       ShapeError);
  CHECK_THROWS_AS(max(none), ShapeError);
  CHECK_THROWS_AS(argmin(none, 1), ShapeError);
  CHECK_THROWS_WITH_AS(norm(none, {}, 3), "segnet::norm: argument 'p': expected 1 or 2, got 3", ValueError);
  CHECK_THROWS_WITH_AS(max(none, 7), doctest::Contains("segnet::max: argument 'dim'"), ValueError);
}
