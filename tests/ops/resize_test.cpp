#include "segnet/ops/resize.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct ResizeCase {
  Shape x;
  InterpolateOptions options;
};

std::string describe(const ResizeCase& c) {
  const InterpolateOptions& o = c.options;
  return concat("interpolate ", c.x, ", {.size = ", o.size, ", .scale_factor = {", o.scale_factor.h, ", ", o.scale_factor.w,
                "}, .mode = ", to_string(o.mode), ", .align_corners = ", o.align_corners,
                ", .recompute_scale_factor = ", o.recompute_scale_factor, "}");
}

constexpr InterpolateMode modes[] = {InterpolateMode::nearest, InterpolateMode::nearest_exact, InterpolateMode::bilinear,
                                     InterpolateMode::bicubic};

std::vector<ResizeCase> resize_cases() {
  std::vector<ResizeCase> cases;
  for (const InterpolateMode mode : modes)
    for (const bool align_corners : {false, true}) {
      if (align_corners && (mode == InterpolateMode::nearest || mode == InterpolateMode::nearest_exact)) continue;
      const auto add = [&](const Shape& x, Extent2 size, Scale2 scale, bool recompute = false) {
        cases.push_back({x, {size, scale, mode, align_corners, recompute}});
      };
      add({2, 3, 4, 16}, 0, 2);
      add({1, 4, 5, 3}, {7, 11}, {});
      add({1, 9, 10, 21}, {4, 3}, {});
      add({1, 5, 6, 2}, 0, 1.7);
      add({1, 5, 6, 2}, 0, 1.7, true);
      add({2, 1, 1, 5}, {3, 4}, {});
      add({1, 4, 5, 1}, 1, {});
      add({1, 4, 6, 17}, 0, {3.0, 0.5});
      add({1, 3, 3, 40}, 3, {});
      add({0, 3, 3, 4}, 0, 2);
      add({2, 5, 3}, {1, 8}, {});
      add({1, 2, 700, 33}, {3, 701}, {});
    }
  return cases;
}

/// Weight of input i for output o along an axis, from the formulas of PyTorch's documentation.
double weight_of(index_t i, index_t o, index_t in, index_t out, double factor, const InterpolateOptions& c) {
  const double step = factor != 0 && !c.recompute_scale_factor ? 1 / factor : static_cast<double>(in) / static_cast<double>(out);
  const double at = static_cast<double>(o);
  const auto nearest = [&](double source) { return std::min(static_cast<index_t>(source), in - 1) == i ? 1.0 : 0.0; };
  if (c.mode == InterpolateMode::nearest) return nearest(std::floor(static_cast<float>(at) * static_cast<float>(step)));
  if (c.mode == InterpolateMode::nearest_exact) return nearest(std::floor((at + 0.5) * step));
  const double source = !c.align_corners ? (at + 0.5) * step - 0.5
                        : out > 1        ? at * static_cast<double>(in - 1) / static_cast<double>(out - 1)
                                         : 0;
  const auto clamped = [&](double p) { return std::clamp(static_cast<index_t>(p), index_t{0}, in - 1) == i ? 1.0 : 0.0; };
  if (c.mode == InterpolateMode::bilinear) {
    const double s = std::max(source, 0.0), f = std::floor(s);
    return (1 - (s - f)) * clamped(f) + (s - f) * clamped(f + 1);
  }
  const double f = std::floor(source);
  double sum = 0;
  for (int k = -1; k <= 2; ++k) {
    const double d = std::abs(source - (f + k)), A = -0.75;
    const double w = d <= 1 ? (A + 2) * d * d * d - (A + 3) * d * d + 1 : A * d * d * d - 5 * A * d * d + 8 * A * d - 4 * A;
    sum += w * clamped(f + k);
  }
  return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("interpolate: by definition, forward and transposed", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const ResizeCase& c : resize_cases()) {
    INFO(describe(c));
    const bool image = c.x.rank() == 4;
    const auto x = integers<T, D>(c.x, -9, 9);
    x.requires_grad();
    const auto y = interpolate(x, c.options);
    const index_t N = c.x[0], H = image ? c.x[1] : 1, W = c.x[-2], C = c.x[-1], OH = image ? y.dim(1) : 1, OW = y.dim(-2);
    if (c.options.size.w) CHECK(OW == c.options.size.w);
    else CHECK(OW == static_cast<index_t>(std::floor(static_cast<double>(W) * c.options.scale_factor.w)));
    const auto weight = [&](index_t h, index_t w, index_t oh, index_t ow) {
      const double row = image ? weight_of(h, oh, H, OH, c.options.scale_factor.h, c.options) : 1;
      return row == 0 ? 0 : row * weight_of(w, ow, W, OW, c.options.scale_factor.w, c.options);
    };
    const auto expected = zeros<double>(y.shape()), dx = zeros<double>(c.x);
    const auto dy = integers<T, D>(y.shape(), -9, 9);
    for (index_t oh = 0; oh < OH; ++oh)
      for (index_t ow = 0; ow < OW; ++ow)
        for (index_t h = 0; h < H; ++h)
          for (index_t w = 0; w < W; ++w)
            if (const double a = weight(h, w, oh, ow); a != 0)
              for (index_t n = 0; n < N; ++n)
                for (index_t ch = 0; ch < C; ++ch) {
                  const index_t i = ((n * H + h) * W + w) * C + ch, o = ((n * OH + oh) * OW + ow) * C + ch;
                  expected.data()[o] += a * static_cast<double>(x.data()[i]);
                  dx.data()[i] += a * static_cast<double>(dy.data()[o]);
                }
    const double tolerance = std::is_same_v<T, float> ? 5e-5 : 1e-11;
    CHECK(max_difference(y, expected) <= tolerance);
    y.backward(dy);
    CHECK(max_difference(x.grad(), dx) <= tolerance);
  }
}

