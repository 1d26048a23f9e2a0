#include "segnet/ops/pooling.hpp"

#include <limits>

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

#define ON_GPU float, double

namespace {

struct PoolCase {
  Shape x;
  Pool2dOptions options;
};

std::string describe(const PoolCase& c) {
  const Pool2dOptions& o = c.options;
  return concat("pool of ", c.x, ", {.kernel = ", o.kernel, ", .stride = ", o.stride, ", .padding = ", o.padding,
                ", .dilation = ", o.dilation, ", .ceil_mode = ", o.ceil_mode, "}");
}

/// Cells of 2 x 2 whole, cut off and left over; every option away from its default somewhere; channels of packs and of none.
std::vector<PoolCase> pool_cases() {
  return {
      {{2, 6, 8, 16}, {}},
      {{1, 7, 9, 3}, {}},
      {{1, 7, 9, 24}, {}},
      {{1, 7, 9, 21}, {.ceil_mode = true}},
      {{2, 7, 9, 8}, {.ceil_mode = true}},
      {{1, 2, on_gpu(1030, 130), 64}, {}},
      {{3, on_gpu(66, 10), on_gpu(130, 30), 64}, {}},
      {{2, 9, 10, 5}, {.kernel = 3, .stride = 2, .padding = 1}},
      {{1, 8, 10, 40}, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}},
      {{1, 6, 6, 4}, {.kernel = 3, .stride = 1, .padding = 1}},
      {{1, 9, 8, 2}, {.kernel = {3, 2}, .stride = {1, 2}, .dilation = {2, 3}}},
      {{2, 10, 9, 8}, {.kernel = 3, .stride = {2, 3}, .padding = 1, .dilation = 2, .ceil_mode = true}},
      {{1, 8, 9, 17}, {.kernel = {1, 4}, .stride = {2, 3}, .padding = {0, 2}}},
      {{1, 11, 10, 8}, {.kernel = 2, .stride = {3, 4}, .ceil_mode = true}},
      {{2, 2, 3, 5}, {.kernel = 3, .stride = 2, .ceil_mode = true}},
      {{2, 5, 4, 1032}, {.kernel = {5, 4}}},
      {{1, 2, 2, 2}, {.kernel = 2, .stride = 1, .padding = 1, .dilation = 3}},  // an empty window
      {{0, 6, 8, 16}, {}},
      {{2, 6, 8, 0}, {}},
  };
}

/// Few different values, so many ties; some NaN.
template <class T>
Tensor<T> ties(const Shape& shape, bool nan) {
  auto x = integers<T>(shape, -2, 2);
  for (index_t i = 0; nan && i < x.numel(); i += 1 + testing::random().below(40)) x.data()[i] = std::numeric_limits<T>::quiet_NaN();
  return x;
}

