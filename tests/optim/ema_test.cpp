#include "segnet/optim/ema.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("Ema: the average, with and without warm-up", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const bool warm_up : {false, true}) {
    const auto w = normal<T>({3, 700}), big = normal<T>({20000});
    optim::Ema<T> ema(std::vector{w, big}, {.decay = 0.9, .warm_up = warm_up});
    std::vector<double> expected(w.data(), w.data() + w.numel());
    for (int t = 1; t <= 20; ++t) {
      fill_normal(w, testing::random());
      const double keep = warm_up ? std::min(0.9, (1.0 + t) / (10 + t)) : 0.9;
      for (index_t i = 0; i < w.numel(); ++i) {
        double& e = expected[static_cast<std::size_t>(i)];
        e = keep * e + (1 - keep) * static_cast<double>(w.data()[i]);
      }
      ema.update();
    }
    const auto average = ema.state().tensors[0].second;
    for (index_t i = 0; i < w.numel(); ++i)
      CHECK(std::abs(static_cast<double>(average.data()[i]) - expected[static_cast<std::size_t>(i)]) < 2e-6);
    CHECK(max_difference(ema.state().tensors[1].second, big) < 1e-6);  // constant weights
  }
}

TEST_CASE("Ema: swapped in for a scope, put back to the bit") {
  const auto w = normal<float>({100});
  w.requires_grad();
  optim::Ema<float> ema(std::vector{w});
  const auto old = w.clone();
  fill_normal(w, testing::random());
  const auto now = w.clone();
  {
    const auto scope = ema.swapped();
    CHECK(equal(w, old));
    CHECK_THROWS_WITH_AS(ema.update(), doctest::Contains("swapped in"), Error);
  }
  CHECK(equal(w, now));
  CHECK(equal(ema.state().tensors[0].second, old));
}

TEST_CASE("Ema: resumes to the bit") {
  const auto w = normal<float>({50});
  auto v = normal<float>({50});
  optim::Ema<float> a(std::vector{w}), b(std::vector{v});
  a.update();
  b.load_state(a.state());
  v.copy_from(w);
  fill_normal(w, testing::random());
  v.copy_from(w);
  a.update();
  b.update();
  CHECK(equal(a.state().tensors[0].second, b.state().tensors[0].second));
  CHECK(a.state().steps == b.state().steps);

  auto state = a.state();
  state.tensors[0].first = "other";
  CHECK_THROWS_WITH_AS(b.load_state(state), doctest::Contains("expected '0', got 'other'"), ValueError);
  state.tensors[0] = {"0", Tensor<float>({51})};
  CHECK_THROWS_AS(b.load_state(state), ShapeError);
  state.tensors.clear();
  CHECK_THROWS_AS(b.load_state(state), ValueError);
  CHECK_THROWS_AS(optim::Ema<float>(std::vector{w}, {.decay = 1.5}), ValueError);
}
