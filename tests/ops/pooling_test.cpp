#include "segnet/ops/pooling.hpp"

#include <limits>

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

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

/// Every option away from its default somewhere; sizes that divide unevenly; fewer channels than a vector, a multiple, and neither.
std::vector<PoolCase> pool_cases() {
  return {
      {{2, 6, 8, 16}, {}},
      {{1, 7, 9, 3}, {}},
      {{1, 7, 9, 21}, {.ceil_mode = true}},
      {{2, 9, 10, 5}, {.kernel = 3, .stride = 2, .padding = 1}},
      {{1, 8, 10, 33}, {.kernel = 3, .stride = 2, .padding = 1, .ceil_mode = true}},
      {{1, 6, 6, 4}, {.kernel = 3, .stride = 1, .padding = 1}},
      {{1, 9, 8, 2}, {.kernel = {3, 2}, .stride = {1, 2}, .dilation = {2, 3}}},
      {{2, 10, 9, 1}, {.kernel = 3, .stride = {2, 3}, .padding = 1, .dilation = 2, .ceil_mode = true}},
      {{1, 8, 9, 17}, {.kernel = {1, 4}, .stride = {2, 3}, .padding = {0, 2}}},
      {{1, 11, 10, 6}, {.kernel = 2, .stride = {3, 4}, .ceil_mode = true}},  // a last window behind the image is dropped
      {{2, 2, 3, 5}, {.kernel = 3, .stride = 2, .ceil_mode = true}},         // the only window reaches beyond the image
      {{3, 1, 12, 8}, {.kernel = {1, 3}, .stride = {1, 2}, .padding = {0, 1}}},
      {{2, 5, 4, 70}, {.kernel = {5, 4}}},
      {{1, 40, 3, 2}, {.kernel = {17, 2}, .stride = {16, 1}}},
      {{1, 2, 2, 2}, {.kernel = 2, .stride = 1, .padding = 1, .dilation = 3}},  // one window, between all pixels: empty
      {{0, 6, 8, 16}, {}},
      {{2, 6, 8, 0}, {}},
  };
}

index_t output_size(index_t in, index_t k, index_t s, index_t p, index_t d, bool ceil_mode) {
  if (s == 0) s = k;
  const double steps = static_cast<double>(in + 2 * p - d * (k - 1) - 1) / static_cast<double>(s);
  index_t out = static_cast<index_t>(ceil_mode ? std::ceil(steps) : std::floor(steps)) + 1;
  while ((out - 1) * s >= in + p) --out;
  return out;
}

/// The definition: calls f(output index, inside, input index, row, column) for every element of every window, in row-major order.
template <class F>
void for_windows(const PoolCase& c, const F& f) {
  const Pool2dOptions& o = c.options;
  const index_t N = c.x[0], H = c.x[1], W = c.x[2], C = c.x[3];
  const Extent2 stride{o.stride.h ? o.stride.h : o.kernel.h, o.stride.w ? o.stride.w : o.kernel.w};
  const index_t OH = output_size(H, o.kernel.h, stride.h, o.padding.h, o.dilation.h, o.ceil_mode);
  const index_t OW = output_size(W, o.kernel.w, stride.w, o.padding.w, o.dilation.w, o.ceil_mode);
  for (index_t n = 0; n < N; ++n)
    for (index_t oh = 0; oh < OH; ++oh)
      for (index_t ow = 0; ow < OW; ++ow)
        for (index_t ki = 0; ki < o.kernel.h; ++ki)
          for (index_t kj = 0; kj < o.kernel.w; ++kj) {
            const index_t h = oh * stride.h - o.padding.h + ki * o.dilation.h, w = ow * stride.w - o.padding.w + kj * o.dilation.w;
            const bool inside = h >= 0 && h < H && w >= 0 && w < W;
            for (index_t ch = 0; ch < C; ++ch) f(((n * OH + oh) * OW + ow) * C + ch, inside, ((n * H + h) * W + w) * C + ch, h, w);
          }
}