template <class F>
void check_bfloat16(const std::string& what, const F& f, const Tensor<float>& x, double tolerance) {
  check_same_on_gpu<float>(
      what + " in bfloat16",
      [&]<class D>(const std::vector<Tensor<float, D>>& in) {
        if constexpr (std::is_same_v<D, Cpu>) return f(in[0]);
        else return cast<float>(f(cast<bfloat16>(in[0])));
      },
      {x}, tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("GPU: max pooling has the CPU's maxima and indices, with ties and NaN", T, ON_GPU) {
  if (!gpu()) return;
  for (PoolCase c : pool_cases()) {
    INFO(describe(c));
    c.options.return_indices = true;
    for (const bool nan : {false, true}) {
      const auto x = ties<T>(c.x, nan);
      const auto [y, indices] = max_pool2d(x, c.options);
      const auto [y_gpu, indices_gpu] = max_pool2d(x.template to<Cuda>(), c.options);
      CHECK(equal(y_gpu.template to<Cpu>(), y));
      CHECK(equal(indices_gpu.template to<Cpu>(), indices));
      check_same_on_gpu<T>("max", [&](const auto& in) { return max_pool2d(in[0], c.options).output; }, {x});
    }
  }
}

TEST_CASE_TEMPLATE("GPU: average pooling as on the CPU", T, ON_GPU) {
  if (!gpu()) return;
  const double rounding = std::is_same_v<T, float> ? 1e-6 : 1e-14;
  for (const PoolCase& c : pool_cases()) {
    const Pool2dOptions& o = c.options;
    if (!(o.dilation == Extent2(1))) continue;
    for (const bool padded : {false, true})
      for (const index_t divisor : {0, 3})
        check_same_on_gpu<T>(
            concat("average, padding counts ", padded, ", divisor ", divisor, ", ", describe(c)),
            [&](const auto& in) {
              return avg_pool2d(in[0], {.kernel = o.kernel,
                                        .stride = o.stride,
                                        .padding = o.padding,
                                        .ceil_mode = o.ceil_mode,
                                        .count_include_pad = padded,
                                        .divisor_override = divisor});
            },
            {integers<T>(c.x, -9, 9)}, rounding);
  }
}

TEST_CASE_TEMPLATE("GPU: adaptive pooling as on the CPU", T, ON_GPU) {
  if (!gpu()) return;
  struct Case {
    Shape x;
    Extent2 size;
  };
  for (const Case& c : {Case{{2, 7, 9, 8}, {3, 4}}, Case{{2, 40, 50, 64}, 1}, Case{{1, 30, 31, 5}, {1, 2}}, Case{{1, 3, 4, 16}, {5, 9}},
                        Case{{3, 8, 8, 1032}, 1}, Case{{1, 1, 1, 4}, 3}, Case{{0, 4, 4, 4}, 2}}) {
    INFO(to_string(c.x), " to ", to_string(c.size));
    const auto x = ties<T>(c.x, false);
    check_same_on_gpu<T>(
        "average", [&](const auto& in) { return adaptive_avg_pool2d(in[0], c.size); }, {x}, std::is_same_v<T, float> ? 1e-6 : 1e-14);
    check_same_on_gpu<T>("max", [&](const auto& in) { return adaptive_max_pool2d(in[0], c.size).output; }, {x});
    CHECK(equal(adaptive_max_pool2d(x.template to<Cuda>(), c.size, true).indices.template to<Cpu>(),
                adaptive_max_pool2d(x, c.size, true).indices));
  }
}

TEST_CASE_TEMPLATE("GPU: unpooling as on the CPU, by cells and wherever indices point", T, ON_GPU) {
  if (!gpu()) return;
  const auto check = [](const std::string& what, const Tensor<T>& x, const Tensor<std::int32_t>& indices, Extent2 size) {
    check_same_on_gpu<T>(
        what, [&]<class D>(const std::vector<Tensor<T, D>>& in) { return max_unpool2d(in[0], indices.template to<D>(), size); }, {x});
  };
  for (PoolCase c : pool_cases()) {
    c.options.return_indices = true;
    const auto [y, indices] = max_pool2d(ties<T>(c.x, false), c.options);
    bool empty = false;
    for (index_t i = 0; i < indices.numel(); ++i) empty |= indices.data()[i] < 0;
    if (!empty) check("unpool, " + describe(c), integers<T>(y.shape(), -9, 9), indices, {c.x[1], c.x[2]});
  }
  // Of many with the same index the last one stays; a plane that is one pixel wide; more pixels in than out.
  check("collisions", distinct<T>({2, 30, 20, 8}), integers<std::int32_t>({2, 30, 20, 8}, 0, 41), {6, 7});
  check("collisions, odd", distinct<T>({2, 30, 20, 3}), integers<std::int32_t>({2, 30, 20, 3}, 0, 41), {42, 1});
  check("one column", distinct<T>({1, 3, 1, 4}), Tensor<std::int32_t>({1, 3, 1, 4}, {0, 1, 0, 1, 2, 3, 3, 2, 4, 4, 5, 5}), {6, 1});
}

TEST_CASE("GPU: unpooling refuses indices outside of the plane, as on the CPU") {
  if (!gpu()) return;
  const auto x = integers<float, Cpu>({1, 3, 4, 8}, -3, 3).to<Cuda>();
  for (const std::int32_t bad : {-1, 40}) {
    auto indices = integers<std::int32_t>({1, 3, 4, 8}, 0, 39);
    indices.data()[77] = bad;
    CHECK_THROWS_WITH_AS((void)max_unpool2d(x, indices.to<Cuda>(), {5, 8}),
                         doctest::Contains("'indices': expected positions in a plane of 5x8, got one outside of it"), ValueError);
  }
}

TEST_CASE("GPU: pooling memory that is not a multiple of 16 bytes away") {
  if (!gpu()) return;
  const auto x = integers<float>({2, 6, 6, 8}, -9, 9);
  const auto same = [&](const char* what, const auto& pool) {
    check_same_on_gpu<float>(what, [&](const auto& in) { return unaligned(pool(unaligned(in[0]))); }, {x}, 1e-6);
  };
  same("max", [](const auto& t) { return max_pool2d(t).output; });
  same("overlapping", [](const auto& t) { return max_pool2d(t, {.kernel = 3, .stride = 1, .padding = 1}).output; });
  same("average", [](const auto& t) { return avg_pool2d(t); });
  same("whole", [](const auto& t) { return adaptive_avg_pool2d(t, 1); });
  const auto places = max_pool2d(distinct<float>({2, 12, 12, 8}), {.return_indices = true}).indices;
  same("unpool", [&]<class T, class D>(const Tensor<T, D>& t) { return max_unpool2d(t, places.to<D>(), {12, 12}); });
}

TEST_CASE("GPU: pooling in bfloat16") {
  if (!gpu()) return;
  for (const PoolCase& c : pool_cases()) {
    const auto x = integers<float>(c.x, -9, 9);
    check_bfloat16("max " + describe(c), [&](const auto& t) { return max_pool2d(t, c.options).output; }, x, 0);
    if (c.options.dilation == Extent2(1))
      check_bfloat16(
          "average " + describe(c), [&](const auto& t) { return avg_pool2d(t, {.kernel = c.options.kernel, .stride = c.options.stride}); },
          c.x[1] < c.options.kernel.h || c.x[2] < c.options.kernel.w ? integers<float>({1, 6, 6, 8}, -9, 9) : x, 1e-2);
  }
  const auto [y, indices] = max_pool2d(integers<float>({2, 7, 9, 16}, -9, 9), {.return_indices = true});
  check_bfloat16(
      "unpool", [places = indices]<class T, class D>(const Tensor<T, D>& t) { return max_unpool2d(t, places.template to<D>(), {7, 9}); }, y,
      0);
}
