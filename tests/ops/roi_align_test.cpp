#include "segnet/ops/roi_align.hpp"

#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/box_loss.hpp"
#include "segnet/ops/reduction.hpp"
#include "segnet/ops/slice.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// K regions of images of side 64: inside, across borders, outside, thinner than a pixel.
Tensor<double> some_rois(index_t K, index_t images) {
  Tensor<double> rois({K, 5});
  for (index_t k = 0; k < K; ++k) {
    double* r = rois.data() + 5 * k;
    const double x = testing::random().uniform(-20, 70), y = testing::random().uniform(-20, 70), size = k % 4 == 0 ? 0.1 : 60;
    r[0] = static_cast<double>(testing::random().below(images));
    r[1] = x, r[2] = y, r[3] = x + testing::random().uniform(0, size), r[4] = y + testing::random().uniform(0, size);
  }
  return rois;
}

/// x at a place between pixels of image n, clamped as the paper's code does; see the contract of roi_align.
double sample(const Tensor<double>& x, index_t n, double h, double w, index_t c) {
  const double H = static_cast<double>(x.dim(1)), W = static_cast<double>(x.dim(2));
  if (h < -1 || h > H || w < -1 || w > W) return 0;
  h = std::clamp(h, 0.0, H - 1), w = std::clamp(w, 0.0, W - 1);
  const double t = h - std::floor(h), u = w - std::floor(w);
  const auto at = [&](double i, double j) {
    return x.at(n, static_cast<index_t>(std::min(i, H - 1)), static_cast<index_t>(std::min(j, W - 1)), c);
  };
  return (1 - t) * ((1 - u) * at(std::floor(h), std::floor(w)) + u * at(std::floor(h), std::floor(w) + 1)) +
         t * ((1 - u) * at(std::floor(h) + 1, std::floor(w)) + u * at(std::floor(h) + 1, std::floor(w) + 1));
}

Tensor<double> by_definition(const Tensor<double>& x, const Tensor<double>& rois, const RoiAlignOptions& o) {
  const auto y = zeros<double>({rois.dim(0), o.output_size.h, o.output_size.w, x.dim(3)});
  const double shift = o.aligned ? 0.5 : 0;
  for (index_t k = 0; k < rois.dim(0); ++k) {
    const double* r = rois.data() + 5 * k;
    const double x1 = r[1] * o.spatial_scale - shift, y1 = r[2] * o.spatial_scale - shift;
    double w = (r[3] - r[1]) * o.spatial_scale, h = (r[4] - r[2]) * o.spatial_scale;
    if (!o.aligned) w = std::max(w, 1.0), h = std::max(h, 1.0);
    const double cw = w / static_cast<double>(o.output_size.w), ch = h / static_cast<double>(o.output_size.h);
    const double ratio = static_cast<double>(o.sampling_ratio), gw = ratio > 0 ? ratio : std::ceil(cw),
                 gh = ratio > 0 ? ratio : std::ceil(ch);
    for (index_t i = 0; i < y.dim(1); ++i)
      for (index_t j = 0; j < y.dim(2); ++j)
        for (index_t c = 0; c < y.dim(3); ++c) {
          double sum = 0;
          for (double a = 0.5; a < gh; ++a)
            for (double b = 0.5; b < gw; ++b)
              sum += sample(x, static_cast<index_t>(r[0]), y1 + (static_cast<double>(i) + a / gh) * ch,
                            x1 + (static_cast<double>(j) + b / gw) * cw, c);
          y.at(k, i, j, c) = sum / std::max(gh * gw, 1.0);
        }
  }
  return y;
}

}  // namespace

TEST_CASE("roi_align: by definition, and its transpose") {
  for (const Extent2 size : {Extent2(1), Extent2(2, 3), Extent2(7)})
    for (const index_t ratio : {0, 1, 2})
      for (const bool aligned : {false, true})
        for (const index_t C : {1, 19}) {
          const RoiAlignOptions options{.output_size = size, .spatial_scale = 0.25, .sampling_ratio = ratio, .aligned = aligned};
          INFO(size.h, "x", size.w, " ratio ", ratio, " aligned ", aligned, " channels ", C);
          const auto rois = some_rois(6, 2);
          const auto x = normal<double>({2, 9, 16, C}).requires_grad();
          const auto y = roi_align(x, rois, options);
          CHECK(max_difference(y, by_definition(x, rois, options)) < 1e-12);
          const auto dy = normal<double>(y.shape());
          y.backward(dy);
          CHECK(dot(x, x.grad()) == doctest::Approx(dot(y, dy)).epsilon(1e-12));
          CHECK(max_difference(roi_align(cast<float>(x.detach()), rois, options), y) < 1e-5);
        }
}

