#include "cuda/same_on_gpu.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/ops/activation.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// The result on the GPU is a scalar where it is not `none`: the same as the CPU's up to rounding.
template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-11;

const Reduction reductions[] = {Reduction::mean, Reduction::sum, Reduction::none};

template <class Label>
Tensor<Label> labels_with_ignored(const Shape& shape, int classes, int ignored) {
  auto t = integers<Label>(shape, 0, classes - 1);
  for (index_t i = 0; i < t.numel(); i += 5) t.data()[i] = static_cast<Label>(ignored);
  return t;
}

template <class T, class Label>
void check_label_losses(const Shape& shape) {
  const int C = static_cast<int>(shape[-1]);
  const Shape rows(shape.begin(), shape.end() - 1);
  const auto x = normal<T>(shape, 0, 3);
  const auto t = labels_with_ignored<Label>(rows, C, 255);
  const auto w = random_uniform<T>({C}, testing::random(), 0.2, 2);
  for (const Reduction reduction : reductions)
    for (const bool weighted : {false, true}) {
      const std::string what =
          to_string(shape) + (weighted ? " weighted" : "") + " reduction " + std::to_string(static_cast<int>(reduction));
      const auto weight = [&]<class D>(D) { return weighted ? w.template to<D>() : Tensor<T, D>{}; };
      for (const double smoothing : {0.0, 0.1})
        check_same_on_gpu<T>(
            "cross_entropy " + what,
            [&]<class D>(const std::vector<Tensor<T, D>>& in) {
              return cross_entropy(
                  in[0], t.template to<D>(),
                  {.class_weight = weight(D{}), .ignore_index = 255, .label_smoothing = smoothing, .reduction = reduction});
            },
            {x}, tolerance<T>);
      for (const double gamma : {0.0, 2.0, 0.7})
        check_same_on_gpu<T>(
            "focal_loss " + what,
            [&]<class D>(const std::vector<Tensor<T, D>>& in) {
              return focal_loss(in[0], t.template to<D>(),
                                {.gamma = gamma, .class_weight = weight(D{}), .ignore_index = 255, .reduction = reduction});
            },
            {x}, tolerance<T>);
      if (C > 1)
        check_same_on_gpu<T>(
            "ohem_cross_entropy " + what,
            [&]<class D>(const std::vector<Tensor<T, D>>& in) {
              return ohem_cross_entropy(in[0], t.template to<D>(), {.threshold = 0.5, .min_kept = 2},
                                        {.class_weight = weight(D{}), .ignore_index = 255, .reduction = reduction});
            },
            {x}, tolerance<T>);
      check_same_on_gpu<T>(
          "nll_loss " + what,
          [&]<class D>(const std::vector<Tensor<T, D>>& in) {
            return nll_loss(in[0], t.template to<D>(), {.class_weight = weight(D{}), .ignore_index = 255, .reduction = reduction});
          },
          {x}, tolerance<T>);
    }
}

}  // namespace

TEST_CASE("cross_entropy, focal_loss and nll_loss on the GPU") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, on_gpu(33, 2), 37, 21}, Shape{5, 2}, Shape{4, on_gpu(40, 9), 64}, Shape{on_gpu(70, 9), 200},
                             Shape{on_gpu(6, 2), 1025}, Shape{0, 3, 5}, Shape{8}})
    check_label_losses<float, std::int32_t>(shape);
  check_label_losses<double, std::uint8_t>({3, 17, 12});
  check_label_losses<double, std::int64_t>({2, 4, 600});
  check_label_losses<float, std::uint8_t>({on_gpu(300000, 2100), 2});
}

