#include "segnet/ops/reduction.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/kernels/linear.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// A reduction of x[0] over dims, its code behind pointers so that the checks are compiled once.
template <class T>
struct Both {
  using OnCpu = Tensor<Master<T>>;  // bfloat16 is float there
  template <class F>
  Both(const char* text, F f) : name(text), cpu(f), gpu(f) {}
  const char* name;
  OnCpu (*cpu)(const OnCpu&, const Dims&);
  Tensor<T, Cuda> (*gpu)(const Tensor<T, Cuda>&, const Dims&);
};
#define F(expression) {#expression, [](const auto& x, const Dims& dims) { return expression; }}

struct Case {
  Shape shape;
  Dims dims;
};
// Short and long rows, short and long columns, with and without whole packs; neighbouring dimensions and others; pieces and none.
std::vector<Case> cases() {
  return {{{4}, {}},
          {{300, 3}, -1},
          {{300, 21}, -1},
          {{70, 64}, -1},
          {{on_gpu(50, 5), 1000}, -1},
          {{3, on_gpu(20000, 9000)}, -1},
          {{on_gpu(100003, 20003)}, {}},
          {{2, on_gpu(40, 4), 50, 64}, {0, 1, 2}},
          {{2, on_gpu(40, 4), 50, 21}, {0, 1, 2}},
          {{2, on_gpu(40, 4), 50, 21}, {1, 2}},
          {{2, on_gpu(40, 4), 50, 24}, {1, 2}},
          {{3, on_gpu(97, 9), 1030}, 1},
          {{3, on_gpu(97, 9), 1032}, {0, 1}},
          {{3, 5, 7, 6}, {0, 2}},
          {{3, 5, 7, 6}, {1, 3}},
          {{on_gpu(2000, 300), 3, 5}, 1},
          {{2, 20, 9}, {1}},
          {{1, 30, 1}, {1}},
          {{5, 1, 4}, {1}},
          {{2, 3, 4}, {}}};
}

