#include "segnet/ops/dice_loss.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

std::vector<DiceOptions> dice_options() {
  std::vector<DiceOptions> all;
  for (const double smooth : {1.0, 0.1})
    for (const bool squared : {false, true})
      for (const bool over_batch : {false, true})
        for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
          all.push_back({.smooth = smooth, .squared = squared, .over_batch = over_batch, .ignore_index = 255, .reduction = reduction});
  return all;
}
std::string describe(const Shape& shape, const DiceOptions& o) {
  return concat("dice_loss ", shape, " smooth ", o.smooth, " squared ", o.squared, " over_batch ", o.over_batch, " reduction ",
                static_cast<int>(o.reduction));
}

/// The definition; keep[i] says whether pixel i counts.
Tensor<double> defined(const Tensor<double>& p, const Tensor<double>& t, const std::vector<bool>& keep, const DiceOptions& o) {
  const index_t N = p.dim(0), C = p.dim(-1), pixels = p.numel() / (N * C), groups = o.over_batch ? 1 : N;
  Tensor<double> each(o.over_batch ? Shape{C} : Shape{N, C});
  double sum = 0;
  for (index_t g = 0; g < groups; ++g)
    for (index_t c = 0; c < C; ++c) {
      double overlap = 0, size = 0;
      for (index_t i = 0; i < N * pixels; ++i) {
        if ((!o.over_batch && i / pixels != g) || !keep[static_cast<std::size_t>(i)]) continue;
        const double a = p.data()[i * C + c], b = t.data()[i * C + c];
        overlap += a * b;
        size += o.squared ? a * a + b * b : a + b;
      }
      each.data()[g * C + c] = 1 - (2 * overlap + o.smooth) / (size + o.smooth);
      sum += each.data()[g * C + c];
    }
  if (o.reduction == Reduction::none) return each;
  return full<double>({}, o.reduction == Reduction::sum ? sum : sum / static_cast<double>(groups * C));
}

const Shape shapes[] = {{1, 1}, {3, 4}, {2, 5, 6, 3}, {1, 2100, 2}};  // the last: more than one chunk of pixels

}  // namespace

TEST_CASE("dice_loss: definition and gradients, soft targets") {
  for (const Shape& shape : shapes)
    for (const DiceOptions& options : dice_options()) {
      const std::string what = describe(shape, options);
      INFO(what);
      const auto p = random_uniform<double>(shape, testing::random()), t = random_uniform<double>(shape, testing::random());
      const std::vector<bool> all(static_cast<std::size_t>(p.numel() / p.dim(-1)), true);
      CHECK(max_difference(dice_loss(p, t, options), defined(p, t, all, options)) < 1e-12);
      check_gradients(what, [&](const auto& in) { return dice_loss(in[0], t, options); }, {p}, {.max_elements = 10});
    }
}

TEST_CASE("dice_loss: labels are one-hot targets, ignored pixels count nowhere") {
  for (const Shape& shape : shapes)
    for (const DiceOptions& options : dice_options()) {
      const std::string what = "labels " + describe(shape, options);
      INFO(what);
      const auto p = random_uniform<double>(shape, testing::random()), one_hot = zeros<double>(shape);
      auto labels = integers<std::int32_t>(Shape(shape.begin(), shape.end() - 1), 0, static_cast<int>(shape[-1]) - 1);
      std::vector<bool> keep;
      for (index_t i = 0; i < labels.numel(); ++i) {
        one_hot.data()[i * shape[-1] + labels.data()[i]] = 1;
        keep.push_back(testing::random().below(3) > 0);
        if (!keep.back()) labels.data()[i] = 255;
      }
      CHECK(max_difference(dice_loss(p, labels, options), defined(p, one_hot, keep, options)) < 1e-12);
      check_gradients(what, [&](const auto& in) { return dice_loss(in[0], labels, options); }, {p}, {.max_elements = 10});
    }
}

TEST_CASE_TEMPLATE("dice_loss: right is 0, wrong is nearly 1, an absent class is 0", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto labels = full<std::int32_t>({1, 1000}, 0);
  const auto right = zeros<T>({1, 1000, 3}), wrong = zeros<T>({1, 1000, 3});
  for (index_t i = 0; i < 1000; ++i) right.at(0, i, 0) = wrong.at(0, i, 1) = T(1);
  CHECK(equal(dice_loss(right, labels, {.reduction = Reduction::none}), zeros<T>({1, 3})));
  const auto y = dice_loss(wrong, labels, {.reduction = Reduction::none});
  const double nearly = 1 - 1.0 / 1001;
  CHECK(max_difference(y, Tensor<double>({1, 3}, {nearly, nearly, 0})) < 1e-6);
}

TEST_CASE("dice_loss: empty batch and wrong arguments") {
  CHECK(dice_loss(Tensor<float>({0, 5, 3}), Tensor<float>({0, 5, 3}), {.reduction = Reduction::none}).shape() == Shape{0, 3});
  CHECK(std::isnan(dice_loss(Tensor<float>({0, 5, 3}), Tensor<float>({0, 5, 3})).item()));
  const auto p = zeros<float>({2, 4, 3});
  CHECK_THROWS_WITH_AS(void(dice_loss(p, zeros<float>({2, 4, 2}))), doctest::Contains("expected [2, 4, 3] like p, or integer labels"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(void(dice_loss(p, zeros<std::int32_t>({2, 3}))), doctest::Contains("argument 'target': expected [2, 4] for p"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(void(dice_loss(p, full<std::int32_t>({2, 4}, 3))), doctest::Contains("got 3 at [0, 0]"), ValueError);
  CHECK_THROWS_AS(void(dice_loss(zeros<float>({2}), zeros<float>({2}))), ShapeError);
}