TEST_CASE("cross_entropy with probabilities on the GPU: gradients to both") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, on_gpu(33, 9), 21}, Shape{on_gpu(1000, 300), 3}, Shape{on_gpu(5, 2), 600}, Shape{0, 4}})
    for (const Reduction reduction : reductions)
      for (const double smoothing : {0.0, 0.1}) {
        const auto check = [&]<class T>(T) {
          const auto w = random_uniform<T>({shape[-1]}, testing::random(), 0.2, 2);
          check_same_on_gpu<T>(
              to_string(shape),
              [&]<class D>(const std::vector<Tensor<T, D>>& in) {
                return cross_entropy(in[0], in[1],
                                     {.class_weight = w.template to<D>(), .label_smoothing = smoothing, .reduction = reduction});
              },
              {normal<T>(shape, 0, 2), random_uniform<T>(shape, testing::random())}, tolerance<T>);
        };
        check(float{});
        check(double{});
      }
}

TEST_CASE("cross_entropy on the GPU: no targets, and labels that are no classes") {
  if (!gpu()) return;
  const auto x = normal<float>({4, 3}).to<Cuda>();
  x.requires_grad();
  const auto none = full<std::int32_t, Cuda>({4}, 255);
  CHECK(std::isnan(cross_entropy(x, none, {.ignore_index = 255}).item()));
  const auto zero = cross_entropy(x, none, {.ignore_index = 255, .zero_if_all_ignored = true});
  CHECK(zero.item() == 0);
  zero.backward();
  CHECK(equal(x.grad().to<Cpu>(), zeros<float>({4, 3})));

  const Tensor<std::int32_t, Cuda> wrong({2, 2}, {0, 255, 3, 9});
  const auto y = x.detach().alias({2, 2, 3});
  CHECK_THROWS_WITH_AS(cross_entropy(y, wrong, {.ignore_index = 255}), doctest::Contains("got 3 at [1, 0]"), ValueError);
  CHECK_THROWS_WITH_AS(focal_loss(y, wrong, {.ignore_index = 255}), doctest::Contains("got 3 at [1, 0]"), ValueError);
  CHECK_THROWS_WITH_AS(nll_loss(y, wrong, {.ignore_index = 255}), doctest::Contains("got 3 at [1, 0]"), ValueError);
  CHECK_THROWS_WITH_AS(dice_loss(y, wrong, {.ignore_index = 255}), doctest::Contains("got 3 at [1, 0]"), ValueError);
  y.requires_grad();
  const auto unchecked = cross_entropy(y, wrong, {.ignore_index = 255, .reduction = Reduction::none, .check_labels = false});
  const auto each = unchecked.detach().to<Cpu>();
  CHECK(std::isfinite(each.at(0, 0)));
  CHECK(each.at(0, 1) == 0);
  CHECK(std::isnan(each.at(1, 0)));
  unchecked.backward(ones<float, Cuda>({2, 2}));
  const auto dy = y.grad().to<Cpu>();
  CHECK(std::isfinite(dy.at(0, 0, 0)));
  CHECK(dy.at(0, 1, 0) == 0);
  CHECK(std::isnan(dy.at(1, 1, 2)));
  CHECK(std::isnan(cross_entropy(y, wrong, {.ignore_index = 255, .check_labels = false}).item()));
}

