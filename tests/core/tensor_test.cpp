#include "segnet/core/tensor.hpp"

#include <sstream>

#include "segnet/core/eigen.hpp"
#include "segnet/core/layout.hpp"
#include "segnet/core/print.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("Shape: sizes, negative indices, at most eight dimensions") {
  const Shape s{2, 3, 4};
  CHECK(s.numel() == 24);
  CHECK(s[-1] == 4);
  CHECK(s.front() == 2);
  CHECK(s.back() == 4);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{5, 0}.numel() == 0);
  CHECK(s == Shape{2, 3, 4});
  CHECK_FALSE(s == Shape{2, 3});
  CHECK(to_string(s) == "[2, 3, 4]");
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), doctest::Contains("at most 8 dimensions"), ValueError);
  CHECK_THROWS_AS((Shape{2, -1}), ValueError);
  CHECK(normalized_dim("op", "dim", -1, 3) == 2);
  CHECK_THROWS_WITH_AS((void)normalized_dim("sum", "dim", 3, 3), "segnet::sum: argument 'dim': expected a dimension in [-3, 3), got 3",
                       ValueError);
}

TEST_CASE("errors carry their parts as fields") {
  const ShapeError e("conv2d", "weight", "[O, kh, kw, 64]", {128, 3, 3, 32});
  CHECK(std::string(e.what()) == "segnet::conv2d: argument 'weight': expected [O, kh, kw, 64], got [128, 3, 3, 32]");
  CHECK(e.op == "conv2d");
  CHECK(e.argument == "weight");
  CHECK(e.actual == Shape{128, 3, 3, 32});
  CHECK(std::string(IoError("a/b.png", "is empty").what()) == "a/b.png: is empty");
}

TEST_CASE_TEMPLATE("Tensor: handles share, clones do not", T, float, double, std::int32_t, std::int64_t, std::uint8_t) {
  const Tensor<T> a({2, 3}, {1, 2, 3, 4, 5, 6});
  const Tensor<T> b = a, c = a.clone();
  b.data()[0] = 9;
  CHECK(a.at(0, 0) == 9);
  CHECK(c.at(0, 0) == 1);
  CHECK(a.at(1, 2) == 6);
  CHECK_FALSE(a.unique());
  CHECK(c.unique());
  const Tensor<T> row = a.alias({3}, 3);
  CHECK(row.at(0) == 4);
  CHECK(row.shares_memory_with(a));
  CHECK(full<T>({2}, 7).at(1) == 7);
  CHECK(arange<T>(4).at(3) == 3);
}

TEST_CASE("Tensor: undefined, scalar and empty") {
  const Tensor<float> none;
  CHECK_FALSE(none);
  CHECK(none.numel() == 0);
  CHECK_FALSE(none.clone());
  CHECK(Tensor<float>(Shape{}, {3}).item() == 3);
  CHECK(Tensor<float>({0, 4}).numel() == 0);
}

TEST_CASE("Tensor: misuse is an error that says what was wrong") {
  Tensor<float> a({2, 3});
  CHECK_THROWS_WITH_AS((Tensor<float>({2, 2}, {1, 2, 3})), doctest::Contains("as many elements as [2, 2]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)a.at(0), doctest::Contains("2 numbers for shape [2, 3], got 1"), ValueError);
  CHECK_THROWS_WITH_AS((void)a.at(0, 3), doctest::Contains("below 3 in dimension 1"), ValueError);
  CHECK_THROWS_AS((void)a.item(), ShapeError);
  CHECK_THROWS_AS((void)a.alias({7}), ShapeError);
  CHECK_THROWS_AS(a.copy_from(Tensor<float>({3, 2})), ShapeError);
}

TEST_CASE("from_external: no copy, and the owner lives as long as the tensor") {
  const auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  auto t = Tensor<float>::from_external(owner->data(), {3}, owner);
  CHECK(t.data() == owner->data());
  CHECK(owner.use_count() == 2);
  t = {};
  CHECK(owner.use_count() == 1);
}

TEST_CASE("memory: statistics, cache, hard cap") {
  release_cached_memory();
  const MemoryStats start = memory_stats();
  {
    const Tensor<float> a({1 << 20});
    CHECK(memory_stats().in_use >= start.in_use + (4u << 20));
  }
  CHECK(memory_stats().in_use == start.in_use);
  CHECK(memory_stats().cached >= (4u << 20));
  const std::size_t hits = memory_stats().cache_hits;
  {
    const Tensor<float> again({1 << 20});
  }
  CHECK(memory_stats().cache_hits == hits + 1);

  set_memory_limit(start.in_use + (8u << 20));
  CHECK_THROWS_WITH_AS((Tensor<float>({4 << 20})), doctest::Contains("out of memory: asked for 16777216 bytes"), DeviceError);
  {
    const Tensor<float> fits({1 << 20});
  }  // still works afterwards
  set_memory_limit(0);
  reset_peak_memory();
  {
    const Tensor<float> a({1 << 20}), b({1 << 20});
  }
  CHECK(memory_stats().peak >= memory_stats().in_use + (8u << 20));
  release_cached_memory();
  CHECK(memory_stats().cached == 0);

  {  // scratch memory borrows a larger block, and gives it back whole
    {
      const Tensor<float> a({1 << 20});
    }
    const segnet::detail::Buffer<Cpu> scratch(1000, true);
    CHECK(memory_stats().in_use == start.in_use + 1024);
    CHECK(memory_stats().cached == (4u << 20) - 1024);
    release_cached_memory();
    CHECK(memory_stats().in_use + memory_stats().cached == start.in_use + (4u << 20));
  }
  CHECK(memory_stats().in_use == start.in_use);
  CHECK(memory_stats().cached == 4u << 20);
  release_cached_memory();
  CHECK(memory_stats().cached == 0);
}

TEST_CASE_TEMPLATE("layout: from_nchw and to_nchw are inverse and put elements where they belong", T, float, double, std::uint8_t) {
  for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{1, 1, 7, 1}, Shape{2, 33, 17, 19}, Shape{3, 4}, Shape{2, 5, 6}, Shape{0, 3, 2, 2}}) {
    INFO(to_string(shape));
    const auto x = integers<T>(shape, 0, 100);
    const auto y = from_nchw(x);
    CHECK(equal(to_nchw(y), x));
    if (shape.rank() == 4 && x.numel()) CHECK(y.at(0, shape[2] - 1, 0, shape[1] - 1) == x.at(0, shape[1] - 1, shape[2] - 1, 0));
  }
  CHECK_THROWS_AS((void)from_nchw(Tensor<T>({3})), ShapeError);
}

TEST_CASE("printing and Eigen maps") {
  std::ostringstream out;
  out << Tensor<float>({2, 2}, {1, 2, 3, 4});
  CHECK(out.str() == "[[1, 2],\n [3, 4]]  [2, 2]");
  out.str("");
  out << arange<std::int32_t>(20);
  CHECK(out.str() == "[0, 1, 2, ..., 17, 18, 19]  [20]");
  const Tensor<float> a({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(as_matrix(a).rowwise().sum()(1) == 15);
  as_array(a) *= 2;
  CHECK(a.at(1, 2) == 12);
}