TEST_CASE("interpolate: derivative, by differences of integers") {
  for (const ResizeCase& c : resize_cases()) {
    if (c.x.numel() == 0) continue;
    check_gradients(describe(c), [&](const auto& in) { return interpolate(in[0], c.options); }, {integers<double>(c.x, -9, 9)},
                    {.step = 1, .rtol = 1e-10, .atol = 1e-10, .max_elements = 24});
  }
}

TEST_CASE_TEMPLATE("interpolate: bilinear by powers of two is exact, and its transpose too", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  using D = typename Where::device;
  for (const double factor : {2.0, 4.0, 8.0, 0.5}) {
    const auto x = integers<T, D>({2, 8, 6, 19}, -9, 9);
    x.requires_grad();
    const auto y = interpolate(x, {.scale_factor = factor, .mode = InterpolateMode::bilinear});
    const auto dy = integers<T, D>(y.shape(), -9, 9);
    y.backward(dy);
    CHECK(dot(y, dy) == dot(x, x.grad()));
  }
}

TEST_CASE("interpolate: constants stay constant, corners meet, the same size is the same image") {
  for (const InterpolateMode mode : modes) {
    const auto y = resize(full<double>({1, 5, 7, 3}, 2.5), {9, 4}, mode);
    CHECK(max_difference(y, full<double>({1, 9, 4, 3}, 2.5)) < 1e-14);
    const auto x = normal<double>({2, 5, 7, 3});
    CHECK(equal(resize(x, {5, 7}, mode), x));
  }
  const auto x = normal<double>({1, 4, 5, 2}), y = resize(x, {11, 13}, InterpolateMode::bilinear, true);
  for (index_t c = 0; c < 2; ++c) {
    CHECK(y.at(0, 0, 0, c) == x.at(0, 0, 0, c));
    CHECK(y.at(0, 0, 12, c) == x.at(0, 0, 4, c));
    CHECK(y.at(0, 10, 0, c) == doctest::Approx(x.at(0, 3, 0, c)));
    CHECK(y.at(0, 10, 12, c) == doctest::Approx(x.at(0, 3, 4, c)));
  }
}

TEST_CASE("interpolate: the same bits for any number of threads") {
  const auto x = normal<float>({2, 33, 65, 19});
  x.requires_grad();
  const auto run = [&] {
    x.zero_grad();
    const auto y = resize(x, {100, 131}, InterpolateMode::bicubic);
    y.backward(y.detach());
    return std::vector{y.detach(), x.grad()};
  };
  const int threads = num_threads();
  set_num_threads(1);
  const auto expected = run();
  for (const int t : {2, 5}) {
    set_num_threads(t);
    const auto got = run();
    CHECK(equal(got[0], expected[0]));
    CHECK(equal(got[1], expected[1]));
  }
  set_num_threads(threads);
}

TEST_CASE("interpolate: wrong arguments are named") {
  const auto x = zeros<float>({1, 4, 5, 2});
  CHECK_THROWS_WITH_AS((void)interpolate(zeros<float>({4, 5}), {.size = 2}),
                       "segnet::interpolate: argument 'x': expected [N, H, W, C] or [N, L, C], got [4, 5]", ShapeError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {}), doctest::Contains("'size, scale_factor': expected exactly one of them, got neither"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.size = 2, .scale_factor = 2}), doctest::Contains("got both"), ValueError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.size = {-1, 2}}), doctest::Contains("'size': expected a positive number, got -1"),
                       ValueError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.scale_factor = -2}), doctest::Contains("'scale_factor'"), ValueError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.scale_factor = std::nan("")}), doctest::Contains("'scale_factor'"), ValueError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.scale_factor = 0.1}), doctest::Contains("not 5 -> 0"), ShapeError);
  CHECK_THROWS_WITH_AS((void)resize(zeros<float>({1, 0, 5, 2}), {2, 2}), doctest::Contains("'x'"), ShapeError);
  CHECK_THROWS_WITH_AS((void)interpolate(x, {.size = 2, .align_corners = true}),
                       doctest::Contains("'align_corners': expected false with mode nearest, got true"), ValueError);
}