TEST_CASE("roi_align, roi_pool: f[y][x] = 10 y + x, worked out by hand") {
  Tensor<double> x({1, 8, 8, 1});
  for (index_t i = 0; i < 64; ++i) x.data()[i] = static_cast<double>(i / 8 * 10 + i % 8);
  const Tensor<float> roi({1, 5}, {0, 6, 4, 22, 20});
  const auto all = [](const Tensor<double>& y) { return y.to_vector(); };
  CHECK(all(roi_align(x, roi, {.output_size = 2, .spatial_scale = 0.25, .sampling_ratio = 2})) == std::vector{22.5, 24.5, 42.5, 44.5});
  CHECK(all(roi_align(x, roi, {.output_size = 2, .spatial_scale = 0.25, .aligned = true})) == std::vector{17.0, 19.0, 37.0, 39.0});
  CHECK(all(roi_pool(x, roi, 2, 0.25)) == std::vector{34.0, 36.0, 54.0, 56.0});
}

TEST_CASE("roi_pool: the largest of each cell, whose gradient goes where it came from") {
  const auto rois = some_rois(9, 2);
  const auto x = distinct<double>({2, 9, 16, 5});
  x.requires_grad();
  const auto y = roi_pool(x, rois, {3, 4}, 0.25);
  for (index_t k = 0; k < 9; ++k) {
    const double* r = rois.data() + 5 * k;
    const auto pixel = [](double v) { return static_cast<index_t>(std::round(v * 0.25)); };
    const index_t x1 = pixel(r[1]), y1 = pixel(r[2]), w = std::max<index_t>(pixel(r[3]) - x1 + 1, 1),
                  h = std::max<index_t>(pixel(r[4]) - y1 + 1, 1);
    for (index_t i = 0; i < 3; ++i)
      for (index_t j = 0; j < 4; ++j)
        for (index_t c = 0; c < 5; ++c) {
          double best = -1e9;
          for (index_t p = y1 + i * h / 3; p < y1 + ((i + 1) * h + 2) / 3; ++p)
            for (index_t q = x1 + j * w / 4; q < x1 + ((j + 1) * w + 3) / 4; ++q)
              if (p >= 0 && p < 9 && q >= 0 && q < 16) best = std::max(best, x.at(static_cast<index_t>(r[0]), p, q, c));
          REQUIRE(y.at(k, i, j, c) == (best == -1e9 ? 0 : best));
        }
  }
  const auto dy = integers<double>(y.shape(), -3, 3);
  y.backward(dy);
  CHECK(dot(x, x.grad()) == dot(y, dy));  // multiples of 1/32: exact
}

TEST_CASE("roi_align, roi_pool: no regions, regions outside, endless ones, NaN features, the same bits on several threads") {
  const auto x = normal<float>({2, 6, 7, 3}).requires_grad();
  const Tensor<float> none({0, 5}), far({3, 5}, {0, 900, 900, 950, 990, 1, -1e9F, -1e9F, 1e9F, 1e9F, 0, 5, 5, 2, 2});
  for (const bool align : {true, false}) {
    const auto of = [&](const Tensor<float>& rois) {
      return align ? roi_align(x, rois, {.output_size = 2, .aligned = true}) : roi_pool(x, rois, 2);
    };
    x.zero_grad();
    CHECK(of(none).shape() == Shape{0, 2, 2, 3});
    sum(of(none)).backward();
    CHECK(equal(x.grad(), zeros<float>(x.shape())));
    const auto y = of(far);
    CHECK(equal(narrow(y, 0, 0, 1), zeros<float>({1, 2, 2, 3})));
    if (align) CHECK(equal(narrow(y, 0, 2, 1), zeros<float>({1, 2, 2, 3})));  // turned over: empty
  }
  const auto nan = full<float>({1, 4, 4, 1}, NAN);
  CHECK(std::isnan(roi_pool(nan, Tensor<float>({1, 5}, {0, 0, 0, 3, 3}), 1).item()));
  CHECK(std::isnan(roi_align(nan, Tensor<float>({1, 5}, {0, 0, 0, 3, 3}), {.output_size = 1}).item()));

  const auto rois = some_rois(40, 2);
  const auto run = [&](int count) {
    set_num_threads(count);
    x.zero_grad();
    const auto y = roi_align(x, rois, {.spatial_scale = 0.1}) + roi_pool(x, rois, 7, 0.1);
    y.backward(y.detach());
    return std::vector{y.detach(), x.grad()};
  };
  const int threads = num_threads();
  const auto expected = run(1), got = run(3);
  set_num_threads(threads);
  CHECK(equal(got[0], expected[0]));
  CHECK(equal(got[1], expected[1]));
}

