#include "segnet/ops/sort.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class T>
void check_sorted(const Tensor<T>& x, int dim, index_t k, bool descending) {
  INFO(x.shape(), " dim ", dim, " k ", k, " descending ", descending);
  const auto expected = topk(x, k, dim, descending);
  const auto got_there = topk(x.template to<Cuda>(), k, dim, descending);
  CHECK(equal(got_there.values.template to<Cpu>(), expected.values));
  CHECK(equal(got_there.indices.template to<Cpu>(), expected.indices));
}

}  // namespace

TEST_CASE_TEMPLATE("sort and topk on the GPU: stable, short lines and long ones", T, float, double, std::int32_t, std::int64_t,
                   std::uint8_t) {
  if (!gpu()) return;
  const Shape shapes[] = {{6, 21}, {3, 128}, {3, 129}, {2, 5, 7}, {2, 300, 3}, {3000}, {1, 1}, {0, 4}, {40, 200}};
  for (const Shape& shape : shapes)
    for (int dim = 0; dim < shape.rank(); ++dim)
      for (const bool descending : {false, true}) {
        const index_t n = shape[dim];
        const auto few = integers<T>(shape, 0, 9), many = integers<T>(shape, std::is_signed_v<T> ? -100 : 0, 100);  // with ties
        check_sorted(few, dim, n, descending);
        check_sorted(many, dim, std::min<index_t>(n, 3), descending);
        check_sorted(many, dim, 0, descending);
      }
}

TEST_CASE_TEMPLATE("sort on the GPU: NaN, infinities, both zeros", T, float, double) {
  if (!gpu()) return;
  for (const index_t n : {50, 500}) {
    Tensor<T> x = normal<T>({4, n});
    const T special[] = {T(NAN), -T(NAN), T(INFINITY), -T(INFINITY), T(0), -T(0), T(1), T(-1), std::numeric_limits<T>::denorm_min()};
    for (index_t i = 0; i < x.numel(); ++i)
      if (const index_t s = testing::random().below(18); s < 9) x.data()[i] = special[s];
    for (const bool descending : {false, true}) check_sorted(x, -1, n, descending);
  }
}

TEST_CASE("sort on the GPU: bfloat16, gradients") {
  if (!gpu()) return;
  for (const index_t n : {40, 400}) {
    const auto x = integers<float>({3, n}, -99, 99);
    const auto expected = sort(x);
    const auto narrow_sorted = sort(cast<bfloat16>(x.to<Cuda>()));
    CHECK(equal(cast<float>(narrow_sorted.values).to<Cpu>(), expected.values));
    CHECK(equal(narrow_sorted.indices.to<Cpu>(), expected.indices));
  }
  for (const Shape& shape : {Shape{3, 4, 30}, Shape{2, 300}})
    for (int dim = 0; dim < shape.rank(); ++dim) {
      check_same_on_gpu<float>("sort", [&](const auto& x) { return sort(x[0], dim, true).values; }, {integers<float>(shape, -9, 9)});
      check_same_on_gpu<double>("topk", [&](const auto& x) { return topk(x[0], 2, dim).values; }, {normal<double>(shape)});
    }
}

TEST_CASE_TEMPLATE("running sums of integers on the GPU; their order where no double holds them", T, std::int32_t, std::int64_t,
                   std::uint8_t) {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 3000}, Shape{40, 33}})
    for (int dim = 0; dim < shape.rank(); ++dim) {
      const auto x = integers<T>(shape, 0, 9);  // the sums of bytes wrap
      CHECK(equal(cumsum(x.template to<Cuda>(), dim).template to<Cpu>(), cumsum(x, dim)));
    }
  if constexpr (sizeof(T) < 8) return;
  for (const index_t n : {40, 400}) {
    auto x = integers<index_t>({3, n}, -300, 300);
    for (index_t i = 0; i < x.numel(); ++i) x.data()[i] += i % 2 ? index_t{1} << 60 : -(index_t{1} << 60);
    for (const bool descending : {false, true}) {
      const auto expected = sort(x, -1, descending);
      const auto got = sort(x.to<Cuda>(), -1, descending);
      CHECK(got.values.to_vector() == expected.values.to_vector());
      CHECK(got.indices.to_vector() == expected.indices.to_vector());
    }
  }
}

TEST_CASE("cumsum on the GPU: many lines, few lines, long and short") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 5000}, Shape{5000, 3}, Shape{2, on_gpu(100, 3), 9000}, Shape{40, 33}, Shape{1, 1024},
                             Shape{2, 1025}, Shape{0, 3}})
    for (int dim = 0; dim < shape.rank(); ++dim) {
      const std::string what = concat("cumsum ", shape, " dim ", dim);
      check_same_on_gpu<float>(what, [&](const auto& x) { return cumsum(x[0], dim); }, {integers<float>(shape, -3, 3)});
      if (shape.numel() < 100000) {
        check_same_on_gpu<double>(what, [&](const auto& x) { return cumsum(x[0], dim); }, {integers<double>(shape, -3, 3)});
        check_same_on_gpu<float>(what, [&](const auto& x) { return cumsum(x[0], dim); }, {normal<float>(shape)}, 1e-6);
      }
    }
  const auto x = integers<float>({3, 70}, 0, 1);
  CHECK(equal(cast<float>(cumsum(cast<bfloat16>(x.to<Cuda>()), 1)).to<Cpu>(), cumsum(x, 1)));
}