TEST_CASE("losses of bfloat16 on the GPU are float, and near those of float") {
  if (!gpu()) return;
  const auto x = cast<bfloat16>(normal<float>({2, 31, 21}, 0, 2).to<Cuda>());
  const auto other = cast<bfloat16>(normal<float>({2, 31, 21}, 0, 2).to<Cuda>());
  const auto t = integers<std::uint8_t>({2, 31}, 0, 20).to<Cuda>();
  const auto check = [&](const char* what, const auto& f) {
    for (const Reduction reduction : reductions) {
      INFO(what, ", reduction ", static_cast<int>(reduction));
      const auto run = [&](const auto& logits, const auto& target) {
        logits.requires_grad();
        const Tensor<float, Cuda> y = f(logits, target, reduction);
        y.backward(y.numel() == 1 ? Tensor<float, Cuda>{} : ones<float, Cuda>(y.shape()));
        return std::pair{y.detach().to<Cpu>(), cast<float>(logits.grad()).template to<Cpu>()};
      };
      const auto [y, dx] = run(x.detach(), other);
      const auto [expected_y, expected_dx] = run(cast<float>(x), cast<float>(other));
      CHECK(relative_difference(y, expected_y) <= 1. / 256);  // sigmoid is rounded
      CHECK(relative_difference(dx, expected_dx) < 1e-2);
    }
  };
  check("cross_entropy",
        [&](const auto& a, const auto&, Reduction r) { return cross_entropy(a, t, {.label_smoothing = 0.1, .reduction = r}); });
  check("focal_loss", [&](const auto& a, const auto&, Reduction r) { return focal_loss(a, t, {.reduction = r}); });
  check("nll_loss", [&](const auto& a, const auto&, Reduction r) { return nll_loss(a, t, {.reduction = r}); });
  check("probabilities", [&](const auto& a, const auto& b, Reduction r) { return cross_entropy(a, b, {.reduction = r}); });
  check("to the target", [&](const auto& a, const auto& b, Reduction r) { return cross_entropy(b, a, {.reduction = r}); });
  check("dice_loss", [&](const auto& a, const auto&, Reduction r) { return dice_loss(sigmoid(a), t, {.reduction = r}); });
  check("dice_loss of values",
        [&](const auto& a, const auto& b, Reduction r) { return dice_loss(sigmoid(a), sigmoid(b), {.reduction = r}); });
  check("mse_loss", [&](const auto& a, const auto& b, Reduction r) { return mse_loss(a, b, r); });
  check("l1_loss", [&](const auto& a, const auto& b, Reduction r) { return l1_loss(b, a, r); });
  check("smooth_l1_loss", [&](const auto& a, const auto& b, Reduction r) { return smooth_l1_loss(a, b, {.beta = 0.7, .reduction = r}); });
  check("huber_loss", [&](const auto& a, const auto& b, Reduction r) { return huber_loss(a, b, {.delta = 0.7, .reduction = r}); });
  check("binary", [&](const auto& a, const auto& b, Reduction r) { return binary_cross_entropy_with_logits(a, b, {.reduction = r}); });
  check("sigmoid_focal_loss",
        [&](const auto& a, const auto& b, Reduction r) { return sigmoid_focal_loss(a, sigmoid(b), {.reduction = r}); });
}

TEST_CASE("losses on the GPU: memory that no pack begins at") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{30, 12}, Shape{3, 7, 3}, Shape{1, 3, 520}}) {
    const auto labels = labels_with_ignored<std::int32_t>(Shape(shape.begin(), shape.end() - 1), static_cast<int>(shape[-1]), 255);
    const auto same = [&](const char* what, const auto& loss) {
      check_same_on_gpu<float>(
          what + (" " + to_string(shape)), [&](const auto& in) { return unaligned(loss(unaligned(in[0]), unaligned(in[1]))); },
          {random_uniform<float>(shape, testing::random()), random_uniform<float>(shape, testing::random())}, tolerance<float>);
    };
    same("cross_entropy", [&]<class D>(const Tensor<float, D>& a, const auto&) {
      return cross_entropy(a, labels.to<D>(), {.ignore_index = 255, .reduction = Reduction::none});
    });
    same("nll_loss", [&]<class D>(const Tensor<float, D>& a, const auto&) { return nll_loss(a, labels.to<D>(), {.ignore_index = 255}); });
    same("probabilities", [](const auto& a, const auto& b) { return cross_entropy(a, b); });
    same("dice_loss", [](const auto& a, const auto& b) { return dice_loss(a, b.detach(), {.reduction = Reduction::none}); });
    same("mse_loss", [](const auto& a, const auto& b) { return mse_loss(a, b, Reduction::none); });
    same("binary", [](const auto& a, const auto& b) { return binary_cross_entropy_with_logits(a, b); });
  }
}

