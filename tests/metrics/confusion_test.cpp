#include "segnet/metrics/confusion.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {
bool near(const std::optional<double>& a, double b) { return a && std::abs(*a - b) < 1e-15; }
}  // namespace

TEST_CASE("confusion: ten pixels by hand") {
  const Tensor<std::int32_t> target({10}, {0, 0, 0, 1, 1, 2, 2, 255, 255, 1}), prediction({10}, {0, 0, 1, 1, 1, 2, 0, 0, 2, 3});
  ConfusionMatrix m(4);
  m.add(prediction, target);
  CHECK(equal(m.counts(), Tensor<std::int64_t>({4, 4}, {2, 1, 0, 0, 0, 2, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0})));
  CHECK(m.pixels() == 8);
  CHECK(near(m.pixel_accuracy(), 0.625));
  CHECK(near(m.accuracy(0), 2.0 / 3));
  CHECK(near(m.accuracy(1), 2.0 / 3));
  CHECK(near(m.accuracy(2), 0.5));
  CHECK_FALSE(m.accuracy(3));  // does not occur
  CHECK(near(m.mean_accuracy(), (2.0 / 3 + 2.0 / 3 + 0.5) / 3));
  for (const index_t c : {0, 1, 2}) CHECK(near(m.iou(c), 0.5));
  CHECK(m.iou(3) == 0.0);  // predicted, though: counts
  CHECK(near(m.mean_iou(), 0.375));
  CHECK(near(m.frequency_weighted_iou(), 0.5));
  CHECK(near(m.precision(1), 2.0 / 3));
  CHECK(near(m.dice(0), 2.0 / 3));

  ConfusionMatrix five(5);
  five.add(prediction, target);
  CHECK(near(five.mean_iou(), 0.375));
  CHECK(near(five.mean_iou(AbsentClasses::zero), 0.3));
  CHECK_FALSE(five.iou(4));
  CHECK_FALSE(five.precision(4));
  CHECK_FALSE(five.dice(4));
}

TEST_CASE("confusion: the table says what is there and what is not") {
  ConfusionMatrix m(3);
  m.add(Tensor<std::int32_t>({3}, {0, 0, 1}), Tensor<std::int32_t>({3}, {0, 1, 1}));
  CHECK(m.table({"sky", "G\xc3\xa9rard"}) ==
        "class         IoU   accuracy  precision       Dice     pixels\n"
        "sky         50.00     100.00      50.00      66.67          1\n"
        "G\xc3\xa9rard      50.00      50.00     100.00      66.67          2\n"
        "2               -          -          -          -          0\n"
        "mean        50.00      75.00      75.00      66.67          3\n"
        "pixel accuracy 66.67, frequency-weighted IoU 50.00\n");
  CHECK(ConfusionMatrix(1).table().find("nan") == std::string::npos);
}

TEST_CASE("confusion: nothing counted, no scores") {
  const ConfusionMatrix m(2);
  CHECK_FALSE(m.pixel_accuracy());
  CHECK_FALSE(m.mean_iou());
  CHECK_FALSE(m.mean_accuracy());
  CHECK_FALSE(m.frequency_weighted_iou());
  CHECK(m.mean_iou(AbsentClasses::zero) == 0.0);
  ConfusionMatrix ignored(2);
  ignored.add(full<std::int32_t>({2, 3}, 77), full<std::int32_t>({2, 3}, 255));
  ignored.add(Tensor<std::int32_t>({0, 3}), Tensor<std::int32_t>({0, 3}));
  CHECK(ignored.pixels() == 0);
}

TEST_CASE("confusion: parts merged are the whole, for any number of threads") {
  const index_t n = 300000;
  const auto target = integers<std::int64_t>({3, n / 3}, 0, 5);
  const auto prediction = integers<std::int32_t>({3, n / 3}, 0, 4);
  std::vector<std::int64_t> expected(25);
  for (index_t i = 0; i < n; ++i)
    if (target.data()[i] != 5) ++expected[static_cast<std::size_t>(target.data()[i] * 5 + prediction.data()[i])];
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    ConfusionMatrix whole(5, 5), parts(5, 5);
    whole.add(prediction, target);
    for (index_t k = 0; k < 3; ++k) {
      ConfusionMatrix part(5, 5);
      part.add(prediction.alias({n / 3}, k * n / 3), target.alias({n / 3}, k * n / 3));
      parts.merge(part);
    }
    CHECK(whole.counts().to_vector() == expected);
    CHECK(parts.counts().to_vector() == expected);
    whole.reset();
    CHECK(whole.pixels() == 0);
  }
  set_num_threads(before);
}

TEST_CASE_TEMPLATE("confusion: of logits is that of their largest", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto logits = integers<T>({2, 40, 50, 7}, -3, 3);  // with ties: the first wins
  const auto target = integers<std::uint8_t>({2, 40, 50}, 0, 6);
  Tensor<std::int32_t> prediction(target.shape());
  for (index_t i = 0; i < prediction.numel(); ++i) {
    const T* row = logits.data() + i * 7;
    prediction.data()[i] = static_cast<std::int32_t>(std::max_element(row, row + 7) - row);
  }
  ConfusionMatrix a(7), b(7);
  a.add(prediction, target);
  b.add_logits(logits, target);
  CHECK(a.pixels() == 4000);
  CHECK(equal(a.counts(), b.counts()));
}

TEST_CASE("confusion: wrong arguments leave the counts alone") {
  ConfusionMatrix m(3, 255);
  const auto zero = zeros<std::int32_t>({2, 2});
  auto wrong = zero.clone();
  wrong.at(1, 0) = 3;
  CHECK_THROWS_WITH_AS(
      m.add(zero, wrong),
      "segnet::ConfusionMatrix::add: argument 'target': expected classes in [0, 3) or ignore_index = 255, got 3 at element 2 "
      "of [2, 2]",
      ValueError);
  CHECK_THROWS_WITH_AS(m.add(wrong, zero), doctest::Contains("argument 'prediction': expected classes in [0, 3), got 3"), ValueError);
  wrong.at(1, 0) = -1;
  CHECK_THROWS_AS(m.add(wrong, zero), ValueError);
  CHECK_THROWS_AS(m.add(zero, wrong), ValueError);
  CHECK_THROWS_AS(m.add(zero, zeros<std::int32_t>({4})), ShapeError);
  CHECK_THROWS_WITH_AS(m.add_logits(zeros<float>({2, 2, 4}), zero), doctest::Contains("expected [2, 2, 3] for target [2, 2]"), ShapeError);
  CHECK_THROWS_AS(m.merge(ConfusionMatrix(4)), ValueError);
  CHECK_THROWS_AS(ConfusionMatrix(0), ValueError);
  CHECK(m.pixels() == 0);
}