template <class T>
MaxPool2dResult<T> max_by_definition(const PoolCase& c, const Tensor<T>& x, const Shape& shape) {
  MaxPool2dResult<T> r{full<T>(shape, -std::numeric_limits<T>::infinity()), full<std::int32_t>(shape, -1)};
  for_windows(c, [&](index_t o, bool inside, index_t i, index_t h, index_t w) {
    if (!inside) return;
    T& best = r.output.data()[o];
    std::int32_t& place = r.indices.data()[o];
    if (place >= 0 && !(x.data()[i] > best) && !std::isnan(x.data()[i])) return;
    best = x.data()[i];
    place = static_cast<std::int32_t>(h * c.x[2] + w);
  });
  return r;
}

}  // namespace

TEST_CASE_TEMPLATE("max_pool2d: values, indices and gradient by definition, exactly, with ties", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const PoolCase& c : pool_cases()) {
    INFO(describe(c));
    const auto x = integers<T, D>(c.x, -9, 0);  // negative: padding must lose
    x.requires_grad();
    Pool2dOptions options = c.options;
    options.return_indices = true;
    const auto [y, indices] = max_pool2d(x, options);
    const auto expected = max_by_definition(c, x, y.shape());
    CHECK(equal(y, expected.output));
    CHECK(equal(indices, expected.indices));

    const auto dy = integers<T, D>(y.shape(), -9, 9);
    const auto dx = zeros<T, D>(c.x);
    const index_t plane = c.x[1] * c.x[2], C = c.x[3];
    for (index_t o = 0; o < y.numel(); ++o)
      if (const index_t place = expected.indices.data()[o]; place >= 0)
        dx.data()[(o / (y.numel() / c.x[0]) * plane + place) * C + o % C] += dy.data()[o];
    y.backward(dy);
    CHECK(equal(x.grad(), dx));

    x.zero_grad();
    const auto plain = max_pool2d(x, c.options);
    CHECK_FALSE(plain.indices);
    CHECK(equal(plain.output, y));
    plain.output.backward(dy);
    CHECK(equal(x.grad(), dx));
    CHECK(equal(no_grad([&] { return max_pool2d(x, c.options).output; }), y));
  }
}

TEST_CASE("max_pool2d: derivative") {
  for (const PoolCase& c : pool_cases()) {
    if (c.x.numel() == 0 || c.options.dilation == Extent2(3)) continue;  // the window without elements gives -infinity
    check_gradients(describe(c), [&](const auto& in) { return max_pool2d(in[0], c.options).output; }, {distinct<double>(c.x)});
  }
}

TEST_CASE_TEMPLATE("max_pool2d: NaN wins, also over NaN before it; -infinity has a place", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const T nan = std::numeric_limits<T>::quiet_NaN(), inf = std::numeric_limits<T>::infinity();
  for (const index_t C : {1, 16, 19}) {
    Tensor<T> x({1, 2, 4, C});
    for (index_t c = 0; c < C; ++c) {
      const T values[] = {nan, 5, -inf, -inf, 7, nan, -inf, -inf};
      for (index_t p = 0; p < 8; ++p) x.data()[p * C + c] = values[p];
    }
    for (const Extent2 kernel : {Extent2(2), Extent2(2, 1)}) {
      const auto [y, indices] = max_pool2d(x, {.kernel = kernel, .stride = {2, 2}, .return_indices = true});
      CHECK(std::isnan(y.at(0, 0, 0, C - 1)));
      CHECK(indices.at(0, 0, 0, C - 1) == (kernel.w == 2 ? 5 : 0));
      CHECK(y.at(0, 0, 1, C - 1) == -inf);
      CHECK(indices.at(0, 0, 1, C - 1) == 2);
    }
  }
}

