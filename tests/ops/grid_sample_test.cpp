#include "segnet/ops/grid_sample.hpp"

#include <array>

#include "segnet/ops/flip.hpp"
#include "segnet/ops/ms_deform_attn.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

std::vector<GridSampleOptions> all_options() {
  std::vector<GridSampleOptions> all;
  for (const auto mode : {GridSampleMode::bilinear, GridSampleMode::nearest, GridSampleMode::bicubic})
    for (const auto padding : {GridPadding::zeros, GridPadding::border, GridPadding::reflection})
      for (const bool align_corners : {false, true}) all.push_back({mode, padding, align_corners});
  return all;
}

std::string describe(const GridSampleOptions& o) {
  return concat("{.mode = ", to_string(o.mode), ", .padding = ", to_string(o.padding), ", .align_corners = ", o.align_corners, "}");
}

/// Points in pixels, up to `beyond` outside an image [H, W] on each side, none within 1/16 of where a mode has a kink.
std::vector<std::array<double, 2>> places(index_t n, index_t H, index_t W, index_t beyond) {
  std::vector<std::array<double, 2>> all;
  const auto one = [&](index_t size) {
    const double fractions[] = {-0.4375, -0.25, -0.125, 0.125, 0.25, 0.4375};
    return static_cast<double>(testing::random().below(size + 2 * beyond) - beyond) + fractions[testing::random().below(6)];
  };
  for (index_t i = 0; i < n; ++i) all.push_back({one(H), one(W)});
  return all;
}

/// The grid whose points are these places (y, x), exact where sizes are powers of two.
template <class T>
Tensor<T> grid_of(const std::vector<std::array<double, 2>>& at, const Shape& shape, index_t H, index_t W, bool align_corners) {
  const auto coordinate = [&](double p, index_t size) {
    const double n = static_cast<double>(size);
    return static_cast<T>(align_corners ? (size > 1 ? 2 * p / (n - 1) - 1 : p) : (2 * p + 1) / n - 1);
  };
  Tensor<T> grid(shape);
  for (std::size_t i = 0; i < at.size(); ++i) {
    grid.data()[2 * i] = coordinate(at[i][1], W);
    grid.data()[2 * i + 1] = coordinate(at[i][0], H);
  }
  return grid;
}

/// The pixel of an axis that stands at i in the image continued without end; -1: none.
index_t continued(index_t i, index_t size, const GridSampleOptions& o) {
  if (o.padding == GridPadding::zeros) return i >= 0 && i < size ? i : -1;
  if (o.padding == GridPadding::border || size == 1) return std::clamp<index_t>(i, 0, size - 1);
  while (i < 0 || i >= size) i = o.align_corners ? (i < 0 ? -i : 2 * (size - 1) - i) : (i < 0 ? -1 - i : 2 * size - 1 - i);
  return i;
}

/// Weight of the pixel d away.
double kernel(GridSampleMode mode, double d) {
  d = std::abs(d);
  if (mode == GridSampleMode::nearest) return d < 0.5;
  if (mode == GridSampleMode::bilinear) return std::max(0.0, 1 - d);
  constexpr double A = -0.75;
  return d <= 1 ? (A + 2) * d * d * d - (A + 3) * d * d + 1 : d < 2 ? A * d * d * d - 5 * A * d * d + 8 * A * d - 4 * A : 0;
}

}  // namespace

TEST_CASE_TEMPLATE("grid_sample: interpolation of the image, continued without end", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const GridSampleOptions& o : all_options())
    for (const auto& [H, W, C] : {std::array<index_t, 3>{5, 6, 3}, {3, 8, 17}, {1, 4, 2}}) {
      INFO(describe(o), " ", H, " x ", W);
      if (o.align_corners && H == 1) continue;  // its grid has no places
      const auto x = integers<T>({2, H, W, C}, -9, 9);
      const auto at = places(2 * 4 * 5, H, W, 7);
      const auto y = grid_sample(x, grid_of<T>(at, {2, 4, 5, 2}, H, W, o.align_corners), o);
      Tensor<double> expected(y.shape());
      for (index_t i = 0; i < 40; ++i)
        for (index_t c = 0; c < C; ++c) {
          const auto [row, column] = at[static_cast<std::size_t>(i)];
          const auto top = static_cast<index_t>(std::floor(row)), left = static_cast<index_t>(std::floor(column));
          double sum = 0;
          for (index_t h = top - 1; h <= top + 2; ++h)
            for (index_t w = left - 1; w <= left + 2; ++w) {
              const index_t from_h = continued(h, H, o), from_w = continued(w, W, o);
              if (from_h >= 0 && from_w >= 0)
                sum += kernel(o.mode, static_cast<double>(h) - row) * kernel(o.mode, static_cast<double>(w) - column) *
                       static_cast<double>(x.at(i / 20, from_h, from_w, c));
            }
          expected.data()[i * C + c] = sum;
        }
      CHECK(max_difference(y, expected) <= (std::is_same_v<T, float> ? 1e-4 : 1e-12));
    }
}

