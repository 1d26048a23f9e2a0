#include "segnet/ops/cross_entropy.hpp"

#include "segnet/ops/ohem.hpp"
#include "segnet/ops/softmax.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct CrossEntropyCase {
  Shape shape;
  bool weighted = false;
  bool ignoring = false;
  double smoothing = 0;
  Reduction reduction = Reduction::mean;
};

/// Short rows (tiles, whole and cut), long rows (with and without a rest), each option alone and all together.
std::vector<CrossEntropyCase> cross_entropy_cases() {
  std::vector<CrossEntropyCase> cases;
  for (const Shape& shape : {Shape{5}, {1, 1}, {7, 2}, {2, 4, 6, 5}, {2, 33, 19}, {3, 32}, {5, 40}, {2, 3, 64}})
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      cases.push_back({shape, false, false, 0, reduction});
      cases.push_back({shape, true, false, 0, reduction});
      cases.push_back({shape, false, true, 0, reduction});
      cases.push_back({shape, false, false, 0.1, reduction});
      cases.push_back({shape, true, true, 0.3, reduction});
    }
  return cases;
}
std::string describe(const CrossEntropyCase& c) {
  return concat("cross_entropy ", c.shape, c.weighted ? " weighted" : "", c.ignoring ? " ignoring" : "", " smoothing ", c.smoothing,
                " reduction ", static_cast<int>(c.reduction));
}

constexpr index_t ignored = 255;

template <class Label = std::int32_t>
Tensor<Label> labels(const Shape& scores, bool ignoring) {
  auto t = integers<Label>(detail::rows_of(scores), 0, static_cast<int>(scores[-1]) - 1);
  for (index_t i = 0; ignoring && i < t.numel(); ++i)
    if (testing::random().below(3) == 0) t.data()[i] = static_cast<Label>(ignored);
  if (t.numel()) t.data()[0] = 0;  // so that not all are ignored
  return t;
}
CrossEntropyOptions<double> options_of(const CrossEntropyCase& c) {
  CrossEntropyOptions<double> options{.ignore_index = ignored, .label_smoothing = c.smoothing, .reduction = c.reduction};
  if (c.weighted) options.class_weight = random_uniform<double>({c.shape[-1]}, testing::random(), 0.2, 2);
  return options;
}

/// The definition, out of log_softmax.
template <class Label>
Tensor<double> defined(const Tensor<double>& x, const Tensor<Label>& t, const CrossEntropyOptions<double>& o) {
  const auto log_p = log_softmax(x.detach());
  const index_t C = x.dim(-1);
  Tensor<double> each(t.shape());
  double sum = 0, weights = 0;
  const auto w = [&](index_t c) { return o.class_weight ? o.class_weight.data()[c] : 1.0; };
  for (index_t i = 0; i < t.numel(); ++i) {
    each.data()[i] = 0;
    const index_t label = static_cast<index_t>(t.data()[i]);
    if (label == o.ignore_index) continue;
    double all = 0;
    for (index_t c = 0; c < C; ++c) all -= w(c) * log_p.data()[i * C + c];
    each.data()[i] = -(1 - o.label_smoothing) * w(label) * log_p.data()[i * C + label] + o.label_smoothing / static_cast<double>(C) * all;
    sum += each.data()[i];
    weights += w(label);
  }
  if (o.reduction == Reduction::none) return each;
  return full<double>({}, o.reduction == Reduction::sum ? sum : sum / weights);
}

}  // namespace

TEST_CASE("cross_entropy: the definition") {
  for (const CrossEntropyCase& c : cross_entropy_cases()) {
    INFO(describe(c));
    const auto x = normal<double>(c.shape, 0, 4);
    const auto t = labels(c.shape, c.ignoring);
    const auto options = options_of(c);
    CHECK(max_difference(cross_entropy(x, t, options), defined(x, t, options)) < 1e-10);
  }
}

TEST_CASE("cross_entropy: gradients") {
  for (const CrossEntropyCase& c : cross_entropy_cases()) {
    const auto t = labels(c.shape, c.ignoring);
    const auto options = options_of(c);
    check_gradients(describe(c), [&](const auto& in) { return cross_entropy(in[0], t, options); }, {normal<double>(c.shape)});
  }
}

