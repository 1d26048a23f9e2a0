#include "segnet/models/inference.hpp"

#include "segnet/models/window_scores.hpp"
#include "segnet/ops/concat.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using models::predict_probabilities;

namespace {
/// Logits that differ between an image and its mirror image: brightness, and how far to the right.
Tensor<float> lopsided(const Tensor<float>& x) {
  Tensor<float> y({x.dim(0), x.dim(1), x.dim(2), 2});
  for (index_t i = 0; i < x.numel(); ++i) {
    y.data()[2 * i] = x.data()[i];
    y.data()[2 * i + 1] = static_cast<float>(i % x.dim(2)) / static_cast<float>(x.dim(2));
  }
  return y;
}
}  // namespace

TEST_CASE("Probabilities averaged over scales: of each scale's prediction, resized") {
  const auto x = normal<float>({2, 6, 10, 1});
  const auto once = predict_probabilities(lopsided, x);
  CHECK(max_difference(once, predict_probabilities(lopsided, x, {.scales = {1}})) == 0);
  const auto half = resize(predict_probabilities(lopsided, resize(x, {3, 5})), {6, 10});
  const auto larger = resize(predict_probabilities(lopsided, resize(x, {9, 15})), {6, 10});
  const auto all = predict_probabilities(lopsided, x, {.scales = {0.5, 1, 1.5}});
  CHECK(max_difference(all, (half + once + larger) * (1 / 3.0f)) < 1e-6);
  CHECK(max_difference(predict_probabilities(lopsided, x, {.scales = {0.5}}), half) == 0);
  for (index_t i = 0; i < all.numel(); i += 2) CHECK(std::abs(all.data()[i] + all.data()[i + 1] - 1) < 1e-5f);
  // Nothing is left of the smallest scale but a pixel.
  CHECK(predict_probabilities(lopsided, x, {.scales = {0.01, 1}}).shape() == all.shape());
  CHECK_THROWS_WITH_AS((void)predict_probabilities(lopsided, x, {.scales = {}}), doctest::Contains("at least one"), ValueError);
  CHECK_THROWS_WITH_AS((void)predict_probabilities(lopsided, x, {.scales = {1, 0}}), doctest::Contains("positive"), ValueError);
}

TEST_CASE("Flips, scales and tiles together: mirrored images get mirrored probabilities, each pixel one of all tiles") {
  const auto x = normal<float>({1, 9, 12, 1});
  for (const index_t tile : {0, 6}) {
    const models::InferenceOptions options{.tile = tile, .overlap = 3, .flip = true, .scales = {0.75, 1, 1.5}};
    const auto p = predict_probabilities(lopsided, x, options), mirrored = predict_probabilities(lopsided, flip(x, {2}), options);
    CHECK(max_difference(flip(mirrored, {2}), p) < 1e-6);
    CHECK(max_difference(p, predict_probabilities(lopsided, x, {.scales = options.scales})) > 1e-3);
  }
  // What looks at single pixels does not see that there are tiles.
  const auto pixelwise = [](const Tensor<float>& y) { return concat({y, y * 2.0f}, -1); };
  CHECK(max_difference(predict_probabilities(pixelwise, x, {.tile = 5, .overlap = 2, .scales = {1, 2}}),
                       predict_probabilities(pixelwise, x, {.scales = {1, 2}})) < 1e-6);
}

TEST_CASE("Scores of windows: the largest of those that cover a pixel, 0 where none does or all are less") {
  int calls = 0;
  const auto network = [&](const Tensor<float>& part) {  // (1, -1) in the first window, (0.5, 2) in the second
    CHECK(part.shape() == Shape{1, 4, 4, 1});
    const bool first = calls++ == 0;
    Tensor<float> y({1, 4, 4, 2});
    for (index_t i = 0; i < 32; ++i) y.data()[i] = i % 2 ? (first ? -1.0f : 2.0f) : (first ? 1.0f : 0.5f);
    return y;
  };
  const auto x = normal<float>({1, 5, 6, 1});
  const auto scores = models::window_scores(network, x, {{0, 0, 4, 4}, {0, 2, 4, 4}}, {.side = 4, .min_side = 1});
  REQUIRE(scores.shape() == Shape{1, 5, 6, 2});
  const float by_column[6][2] = {{1, 0}, {1, 0}, {1, 2}, {1, 2}, {0.5f, 2}, {0.5f, 2}};
  for (index_t h = 0; h < 5; ++h)
    for (index_t w = 0; w < 6; ++w)
      for (index_t c = 0; c < 2; ++c) CHECK(scores.at(0, h, w, c) == (h < 4 ? by_column[w][c] : 0));
}

TEST_CASE("Scores of windows: which are looked at, in which size, and what is refused") {
  const auto x = normal<float>({1, 9, 12, 2});
  const auto itself = [](const Tensor<float>& part) { return part; };
  const models::Window large{3, 4, 5, 8}, small{0, 0, 4, 9}, square{0, 0, 5, 5};
  const models::WindowOptions options{.side = 7, .min_side = 5, .most = 1};
  CHECK(models::usable_windows({small, large, square}, options) == std::vector{large});
  CHECK(models::usable_windows({small, large, square}, {.min_side = 4}) == std::vector{small, large, square});
  const auto scores = models::window_scores(itself, x, {small, large, square}, options);
  const auto part = resize(resize(narrow(narrow(x, 1, 3, 5), 2, 4, 8), {7, 7}), {5, 8});
  for (index_t h = 0; h < 9; ++h)
    for (index_t w = 0; w < 12; ++w)
      for (index_t c = 0; c < 2; ++c)
        CHECK(scores.at(0, h, w, c) == (h >= 3 && h < 8 && w >= 4 ? std::max(0.0f, part.at(0, h - 3, w - 4, c)) : 0));

  for (const models::Window window : {models::Window{5, 0, 5, 5}, {0, 8, 5, 5}, {-1, 0, 5, 5}, {0, -1, 5, 5}, {0, 0, 0, 5}, {0, 0, 10, 5}})
    CHECK_THROWS_WITH_AS((void)models::window_scores(itself, x, {square, window}, options),
                         doctest::Contains(("inside of the 9 x 12 pixels of the image, got " + to_string(window)).c_str()), ValueError);
  CHECK(to_string(models::Window{5, 0, 5, 6}) == "5 x 6 pixels (height x width) from row 5, column 0 on");
  CHECK_THROWS_WITH_AS((void)models::window_scores(itself, x, {small}, options),
                       doctest::Contains("one of at least 5 x 5 pixels, got none such among 1"), ValueError);
  CHECK_THROWS_AS((void)models::window_scores(itself, normal<float>({2, 9, 12, 2}), {square}, options), ShapeError);
}