TEST_CASE("grid_sample: gradients, to the image and to the grid") {
  for (const GridSampleOptions& o : all_options())
    check_gradients(describe(o), [&](const auto& in) { return grid_sample(in[0], in[1], o); },
                    {normal<double>({2, 4, 5, 3}), grid_of<double>(places(24, 4, 5, 4), {2, 3, 4, 2}, 4, 5, o.align_corners)},
                    {.max_elements = 24});
}

TEST_CASE_TEMPLATE("grid_sample: both passes are exact transposes, with the same bits for any number of threads", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const int threads = num_threads();
  for (const GridSampleOptions& o : all_options()) {
    if (o.align_corners || o.mode == GridSampleMode::bicubic) continue;  // whose weights are no short fractions
    for (const auto& [N, C] : {std::array<index_t, 2>{1, 1}, {1, 3}, {2, 16}, {1, 70}}) {
      INFO(describe(o), " N ", N, " C ", C);
      const auto grid = grid_of<T>(places(N * 60, 4, 8, 3), {N, 6, 10, 2}, 4, 8, false);
      const auto x = integers<T>({N, 4, 8, C}, -3, 3), dy = integers<T>({N, 6, 10, C}, -3, 3);
      x.requires_grad();
      std::vector<Tensor<T>> dx;
      for (const int t : {1, 2, 5}) {
        set_num_threads(t);
        const auto y = grid_sample(x, grid, o);
        y.backward(dy);
        CHECK(dot(y, dy) == dot(x, x.grad()));
        dx.push_back(x.grad());
        x.zero_grad();
      }
      CHECK(equal(dx[1], dx[0]));
      CHECK(equal(dx[2], dx[0]));
    }
  }
  const auto x = normal<T>({1, 9, 7, 5}), grid = random_normal<T>({1, 30, 40, 2}, testing::random(), 0, 0.5);
  x.requires_grad(), grid.requires_grad();
  std::vector<Tensor<T>> runs;
  for (const int t : {1, 3}) {
    set_num_threads(t);
    x.zero_grad(), grid.zero_grad();
    const auto y = grid_sample(x, grid, {.mode = GridSampleMode::bicubic, .padding = GridPadding::border});
    y.backward(y.detach());
    for (const auto& result : {y.detach(), x.grad(), grid.grad()}) runs.push_back(result);
  }
  for (std::size_t i = 0; i < 3; ++i) CHECK(equal(runs[i + 3], runs[i]));
  set_num_threads(threads);
}

TEST_CASE("grid_sample: the right-hand gradient at pixels, none where border holds a point") {
  const Tensor<double> x({1, 1, 4, 1}, {1, 2, 4, 8});
  const auto slope = [&](double at, GridPadding padding) {
    const auto grid = grid_of<double>({{0, at}}, {1, 1, 1, 2}, 1, 4, false);
    grid.requires_grad();
    grid_sample(x, grid, {.padding = padding}).backward(ones<double>({1, 1, 1, 1}));
    return grid.grad().data()[0] / 2;  // per pixel
  };
  CHECK(slope(1, GridPadding::zeros) == 2);
  CHECK(slope(2, GridPadding::zeros) == 4);
  CHECK(slope(3, GridPadding::zeros) == -8);
  CHECK(slope(-1, GridPadding::zeros) == 0);
  CHECK(slope(-0.5, GridPadding::zeros) == 1);
  CHECK(slope(0, GridPadding::border) == 0);
  CHECK(slope(3, GridPadding::border) == 0);
  CHECK(slope(-0.5, GridPadding::border) == 0);
  CHECK(slope(0.5, GridPadding::border) == 1);
  CHECK(slope(-1.5, GridPadding::reflection) == -1);  // at 0.5, going back
  CHECK(slope(4.5, GridPadding::reflection) == -4);
}

TEST_CASE("grid_sample: coordinates that are not finite, and nothing at all") {
  const auto x = ones<float>({1, 2, 2, 1});
  const float inf = INFINITY, coordinates[] = {NAN, inf, -inf, 1e30f, -1e30f};
  for (const GridSampleOptions& o : all_options())
    for (const float bad : coordinates) {
      INFO(describe(o), " ", bad);
      const Tensor<float> grid({1, 1, 1, 2}, {bad, 0});
      x.requires_grad(), grid.requires_grad();
      const auto y = grid_sample(x, grid, o);
      y.backward(ones<float>(y.shape()));
      if (o.padding == GridPadding::zeros) CHECK(y.item() == 0);
      else if (std::abs(bad) < inf || o.mode != GridSampleMode::bicubic) CHECK(y.item() == doctest::Approx(1));
      CHECK(std::isfinite(y.item()));
      CHECK(std::isfinite(grid.grad().data()[0]));
    }
  CHECK(grid_sample(ones<float>({0, 2, 2, 3}), zeros<float>({0, 4, 5, 2})).shape() == Shape{0, 4, 5, 3});
  const auto none = ones<float>({1, 2, 2, 3});
  none.requires_grad();
  grid_sample(none, zeros<float>({1, 0, 5, 2})).backward(zeros<float>({1, 0, 5, 3}));
  CHECK(equal(none.grad(), zeros<float>({1, 2, 2, 3})));
}