TEST_CASE("cross_entropy: float agrees with double, value and gradient") {
  for (const index_t C : {2, 19, 150}) {
    const Shape shape{2, 50, C};
    const auto x = normal<float>(shape, 0, 3);
    Tensor<double> x64(shape);
    for (index_t i = 0; i < x.numel(); ++i) x64.data()[i] = x.data()[i];
    x.requires_grad(), x64.requires_grad();
    const auto t = labels<std::int64_t>(shape, true);
    const auto y = cross_entropy(x, t, {.ignore_index = ignored, .label_smoothing = 0.1});
    const auto y64 = cross_entropy(x64, t, {.ignore_index = ignored, .label_smoothing = 0.1});
    CHECK(max_difference(y, y64) < 2e-6);
    y.backward();
    y64.backward();
    CHECK(max_difference(x.grad(), x64.grad()) < 1e-7);
  }
}

TEST_CASE_TEMPLATE("cross_entropy: labels of every integer type give the same bits", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto x = normal<T>({4, 5, 7});
  const auto t = labels<std::int64_t>({4, 5, 7}, true);
  Tensor<std::int32_t> t32(t.shape());
  Tensor<std::uint8_t> t8(t.shape());
  for (index_t i = 0; i < t.numel(); ++i) {
    t32.data()[i] = static_cast<std::int32_t>(t.data()[i]);
    t8.data()[i] = static_cast<std::uint8_t>(t.data()[i]);
  }
  const CrossEntropyOptions<T> options{.ignore_index = ignored};
  CHECK(equal(cross_entropy(x, t, options), cross_entropy(x, t32, options)));
  CHECK(equal(cross_entropy(x, t, options), cross_entropy(x, t8, options)));
}

TEST_CASE_TEMPLATE("cross_entropy: logits of +-1e4", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const index_t C : {3, 50}) {
    const auto x = full<T>({3, C}, T(-1e4));
    for (index_t r = 0; r < 3; ++r) x.at(r, 1) = T(1e4);
    x.requires_grad();
    const Tensor<std::int32_t> t({3}, {1, 0, 1});
    const auto y = cross_entropy(x, t, {.reduction = Reduction::none});
    CHECK(equal(y, Tensor<T>({3}, {0, T(2e4), 0})));
    y.backward(ones<T>({3}));
    for (index_t r = 0; r < 3; ++r)
      for (index_t c = 0; c < C; ++c) CHECK(x.grad().at(r, c) == (r == 1 && c == 0 ? T(-1) : r == 1 && c == 1 ? T(1) : T(0)));
    CHECK(std::isfinite(cross_entropy(x, t, {.label_smoothing = 0.1}).item()));
  }
}

TEST_CASE_TEMPLATE("cross_entropy: what is ignored has no gradient, not even from NaN", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  for (const index_t C : {4, 50}) {
    const auto x = normal<T>({6, C});
    for (index_t c = 0; c < C; ++c) x.at(2, c) = static_cast<T>(NAN), x.at(3, c) = static_cast<T>(INFINITY);
    x.requires_grad();
    const Tensor<std::int32_t> t({6}, {1, 0, -100, -100, 2, 3});
    for (const double smoothing : {0.0, 0.2}) {
      x.zero_grad();
      const auto y = cross_entropy(x, t, {.label_smoothing = smoothing});
      CHECK(std::isfinite(y.item()));
      y.backward();
      for (index_t r = 0; r < 6; ++r)
        for (index_t c = 0; c < C; ++c) {
          const T g = x.grad().at(r, c);
          CHECK(std::isfinite(g));
          CHECK((g == T(0)) == (r == 2 || r == 3));
        }
    }
  }
}

TEST_CASE_TEMPLATE("cross_entropy: all ignored, or nothing at all", Where, EVERYWHERE) {
  using T = typename Where::value_type;
  const auto x = normal<T>({3, 4});
  x.requires_grad();
  const auto t = full<std::int32_t>({3}, 255);
  const auto mean = cross_entropy(x, t, {.ignore_index = 255});
  CHECK(std::isnan(mean.item()));
  mean.backward();
  CHECK(equal(x.grad(), zeros<T>({3, 4})));
  CHECK(cross_entropy(x, t, {.ignore_index = 255, .zero_if_all_ignored = true}).item() == T(0));
  CHECK(cross_entropy(x, t, {.ignore_index = 255, .reduction = Reduction::sum}).item() == T(0));
  CHECK(equal(cross_entropy(x, t, {.ignore_index = 255, .reduction = Reduction::none}), zeros<T>({3})));

  const Tensor<T> nothing({0, 2, 4});
  const Tensor<std::int32_t> no_labels({0, 2});
  CHECK(std::isnan(cross_entropy(nothing, no_labels).item()));
  CHECK(cross_entropy(nothing, no_labels, {.reduction = Reduction::sum}).item() == T(0));
  CHECK(cross_entropy(nothing, no_labels, {.reduction = Reduction::none}).shape() == Shape{0, 2});
}