TEST_CASE("max_pool2d: allocates its output alone when nobody wants indices") {
  const auto x = normal<float>({1, 8, 8, 4});
  const auto allocations = [&](bool return_indices) {
    const std::size_t before = memory_stats().allocations;
    const auto y = max_pool2d(x, {.return_indices = return_indices});
    return memory_stats().allocations - before;
  };
  CHECK(allocations(false) == 1);
  CHECK(allocations(true) == 2);
}

TEST_CASE_TEMPLATE("avg_pool2d: by definition, and the transpose exactly", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const PoolCase& c : pool_cases()) {
    if (!(c.options.dilation == Extent2(1))) continue;
    for (const bool count_include_pad : {true, false})
      for (const index_t divisor : {0, 1, 7}) {
        const AvgPool2dOptions options{c.options.kernel,    c.options.stride,  c.options.padding,
                                       c.options.ceil_mode, count_include_pad, divisor};
        INFO(describe(c), " count_include_pad ", count_include_pad, " divisor_override ", divisor);
        const auto x = integers<T, D>(c.x, -9, 9);
        x.requires_grad();
        const auto y = avg_pool2d(x, options);
        const auto sum = zeros<double>(y.shape()), count = zeros<double>(y.shape());
        for_windows(c, [&](index_t o, bool inside, index_t i, index_t h, index_t w) {
          if (inside) sum.data()[o] += static_cast<double>(x.data()[i]);
          const Extent2 p = c.options.padding;
          const bool padded = h >= -p.h && h < c.x[1] + p.h && w >= -p.w && w < c.x[2] + p.w;
          if (count_include_pad ? padded : inside) count.data()[o] += 1;
        });
        for (index_t o = 0; o < y.numel(); ++o) {
          if (divisor) count.data()[o] = static_cast<double>(divisor);
          if (count.data()[o] > 0) sum.data()[o] /= count.data()[o];
        }
        CHECK(max_difference(y, sum) <= 16 * static_cast<double>(std::numeric_limits<T>::epsilon()));

        const auto dy = integers<T, D>(y.shape(), -9, 9);
        y.backward(dy);
        if (divisor == 1) CHECK(dot(y, dy) == dot(x, x.grad()));
        else CHECK(dot(y, dy) == doctest::Approx(dot(x, x.grad())).epsilon(1e-4));
      }
  }
}

TEST_CASE("avg_pool2d: derivative, by differences of integers") {
  for (const PoolCase& c : pool_cases()) {
    if (!(c.options.dilation == Extent2(1)) || c.x.numel() == 0) continue;
    for (const bool include : {true, false}) {
      const AvgPool2dOptions o{c.options.kernel, c.options.stride, c.options.padding, c.options.ceil_mode, include};
      check_gradients(describe(c), [&](const auto& in) { return avg_pool2d(in[0], o); }, {integers<double>(c.x, -9, 9)},
                      {.step = 1, .rtol = 1e-12, .atol = 1e-12});
    }
  }
}

namespace {
struct AdaptiveCase {
  Shape x;
  Extent2 size;
};
std::vector<AdaptiveCase> adaptive_cases() {
  return {{{2, 5, 7, 3}, 1},       {{1, 2, 3, 2}, 7},     {{2, 7, 5, 18}, {3, 2}}, {{1, 10, 9, 4}, 6}, {{1, 4, 4, 16}, 4},
          {{1, 9, 11, 1}, {2, 5}}, {{1, 16, 16, 300}, 1}, {{3, 1, 1, 5}, 2},       {{0, 3, 3, 2}, 2}};
}
}  // namespace