template <class T>
void check(const Both<T>& f, const Case& c, const Tensor<Master<T>>& x, double tolerance) {
  using OnCpu = Tensor<Master<T>>;
  INFO(to_string(c.shape));
  struct OnBoth {
    const Both<T>& f;
    const Dims& dims;
    OnCpu operator()(const std::vector<OnCpu>& in) const { return f.cpu(in[0], dims); }
    Tensor<T, Cuda> operator()(const std::vector<Tensor<T, Cuda>>& in) const { return f.gpu(in[0], dims); }
  };
  if constexpr (std::is_same_v<T, bfloat16>) check_bfloat16_on_gpu(f.name, OnBoth{f, c.dims}, {x}, tolerance);
  else check_same_on_gpu<T>(f.name, OnBoth{f, c.dims}, {x}, tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("cuda: reductions", T, float, double) {
  if (!gpu()) return;
  const double tolerance = std::is_same_v<T, float> ? 2e-6 : 1e-12;
  const std::vector<Both<T>> exact = {F(sum(x, dims)), F(norm(x, dims, 1)), F(amax(x, dims)), F(amin(x, dims, true))};
  const std::vector<Both<T>> rounded = {F(mean(x, dims)), F(var(x, dims)), F(norm(x, dims, 2)), F(logsumexp(x, dims))};
  for (const Case& c : cases()) {
    for (const auto& f : exact) check(f, c, integers<T>(c.shape, -3, 3), f.name[1] == 'm' ? tolerance : 0);
    for (const auto& f : rounded) check(f, c, normal<T>(c.shape, 0.5), tolerance);
  }
  check<T>(F(sum(x, dims)), {{0, 3}, 0}, zeros<T>({0, 3}), 0);
  check<T>(F(sum(x, dims)), {{3, 0}, 0}, zeros<T>({3, 0}), 0);
}

TEST_CASE_TEMPLATE("cuda: extremes with places, products", T, float, double) {
  if (!gpu()) return;
  for (const Case& c : {Case{{300, 3}, 1}, Case{{300, 21}, 1}, Case{{70, 64}, -1}, Case{{2, 3, 50, 7}, 2}, Case{{9000, 3}, 0},
                        Case{{3, 70001}, 1}, Case{{1, 5, 1}, 1}, Case{{64, 3, 9}, 0}}) {
    // Few values: many ties, of which the first counts.
    check<T>(F(max(x, dims.list[0]).values), c, integers<T>(c.shape, -3, 3), 0);
    check<T>(F(min(x, dims.list[0], true).values), c, integers<T>(c.shape, -3, 3), 0);
    auto x = integers<T>(c.shape, -3, 3);
    CHECK(equal(argmax(x.template to<Cuda>(), c.dims.list[0]).template to<Cpu>(), argmax(x, c.dims.list[0])));
    x.data()[x.numel() / 2] = x.data()[x.numel() - 1] = static_cast<T>(NAN);
    CHECK(equal(argmin(x.template to<Cuda>(), c.dims.list[0]).template to<Cpu>(), argmin(x, c.dims.list[0])));
    CHECK(argmax(x.template to<Cuda>()).item() == argmax(x).item());
  }
  for (const Case& c : {Case{{30, 4}, 1}, Case{{5, 6, 7}, 1}, Case{{8, 70}, 0}})
    check<T>(F(prod(x, dims.list[0])), c, random_uniform<T>(c.shape, testing::random(), 0.5, 1.5), std::is_same_v<T, float> ? 1e-5 : 1e-13);
}

TEST_CASE("cuda: reductions of bfloat16 are those of float, rounded") {
  if (!gpu()) return;
  const std::vector<Both<bfloat16>> exact = {F(amax(x, dims)), F(amin(x, dims, true))};
  const std::vector<Both<bfloat16>> rounded = {
      F(sum(x, dims)),     F(mean(x, dims)),    F(var(x, dims)),       F(stddev(x, dims, false)),
      F(norm(x, dims, 1)), F(norm(x, dims, 2)), F(logsumexp(x, dims)), F(prod(x + 2, dims.list[0]))};
  for (const Case& c : {Case{{30, 3}, -1}, Case{{7, 8}, -1}, Case{{3, 200}, {1}}, Case{{2, 4, 5, 16}, {2}}, Case{{2, 4, 5, 3}, {0}}}) {
    for (const auto& f : exact) check(f, c, integers<float>(c.shape, -3, 3), 1. / 256);  // ties share their gradient
    for (const auto& f : rounded)
      // y of logsumexp, in [4, 8), is rounded twice by up to 1/64, and exp(x - y) is its gradient.
      if (const double most = f.name[0] == 'l' ? 4e-2 : 2e-2; f.name[0] != 'p' || c.shape[c.dims.list[0]] < 9)
        check(f, c, integers<float>(c.shape, -1, 3), most);
  }
  check<bfloat16>(F(max(x, dims.list[0]).values), {{5, 21, 3}, 1}, integers<float>({5, 21, 3}, -3, 3), 0);
  check<bfloat16>(F(min(x, dims.list[0]).values), {{5, 21}, 1}, integers<float>({5, 21}, -3, 3), 0);
}

TEST_CASE("cuda: integers that no double holds; memory that no pack begins at") {
  if (!gpu()) return;
  const auto x = integers<index_t>({30, 7, 40}, -9, 9) + ((index_t{1} << 54) + 1);
  const auto same = [](const auto& f, const auto& t) { CHECK(f(t.template to<Cuda>()).to_vector() == f(t).to_vector()); };
  for (const int dim : {0, 1, -1}) {
    same([=](const auto& t) { return sum(t, dim); }, x);
    same([=](const auto& t) { return amax(t, dim); }, x);
    same([=](const auto& t) { return min(t, dim).values; }, x);
    same([=](const auto& t) { return argmax(t, dim); }, x);
    same([=](const auto& t) { return prod(t - (index_t{1} << 54), dim); }, x.alias({2, 3, 4}));
  }
  const auto y = integers<float>({1 + 40 * 64}, -3, 3);
  for (const Dims& dims : {Dims{}, Dims{0}, Dims{1}, Dims{2}, Dims{0, 1}}) {
    same([&](const auto& t) { return sum(t.alias({8, 5, 64}, 1), dims); }, y);
    same([&](const auto& t) { return amax(t.alias({8, 5, 64}, 1), dims); }, y);
    same([&](const auto& t) { return argmax(t.alias({8, 5, 64}, 1), dims.list.empty() ? 0 : dims.list[0]); }, y);
  }
}

TEST_CASE("cuda: sums of broadcast gradients, gates, biases") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{1, 1, 1, 24}, Shape{2, 1, 1, 24}, Shape{24}, Shape{2, 9, 1, 1}, Shape{1, 9, 1, 24}}) {
    const auto gate = [](const auto& x) { return x[0] * x[1]; };
    check_same_on_gpu<float>(to_string(shape), gate, {integers<float>({2, 9, 30, 24}, -3, 3), integers<float>(shape, -3, 3)});
  }
  for (const index_t channels : {1, 3, 8, 21, 64, 1000}) {
    const auto dy = integers<float>({700, channels}, -3, 3);
    const Tensor<float> db({channels});
    const Tensor<float, Cuda> db_gpu({channels});
    kernels::sum_over_rows<float>(dy.view(), db.view());
    kernels::sum_over_rows<float>(dy.to<Cuda>().view(), db_gpu.view());
    CHECK(equal(db_gpu.to<Cpu>(), db));
  }
}

TEST_CASE("cuda: reductions of integers and of bfloat16; sums of many floats keep their digits") {
  if (!gpu()) return;
  const auto x = integers<std::int32_t>({50, 37, 5}, -100, 100);
  for (const Dims& dims : {Dims{}, Dims{0, 1}, Dims{1}, Dims{-1}}) {
    CHECK(equal(sum(x.to<Cuda>(), dims).to<Cpu>(), sum(x, dims)));
    CHECK(equal(amax(x.to<Cuda>(), dims).to<Cpu>(), amax(x, dims)));
    CHECK(equal(sum(cast<std::uint8_t>(square(x)).to<Cuda>(), dims).to<Cpu>(), sum(cast<std::uint8_t>(square(x)), dims)));
    const auto reals = cast<bfloat16>(normal<float>({50, 40, 6}).to<Cuda>()), wide = cast<bfloat16>(normal<float>({50, 40, 16}).to<Cuda>());
    for (const auto& r : {reals, wide}) {
      const auto as_float = cast<float>(r).to<Cpu>();
      CHECK(relative_difference(cast<float>(mean(r, dims)).to<Cpu>(), mean(as_float, dims)) < 1e-2);
      CHECK(relative_difference(cast<float>(logsumexp(r, dims)).to<Cpu>(), logsumexp(as_float, dims)) < 1e-2);
      CHECK(equal(cast<float>(amax(r, dims)).to<Cpu>(), amax(as_float, dims)));
    }
  }
  const auto many = random_uniform<float>({on_gpu(3'000'000, 300'000)}, testing::random());
  CHECK(std::abs(static_cast<double>(sum(many.to<Cuda>()).item()) / static_cast<double>(sum(cast<double>(many)).item()) - 1) < 1e-7);
}