TEST_CASE("roi_align, roi_pool: wrong arguments are named") {
  const auto x = zeros<float>({2, 4, 4, 3});
  const auto rois = [](float image, float x1 = 0) { return Tensor<float>({1, 5}, {image, x1, 0, 2, 2}); };
  CHECK_THROWS_WITH_AS(roi_align(zeros<float>({4, 4, 3}), rois(0)),
                       "segnet::roi_align: argument 'x': expected [N, H, W, C] with at least one pixel, got [4, 4, 3]", ShapeError);
  CHECK_THROWS_WITH_AS(roi_align(x, zeros<float>({2, 4})), doctest::Contains("'rois': expected [K, 5]: image, x1, y1, x2, y2, got [2, 4]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(roi_pool(x, rois(2), 7), "segnet::roi_pool: argument 'rois': expected images in [0, 2), got 2 in roi 0", ValueError);
  CHECK_THROWS_WITH_AS(roi_align(x, rois(0.5)), doctest::Contains("images in [0, 2), got 0.5 in roi 0"), ValueError);
  CHECK_THROWS_WITH_AS(roi_align(x, rois(0, NAN)), doctest::Contains("expected finite numbers, got nan in roi 0"), ValueError);
  CHECK_THROWS_WITH_AS(roi_align(x, rois(0), {.output_size = 0}), doctest::Contains("'output_size': expected at least 1x1, got 0x0"),
                       ValueError);
  CHECK_THROWS_WITH_AS(roi_pool(x, rois(0), 2, -1), doctest::Contains("'spatial_scale': expected a positive number, got -1"), ValueError);
}

TEST_CASE("box_loss: values, gradients, no boxes, wrong shapes") {
  const Tensor<double> a({2, 4}, {0, 0, 2, 2, 0, 0, 1, 1}), b({2, 4}, {1, 1, 3, 3, 2, 2, 3, 3});
  const auto giou = box_loss(BoxLoss::giou, a, b, Reduction::none);
  CHECK(giou.at(0) == doctest::Approx(1.0793650).epsilon(1e-6));
  CHECK(giou.at(1) == doctest::Approx(1.7777778).epsilon(1e-6));
  for (const BoxLoss kind : {BoxLoss::giou, BoxLoss::diou, BoxLoss::ciou}) {
    CHECK(box_loss(kind, a, a).item() == doctest::Approx(0).epsilon(1e-6));
    const auto none = zeros<double>({0, 4}).requires_grad();
    const auto loss = box_loss(kind, none, none);
    CHECK(loss.item() == 0);
    loss.backward();
    CHECK(none.grad().shape() == Shape{0, 4});
    if (kind == BoxLoss::ciou) continue;  // a factor of its gradient is held constant; the reference data have it
    const auto boxes = [&](double side) {
      Tensor<double> t = distinct<double>({6, 4});
      for (index_t i = 0; i < 24; ++i) t.data()[i] = t.data()[i] / 4 + (i % 4 >= 2 ? side : 0);
      return t;
    };
    for (const Reduction r : {Reduction::none, Reduction::mean})
      check_gradients("box_loss", [&](const auto& x) { return box_loss(kind, x[0], x[1], r); }, {boxes(1.0), boxes(1.26)});
  }
  CHECK_THROWS_WITH_AS(box_loss(BoxLoss::giou, a, zeros<double>({3, 4})),
                       "segnet::box_loss: argument 'target': expected [2, 4] like the boxes, got [3, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(box_loss(BoxLoss::giou, zeros<double>({4}), a), doctest::Contains("'boxes': expected [N, 4]"), ShapeError);
}