TEST_CASE("cross_entropy: a wrong label is named with its position") {
  const auto x = zeros<float>({2, 3, 4, 5});
  for (const int wrong : {5, -1, 254, -100}) {
    const auto t = zeros<std::int32_t>({2, 3, 4});
    t.at(1, 0, 2) = wrong;
    t.at(1, 2, 3) = 77;
    const std::string message =
        concat("segnet::cross_entropy: argument 'target': expected labels in [0, 5) or ignore_index = 255, got ", wrong, " at [1, 0, 2]");
    CHECK_THROWS_WITH_AS(void(cross_entropy(x, t, {.ignore_index = 255})), message.c_str(), ValueError);
  }
  const auto t = full<std::int64_t>({2, 3, 4}, 9);
  CHECK_THROWS_WITH_AS(void(nll_loss(x, t)), doctest::Contains("segnet::nll_loss: argument 'target'"), ValueError);
  CHECK_THROWS_WITH_AS(void(focal_loss(x, t)), doctest::Contains("got 9 at [0, 0, 0]"), ValueError);
}

TEST_CASE("cross_entropy: wrong shapes and options") {
  const auto x = zeros<float>({2, 3, 5});
  CHECK_THROWS_WITH_AS(void(cross_entropy(x, zeros<std::int32_t>({2, 5}))),
                       "segnet::cross_entropy: argument 'target': expected [2, 3] for logits [2, 3, 5], got [2, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(void(cross_entropy(x, zeros<float>({2, 3}))), doctest::Contains("expected [2, 3, 5] like the logits"), ShapeError);
  CHECK_THROWS_WITH_AS(void(cross_entropy(x, zeros<std::int32_t>({2, 3}), {.class_weight = ones<float>({3})})),
                       doctest::Contains("argument 'class_weight': expected [5]"), ShapeError);
  CHECK_THROWS_AS(void(cross_entropy(zeros<float>({}), zeros<std::int32_t>({}))), ShapeError);
  CHECK_THROWS_AS(void(cross_entropy(Tensor<float>({2, 0}), zeros<std::int32_t>({2}))), ShapeError);
  CHECK_THROWS_AS(void(cross_entropy(x, zeros<std::int32_t>({2, 3}), {.label_smoothing = 1})), ValueError);
  CHECK_THROWS_AS(void(cross_entropy(x, x, {.label_smoothing = -0.1})), ValueError);
  CHECK_THROWS_AS(void(focal_loss(x, zeros<std::int32_t>({2, 3}), {.gamma = -1})), ValueError);
  CHECK_THROWS_WITH_AS(void(nll_loss(x, zeros<std::int32_t>({2}))), doctest::Contains("for log_p [2, 3, 5]"), ShapeError);
}

TEST_CASE("cross_entropy of probabilities: gradients to both, and labels are a special case") {
  for (const Shape& shape : {Shape{3, 4}, {2, 40, 19}, {3, 50}})
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
      for (const bool weighted : {false, true})
        for (const double smoothing : {0.0, 0.2}) {
          const std::string what = concat("probabilities ", shape, weighted ? " weighted" : "", " smoothing ", smoothing, " reduction ",
                                          static_cast<int>(reduction));
          INFO(what);
          CrossEntropyOptions<double> options{.label_smoothing = smoothing, .reduction = reduction};
          if (weighted) options.class_weight = random_uniform<double>({shape[-1]}, testing::random(), 0.2, 2);
          check_gradients(what, [&](const auto& in) { return cross_entropy(in[0], in[1], options); },
                          {normal<double>(shape), softmax(normal<double>(shape)).detach()});
          if (weighted && reduction == Reduction::mean) continue;  // the one averages over weights, the other over rows
          const auto x = normal<double>(shape), one_hot = zeros<double>(shape);
          const auto t = labels(shape, false);
          for (index_t i = 0; i < t.numel(); ++i) one_hot.data()[i * shape[-1] + t.data()[i]] = 1;
          CHECK(max_difference(cross_entropy(x, one_hot, options), cross_entropy(x, t, options)) < 1e-10);
        }
}

TEST_CASE("focal_loss: gradients, gamma = 0 is cross entropy, easy pixels count less") {
  for (const Shape& shape : {Shape{2, 5, 4}, {2, 40}})
    for (const double gamma : {0.0, 0.5, 1.0, 2.0, 3.5})
      for (const Reduction reduction : {Reduction::mean, Reduction::none}) {
        FocalLossOptions<double> options{.gamma = gamma,
                                         .class_weight = random_uniform<double>({shape[-1]}, testing::random(), 0.2, 2),
                                         .ignore_index = ignored,
                                         .reduction = reduction};
        const auto t = labels(shape, true);
        const auto x = normal<double>(shape);
        check_gradients(concat("focal_loss ", shape, " gamma ", gamma), [&](const auto& in) { return focal_loss(in[0], t, options); }, {x});
        if (gamma != 0) continue;
        const CrossEntropyOptions<double> plain{.class_weight = options.class_weight, .ignore_index = ignored, .reduction = reduction};
        CHECK(equal(focal_loss(x, t, options), cross_entropy(x, t, plain)));
      }
  // Two classes, p_t = 0.75: (1 - 0.75)^2 log(4/3)
  const Tensor<double> x({1, 2}, {std::log(3.0), 0});
  CHECK(std::abs(focal_loss(x, zeros<std::int32_t>({1})).item() - 0.0625 * std::log(4.0 / 3)) < 1e-15);
  // Certain and right: neither loss nor gradient is NaN.
  const Tensor<double> sure({1, 2}, {1e4, -1e4});
  sure.requires_grad();
  for (const double gamma : {0.5, 1.0, 2.0}) {
    const auto y = focal_loss(sure, zeros<std::int32_t>({1}), {.gamma = gamma});
    y.backward();
    CHECK(y.item() == 0);
    CHECK(equal(sure.grad(), zeros<double>({1, 2})));
  }
}

TEST_CASE("nll_loss of log_softmax is cross_entropy, with its gradients") {
  for (const Shape& shape : {Shape{6, 3}, {2, 3, 4, 5}})
    for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const auto x = normal<double>(shape), w = random_uniform<double>({shape[-1]}, testing::random(), 0.2, 2);
      const auto t = labels<std::int64_t>(shape, true);
      const NllLossOptions<double> options{.class_weight = w, .ignore_index = ignored, .reduction = reduction};
      CHECK(max_difference(nll_loss(log_softmax(x), t, options),
                           cross_entropy(x, t, {.class_weight = w, .ignore_index = ignored, .reduction = reduction})) < 1e-12);
      check_gradients(concat("nll_loss ", shape), [&](const auto& in) { return nll_loss(in[0], t, options); }, {x});
    }
}