TEST_CASE_TEMPLATE("adaptive pools: each cell by definition", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const AdaptiveCase& c : adaptive_cases()) {
    INFO("adaptive pool of ", to_string(c.x), " to ", to_string(c.size));
    const auto x = integers<T, D>(c.x, -9, 9);
    const auto mean = adaptive_avg_pool2d(x, c.size);
    const auto [largest, indices] = adaptive_max_pool2d(x, c.size, true);
    REQUIRE(mean.shape() == Shape{c.x[0], c.size.h, c.size.w, c.x[3]});
    REQUIRE(largest.shape() == mean.shape());
    CHECK(equal(adaptive_max_pool2d(x, c.size).output, largest));
    const auto begin = [](index_t o, index_t in, index_t out) { return o * in / out; };
    const auto end = [](index_t o, index_t in, index_t out) { return ((o + 1) * in + out - 1) / out; };
    for (index_t n = 0; n < c.x[0]; ++n)
      for (index_t oh = 0; oh < c.size.h; ++oh)
        for (index_t ow = 0; ow < c.size.w; ++ow)
          for (index_t ch = 0; ch < c.x[3]; ++ch) {
            double sum = 0, count = 0;
            T best = -100;
            index_t place = -1;
            for (index_t h = begin(oh, c.x[1], c.size.h); h < end(oh, c.x[1], c.size.h); ++h)
              for (index_t w = begin(ow, c.x[2], c.size.w); w < end(ow, c.x[2], c.size.w); ++w) {
                const T value = x.at(n, h, w, ch);
                sum += static_cast<double>(value);
                count += 1;
                if (value > best) place = h * c.x[2] + w;
                best = std::max(best, value);
              }
            CHECK(static_cast<double>(mean.at(n, oh, ow, ch)) == doctest::Approx(sum / count).epsilon(1e-6));
            CHECK(largest.at(n, oh, ow, ch) == best);
            CHECK(indices.at(n, oh, ow, ch) == place);
          }
  }
}

TEST_CASE("adaptive pools: derivatives") {
  for (const AdaptiveCase& c : adaptive_cases()) {
    if (c.x.numel() == 0) continue;
    const std::string what = concat("adaptive pool of ", c.x, " to ", c.size);
    check_gradients(what, [&](const auto& in) { return adaptive_avg_pool2d(in[0], c.size); }, {integers<double>(c.x, -9, 9)},
                    {.step = 1, .rtol = 1e-12, .atol = 1e-12});
    check_gradients(what, [&](const auto& in) { return adaptive_max_pool2d(in[0], c.size).output; }, {distinct<double>(c.x)});
  }
}

TEST_CASE_TEMPLATE("max_unpool2d: puts maxima back where they were, zeros elsewhere; the transpose exactly", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const PoolCase& c : pool_cases()) {
    if (c.options.dilation == Extent2(3)) continue;
    INFO(describe(c));
    Pool2dOptions options = c.options;
    options.return_indices = true;
    const auto image = distinct<T, D>(c.x);
    const auto [pooled, indices] = max_pool2d(image, options);
    const auto y = max_unpool2d(pooled, indices, {c.x[1], c.x[2]});
    CHECK(y.shape() == c.x);
    auto expected = zeros<T, D>(c.x);
    const index_t plane = c.x[1] * c.x[2], C = c.x[3];
    for (index_t o = 0; o < pooled.numel(); ++o)
      expected.data()[(o / (pooled.numel() / c.x[0]) * plane + indices.data()[o]) * C + o % C] = pooled.data()[o];
    CHECK(equal(y, expected));

    const auto x = integers<T, D>(pooled.shape(), -9, 9);
    x.requires_grad();
    const auto back = max_unpool2d(x, indices, {c.x[1], c.x[2]});
    const auto dy = integers<T, D>(c.x, -9, 9);
    back.backward(dy);
    for (index_t o = 0; o < x.numel(); ++o)
      CHECK(x.grad().data()[o] == dy.data()[(o / (pooled.numel() / c.x[0]) * plane + indices.data()[o]) * C + o % C]);
  }
}

