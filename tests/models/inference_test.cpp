#include "segnet/models/inference.hpp"

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