TEST_CASE("dice_loss on the GPU: values and labels, each reduction, with and without squares") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, on_gpu(37, 2), 41, 5}, Shape{3, 2}, Shape{1, on_gpu(5000, 1100), on_gpu(21, 2)},
                             Shape{2, 9, on_gpu(300, 17)}, Shape{0, 7, 3}})
    for (const Reduction reduction : reductions)
      for (const bool squared : {false, true})
        for (const bool over_batch : {false, true}) {
          const DiceOptions options{.squared = squared, .over_batch = over_batch, .ignore_index = 255, .reduction = reduction};
          const auto check = [&]<class T>(T) {
            const auto p = random_uniform<T>(shape, testing::random()), dense = random_uniform<T>(shape, testing::random());
            const auto t = labels_with_ignored<std::int32_t>(Shape(shape.begin(), shape.end() - 1), static_cast<int>(shape[-1]), 255);
            check_same_on_gpu<T>(
                "values " + to_string(shape),
                [&]<class D>(const std::vector<Tensor<T, D>>& in) { return dice_loss(in[0], dense.template to<D>(), options); }, {p},
                tolerance<T>);
            check_same_on_gpu<T>(
                "labels " + to_string(shape),
                [&]<class D>(const std::vector<Tensor<T, D>>& in) { return dice_loss(in[0], t.template to<D>(), options); }, {p},
                tolerance<T>);
          };
          check(float{});
          check(double{});
        }
}

TEST_CASE("pointwise losses on the GPU: every formula, gradients to both") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{on_gpu(40000, 9000)}, Shape{2, on_gpu(33, 5), 17, 8}, Shape{}, Shape{0, 4}})
    for (const Reduction reduction : reductions) {
      const auto check = [&]<class T>(T) {
        const auto x = normal<T>(shape, 0, 2), t = normal<T>(shape), p = random_uniform<T>(shape, testing::random());
        const auto same = [&](const char* what, const Tensor<T>& target, const auto& f) {
          check_same_on_gpu<T>(what + (" " + to_string(shape)), f, {x, target}, tolerance<T>);
        };
        same("mse_loss", t, [&](const auto& in) { return mse_loss(in[0], in[1], reduction); });
        same("l1_loss", t, [&](const auto& in) { return l1_loss(in[0], in[1], reduction); });
        same("smooth_l1_loss", t, [&](const auto& in) { return smooth_l1_loss(in[0], in[1], {.beta = 0.7, .reduction = reduction}); });
        same("huber_loss", t, [&](const auto& in) { return huber_loss(in[0], in[1], {.delta = 0.7, .reduction = reduction}); });
        same("binary", p, [&](const auto& in) { return binary_cross_entropy_with_logits(in[0], in[1], {.reduction = reduction}); });
        same("sigmoid_focal_loss", p, [&](const auto& in) { return sigmoid_focal_loss(in[0], in[1], {.reduction = reduction}); });
        same("sigmoid_focal_loss, gamma 1.5", p,
             [&](const auto& in) { return sigmoid_focal_loss(in[0], in[1], {.alpha = -1, .gamma = 1.5, .reduction = reduction}); });
      };
      check(float{});
      check(double{});
    }
}

TEST_CASE("binary_cross_entropy_with_logits on the GPU: weights that broadcast") {
  if (!gpu()) return;
  const Shape shape{2, 5, 7, 3};
  for (const Shape& weight_shape : {Shape{3}, Shape{2, 5, 7, 1}, Shape{1, 5, 1, 3}, Shape{2, 5, 7, 3}, Shape{1}})
    for (const Reduction reduction : reductions) {
      const auto w = random_uniform<float>(weight_shape, testing::random(), 0.2, 2);
      const auto p = random_uniform<float>({3}, testing::random(), 0.2, 2);
      check_same_on_gpu<float>(
          to_string(weight_shape),
          [&]<class D>(const std::vector<Tensor<float, D>>& in) {
            return binary_cross_entropy_with_logits(
                in[0], in[1], {.weight = w.template to<D>(), .pos_weight = p.template to<D>(), .reduction = reduction});
          },
          {normal<float>(shape), random_uniform<float>(shape, testing::random())}, tolerance<float>);
    }
}