TEST_CASE("max_unpool2d: of several the last one stays, wherever they point, for any number of threads") {
  const auto x = normal<float>({2, 40, 3, 5});
  const auto indices = integers<std::int32_t>(x.shape(), 0, 50 * 7 - 1);
  auto expected = zeros<float>({2, 50, 7, 5});
  for (index_t o = 0; o < x.numel(); ++o) expected.data()[(o / 600 * 350 + indices.data()[o]) * 5 + o % 5] = x.data()[o];
  const int threads = num_threads();
  for (const int t : {1, 2, 7}) {
    set_num_threads(t);
    CHECK(equal(max_unpool2d(x, indices, {50, 7}), expected));
  }
  set_num_threads(threads);
}

TEST_CASE("unpooled_size: the smallest image that pools to that size") {
  for (const PoolCase& c : pool_cases()) {
    if (!(c.options.dilation == Extent2(1)) || c.options.ceil_mode || c.x.numel() == 0) continue;
    INFO(describe(c));
    const auto pooled = max_pool2d(zeros<float>(c.x), c.options).output;
    const Extent2 smallest = unpooled_size({pooled.dim(1), pooled.dim(2)}, c.options);
    CHECK(smallest.h <= c.x[1]);
    CHECK(smallest.w <= c.x[2]);
    const auto again = max_pool2d(zeros<float>({1, smallest.h, smallest.w, 1}), c.options).output;
    CHECK(again.shape() == Shape{1, pooled.dim(1), pooled.dim(2), 1});
  }
}

TEST_CASE("pooling: wrong arguments are named") {
  const auto x = zeros<float>({1, 6, 8, 3});
  CHECK_THROWS_WITH_AS((void)max_pool2d(zeros<float>({6, 8, 3})), "segnet::max_pool2d: argument 'x': expected [N, H, W, C], got [6, 8, 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(x, {.kernel = {7, 2}}),
                       doctest::Contains("'x': expected an image of at least the window's extent 7 when padded by 0, got [1, 6, 8, 3]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(zeros<float>({1, 0, 8, 3}), {.kernel = 2, .padding = 1}), doctest::Contains("'x'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(x, {.kernel = 3, .padding = 2}),
                       doctest::Contains("'padding': expected between 0 and half of the window's extent 3, got 2"), ValueError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(x, {.kernel = 0}), doctest::Contains("'kernel': expected at least 1, got 0"), ValueError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(x, {.stride = -1}), doctest::Contains("'stride'"), ValueError);
  CHECK_THROWS_WITH_AS((void)max_pool2d(x, {.dilation = 0}), doctest::Contains("'dilation'"), ValueError);
  CHECK_THROWS_WITH_AS((void)avg_pool2d(x, {.divisor_override = -1}), doctest::Contains("avg_pool2d: argument 'divisor_override'"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)avg_pool2d(x, {.kernel = 9}), doctest::Contains("avg_pool2d: argument 'x'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)adaptive_avg_pool2d(x, {0, 1}), doctest::Contains("'output_size': expected at least 1x1, got 0x1"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)adaptive_max_pool2d(zeros<float>({1, 0, 2, 3}), 1), doctest::Contains("adaptive_max_pool2d: argument 'x'"),
                       ShapeError);

  const auto indices = full<std::int32_t>({1, 3, 4, 3}, 47);
  const auto y = zeros<float>({1, 3, 4, 3});
  CHECK_NOTHROW((void)max_unpool2d(y, indices, {6, 8}));
  CHECK_THROWS_WITH_AS((void)max_unpool2d(y, indices, {5, 8}), doctest::Contains("'indices': expected positions in a plane of 5x8"),
                       ValueError);
  CHECK_THROWS_AS((void)max_unpool2d(y, full<std::int32_t>({1, 3, 4, 3}, -1), {6, 8}), ValueError);
  CHECK_THROWS_WITH_AS((void)max_unpool2d(y, {}, {6, 8}), doctest::Contains("return_indices = true"), ShapeError);
  CHECK_THROWS_WITH_AS((void)max_unpool2d(y, indices, {0, 8}), doctest::Contains("'output_size'"), ValueError);
}