TEST_CASE("cross_entropy: same bits for any number of threads, no probabilities in memory") {
  const index_t C = 19;
  const auto x = normal<float>({2, 100, 101, C});
  const auto t = labels(x.shape(), true);
  x.requires_grad();
  const int before = num_threads();
  Tensor<float> value[2], gradient[2];
  for (int k = 0; k < 2; ++k) {
    set_num_threads(1 + 2 * k);
    x.zero_grad();
    const std::size_t held = memory_stats().in_use;
    const auto y = cross_entropy(x, t, {.ignore_index = ignored});
    CHECK(memory_stats().in_use - held < static_cast<std::size_t>(x.numel()) * sizeof(float) / 5);
    y.backward();
    value[k] = y.detach();
    gradient[k] = x.grad();
  }
  set_num_threads(before);
  CHECK(equal(value[0], value[1]));
  CHECK(equal(gradient[0], gradient[1]));
}

namespace {

/// HRNet's code, line by line, on probabilities.
Tensor<double> mined(const Tensor<double>& x, const Tensor<std::int32_t>& t, const OhemOptions& hard, CrossEntropyOptions<double> o) {
  const Reduction reduction = std::exchange(o.reduction, Reduction::none);
  const auto losses = defined(x, t, o);
  const auto p = softmax(x.detach());
  std::vector<double> sorted;
  const auto of_label = [&](index_t i) { return p.data()[i * x.dim(-1) + t.data()[i]]; };
  for (index_t i = 0; i < t.numel(); ++i)
    if (t.data()[i] != o.ignore_index) sorted.push_back(of_label(i));
  std::sort(sorted.begin(), sorted.end());
  const auto last = std::min(static_cast<std::size_t>(hard.min_kept), sorted.size() - 1);
  const double threshold = std::max(sorted[last], hard.threshold);
  double sum = 0, count = 0;
  for (index_t i = 0; i < t.numel(); ++i)
    if (t.data()[i] != o.ignore_index && of_label(i) < threshold) sum += losses.data()[i], ++count;
    else losses.data()[i] = 0;
  if (reduction == Reduction::none) return losses;
  return full<double>({}, reduction == Reduction::sum ? sum : sum / count);
}

}  // namespace