TEST_CASE("affine_grid: the identity, a mirror and a shift, and its gradient") {
  const auto x = normal<double>({2, 4, 6, 3});
  for (const bool align_corners : {false, true}) {
    const auto warp = [&](std::initializer_list<double> theta) {
      const Tensor<double> one({1, 2, 3}, theta), grid = affine_grid(one, {4, 6}, align_corners);
      Tensor<double> both({2, 4, 6, 2});
      for (index_t i = 0; i < both.numel(); ++i) both.data()[i] = grid.data()[i % grid.numel()];
      return grid_sample(x, both, {.align_corners = align_corners});
    };
    CHECK(max_difference(warp({1, 0, 0, 0, 1, 0}), x) < 1e-14);
    CHECK(max_difference(warp({-1, 0, 0, 0, 1, 0}), flip(x, {2})) < 1e-14);
    const auto right = warp({1, 0, align_corners ? 2. / 5 : 2. / 6, 0, 1, 0});  // a pixel from the right
    for (index_t w = 0; w < 6; ++w) CHECK(right.at(1, 2, w, 1) == doctest::Approx(w < 5 ? x.at(1, 2, w + 1, 1) : 0));
    check_gradients("affine_grid", [&](const auto& in) { return affine_grid(in[0], {3, 5}, align_corners); },
                    {integers<double>({2, 2, 3}, -3, 3)}, {.step = 1, .rtol = 1e-10, .atol = 1e-10});
  }
  const auto single = affine_grid(Tensor<float>({1, 2, 3}, {2, 3, 5, 7, 11, 13}), {1, 1}, true);
  CHECK(single.at(0, 0, 0, 0) == 5);
  CHECK(single.at(0, 0, 0, 1) == 13);
}