TEST_CASE("ohem_cross_entropy: the definition, with gradients") {
  const auto t = labels({2, 5, 7, 4}, true);
  const auto x = normal<double>({2, 5, 7, 4}, 0, 2);
  const auto w = random_uniform<double>({4}, testing::random(), 0.2, 2);
  for (const double threshold : {0.0, 0.3, 0.7, 1.0})
    for (const index_t min_kept : {1, 10, 30, 69, 70, 1000})  // of 70 pixels, some ignored
      for (const Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none})
        for (const bool weighted : {false, true}) {
          const OhemOptions hard{threshold, min_kept};
          CrossEntropyOptions<double> o{.ignore_index = ignored, .reduction = reduction};
          if (weighted) o.class_weight = w, o.label_smoothing = 0.1;
          const auto what = concat("threshold ", threshold, " min_kept ", min_kept, " reduction ", int(reduction), " weighted ", weighted);
          INFO(what);
          CHECK(max_difference(ohem_cross_entropy(x.detach(), t, hard, o), mined(x, t, hard, o)) < 1e-12);
          if (min_kept == 10 && weighted)
            check_gradients(what, [&](const auto& in) { return ohem_cross_entropy(in[0], t, hard, o); }, {x.clone()});
        }
}

TEST_CASE("ohem_cross_entropy: labels of one byte, equals, nothing hard, NaN, wrong options") {
  // Logits log 3 and 0: probabilities 3/4 and 1/4.
  const double a = std::log(3.0);
  const Tensor<double> x({4, 2}, {a, 0, 0, a, a, 0, a, 0});
  x.requires_grad();
  const Tensor<std::uint8_t> t({4}, {0, 0, 0, 255});
  const auto each = [&](const OhemOptions& hard) {
    return ohem_cross_entropy(x, t, hard, {.ignore_index = 255, .reduction = Reduction::none}).to_vector();
  };
  CHECK(each({0.5, 1}) == std::vector<double>{0, cross_entropy(x, t, {.ignore_index = 255, .reduction = Reduction::none}).at(1), 0, 0});
  CHECK(each({0.5, 2}) == each({0.5, 1}));  // two are as easy as the third
  CHECK(each({0.8, 1})[0] > 0);
  // Three labels of the one kind, none is easier than the last kept: the mean of nothing.
  const Tensor<std::uint8_t> alike({4}, {0, 1, 0, 255});
  const auto nothing = ohem_cross_entropy(x, alike, {0.5, 1}, {.ignore_index = 255});
  CHECK(std::isnan(nothing.item()));
  nothing.backward();
  CHECK(equal(x.grad(), zeros<double>({4, 2})));
  CHECK(ohem_cross_entropy(x, alike, {0.5, 1}, {.ignore_index = 255, .zero_if_all_ignored = true}).item() == 0);
  CHECK(std::isnan(ohem_cross_entropy(x, full<std::uint8_t>({4}, 255), {}, {.ignore_index = 255}).item()));
  CHECK(std::isnan(ohem_cross_entropy(Tensor<double>({0, 2}), Tensor<std::uint8_t>({0})).item()));
  // An ignore_index that is no label of this type ignores none.
  CHECK(ohem_cross_entropy(x, zeros<std::uint8_t>({4}), {1, 4}, {.ignore_index = 256}).item() > 0);

  const auto broken = x.detach().clone();
  broken.at(2, 0) = NAN;
  CHECK(std::isnan(ohem_cross_entropy(broken, t, {}, {.ignore_index = 255}).item()));
  CHECK_THROWS_WITH_AS(void(ohem_cross_entropy(x, t, {.threshold = 1.5})),
                       doctest::Contains("argument 'threshold': expected a probability in [0, 1], got 1.5"), ValueError);
  CHECK_THROWS_WITH_AS(void(ohem_cross_entropy(x, t, {.min_kept = 0})), doctest::Contains("argument 'min_kept'"), ValueError);
  CHECK_THROWS_WITH_AS(void(ohem_cross_entropy(x, t)), doctest::Contains("got 255 at [3]"), ValueError);
}