TEST_CASE("grid_sample, affine_grid: wrong arguments are named") {
  const auto x = zeros<float>({2, 4, 5, 3});
  CHECK_THROWS_WITH_AS((void)grid_sample(x, zeros<float>({1, 4, 5, 2})),
                       "segnet::grid_sample: argument 'grid': expected [2, h, w, 2], got [1, 4, 5, 2]", ShapeError);
  CHECK_THROWS_WITH_AS((void)grid_sample(x, zeros<float>({2, 4, 5, 3})), doctest::Contains("'grid'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)grid_sample(zeros<float>({2, 0, 5, 3}), zeros<float>({2, 4, 5, 2})),
                       "segnet::grid_sample: argument 'x': expected [N, H, W, C] with at least one pixel, got [2, 0, 5, 3]", ShapeError);
  CHECK_THROWS_WITH_AS((void)affine_grid(zeros<float>({2, 3, 3}), {4, 5}), doctest::Contains("'theta': expected [N, 2, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)affine_grid(zeros<float>({2, 2, 3}), {0, 5}), doctest::Contains("'size': expected at least 1"), ValueError);
}

namespace {

struct AttentionCase {
  index_t N, M, D, Lq, P;
  std::vector<Extent2> maps;
  [[nodiscard]] index_t pixels() const {
    index_t sum = 0;
    for (const Extent2 map : maps) sum += map.h * map.w;
    return sum;
  }
  [[nodiscard]] Shape attention() const { return {N, Lq, M, static_cast<index_t>(maps.size()), P}; }
};
std::vector<AttentionCase> attention_cases() {
  return {{2, 2, 3, 4, 2, {{4, 5}, {2, 3}}}, {1, 8, 32, 5, 4, {{8, 8}, {4, 4}, {2, 2}, {1, 1}}}, {1, 1, 17, 3, 1, {{3, 7}}}};
}

/// In [-1/4, 5/4], never within 1/64 of a kink of these maps.
template <class T>
Tensor<T> locations_of(const AttentionCase& c) {
  Tensor<T> t({c.N, c.Lq, c.M, static_cast<index_t>(c.maps.size()), c.P, 2});
  for (index_t i = 0; i < t.numel(); ++i) {
    const Extent2 map = c.maps[static_cast<std::size_t>(i / (2 * c.P) % static_cast<index_t>(c.maps.size()))];
    const auto size = static_cast<double>(i % 2 ? map.h : map.w);
    const index_t cell = testing::random().below(static_cast<index_t>(1.5 * size) + 1) - static_cast<index_t>(size / 4);
    t.data()[i] = static_cast<T>((static_cast<double>(cell) + (testing::random().below(2) ? 0.25 : 0.875)) / size);
  }
  return t;
}

}  // namespace

TEST_CASE("ms_deform_attn: what grid_sample reads, map by map and head by head") {
  for (const AttentionCase& c : attention_cases()) {
    const auto value = normal<double>({c.N, c.pixels(), c.M, c.D}), locations = locations_of<double>(c),
               attention = normal<double>(c.attention());
    const auto y = ms_deform_attn(value, c.maps, locations, attention);
    const auto expected = zeros<double>(y.shape());
    index_t first = 0;
    for (std::size_t l = 0; l < c.maps.size(); first += c.maps[l].h * c.maps[l].w, ++l)
      for (index_t m = 0; m < c.M; ++m) {
        const auto level = static_cast<index_t>(l);
        const auto map = reshape(narrow(narrow(value, 1, first, c.maps[l].h * c.maps[l].w), 2, m, 1), {c.N, c.maps[l].h, c.maps[l].w, c.D});
        const auto at = reshape(narrow(narrow(locations, 2, m, 1), 3, level, 1), {c.N, c.Lq, c.P, 2});
        const auto read = grid_sample(map, at * 2.0 - 1.0);
        for (index_t n = 0; n < c.N; ++n)
          for (index_t q = 0; q < c.Lq; ++q)
            for (index_t p = 0; p < c.P; ++p)
              for (index_t d = 0; d < c.D; ++d) expected.at(n, q, m * c.D + d) += attention.at(n, q, m, level, p) * read.at(n, q, p, d);
      }
    CHECK(max_difference(y, expected) < 1e-12);
  }
}

TEST_CASE("ms_deform_attn: gradients, and those of float") {
  for (const AttentionCase& c : attention_cases()) {
    const auto value = integers<double>({c.N, c.pixels(), c.M, c.D}, -4, 4), locations = locations_of<double>(c),
               attention = integers<double>(c.attention(), -4, 4);
    check_gradients("ms_deform_attn", [&](const auto& in) { return ms_deform_attn(in[0], c.maps, in[1], in[2]); },
                    {value.clone(), locations.clone(), attention.clone()}, {.max_elements = 24});
    const auto run = [&]<class T>(T) {
      const auto as = [](const Tensor<double>& t) {
        Tensor<T> u(t.shape());
        for (index_t i = 0; i < t.numel(); ++i) u.data()[i] = static_cast<T>(t.data()[i]);
        return u;
      };
      const Tensor<T> v = as(value), l = as(locations), a = as(attention);
      v.requires_grad(), l.requires_grad(), a.requires_grad();
      const auto y = ms_deform_attn(v, c.maps, l, a);
      y.backward(ones<T>(y.shape()));
      return std::vector{y.detach(), v.grad(), l.grad(), a.grad()};
    };
    const int threads = num_threads();
    const auto expected = run(0.0);
    const auto got = run(0.0f);
    set_num_threads(threads + 2);
    const auto on_more_threads = run(0.0f);
    set_num_threads(threads);
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(max_difference(got[i], expected[i]) < 2e-2);  // of sums of hundreds
      CHECK(equal(on_more_threads[i], got[i]));
    }
  }
}

TEST_CASE("ms_deform_attn: wrong arguments are named") {
  const auto value = zeros<float>({1, 20, 2, 4}), attention = zeros<float>({1, 3, 2, 1, 2}), locations = zeros<float>({1, 3, 2, 1, 2, 2});
  CHECK_NOTHROW((void)ms_deform_attn(value, {{4, 5}}, locations, attention));
  CHECK_THROWS_WITH_AS((void)ms_deform_attn(value, {}, locations, attention), doctest::Contains("'shapes': expected 1 to 8 maps, got 0"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)ms_deform_attn(value, {{4, 0}}, locations, attention), doctest::Contains("at least one pixel"), ValueError);
  CHECK_THROWS_WITH_AS((void)ms_deform_attn(value, {{4, 5}, {1, 1}}, locations, attention),
                       doctest::Contains("'attention': expected [N, Lq, M, 2, P]"), ShapeError);
  CHECK_THROWS_WITH_AS((void)ms_deform_attn(value, {{4, 4}}, locations, attention), doctest::Contains("'value': expected [1, 16, 2, D]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS((void)ms_deform_attn(value, {{4, 5}}, zeros<float>({1, 3, 2, 1, 2}), attention),
                       doctest::Contains("'locations': expected [1, 3, 2, 1, 2, 2]"), ShapeError);
}
