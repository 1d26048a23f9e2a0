#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/pointwise_loss.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

constexpr Layout images = Layout::channels_first;

template <class C>
Reduction reduction(const C& c) {
  const std::string& name = c.text("reduction");
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  throw Error(concat("unknown reduction '", name, "'"));
}

/// softmax - target is a small difference where the right class wins clearly.
template <class C>
FloatTolerance cancellation(const C& c) {
  return {.absolute = 1e-6 * c.largest("grad_y") / (c.text("reduction") == "mean" ? static_cast<double>(c.shape("x").numel()) : 1)};
}

/// Runs `loss(labels)` for each type that labels may have and that holds these.
template <class C, class F>
void with_each_label_type(C& c, const F& loss) {
  const auto run = [&](auto label, const char* type) {
    c.variant(type);
    loss(c.template integer_input<decltype(label)>("target"));
  };
  run(std::int64_t{}, "int64 labels");
  run(std::int32_t{}, "int32 labels");
  const auto labels = c.template integer_input<std::int64_t>("target").to_vector();
  const auto fits = [](std::int64_t label) { return label >= 0 && label <= 255; };
  if (std::all_of(labels.begin(), labels.end(), fits)) run(std::uint8_t{}, "uint8 labels");
}

const auto cross_entropy_case = [](auto& c) {
  using T = typename std::remove_reference_t<decltype(c)>::value_type;
  using D = typename std::remove_reference_t<decltype(c)>::device;
  const auto options = [&] {
    return CrossEntropyOptions<T, D>{.class_weight = c.optional_input("class_weight"),
                                     .ignore_index = c.integer("ignore_index", -100),
                                     .label_smoothing = c.number("label_smoothing", 0),
                                     .reduction = reduction(c)};
  };
  if (c.has("target_prob")) {
    const auto x = c.input("x", images), target = c.input("target_prob", images);
    c.output("y", cross_entropy(x, target, options()));
    c.check_gradients(cancellation(c));
    return;
  }
  with_each_label_type(c, [&](const auto& target) {
    c.output("y", cross_entropy(c.input("x", images), target, options()));
    c.check_gradients(cancellation(c));
  });
};

const auto regression = [](auto& c) {
  const std::string& op = c.text("op");
  const auto x = c.input("x"), target = c.input("target");
  const auto how = reduction(c);
  if (op == "smooth_l1") c.output("y", smooth_l1_loss(x, target, {.beta = c.number("beta"), .reduction = how}));
  else if (op == "huber") c.output("y", huber_loss(x, target, {.delta = c.number("delta"), .reduction = how}));
  else if (op == "l1") c.output("y", l1_loss(x, target, how));
  else if (op == "mse") c.output("y", mse_loss(x, target, how));
  else throw Error(concat("unknown op '", op, "'"));
  c.check_gradients();
};

}  // namespace

void add_losses(Registry& registry) {
  registry.add("cross_entropy", cross_entropy_case);

  registry.add("nll_loss", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    with_each_label_type(c, [&](const auto& target) {
      const NllLossOptions<T, D> options{
          .class_weight = c.optional_input("class_weight"), .ignore_index = c.integer("ignore_index", -100), .reduction = reduction(c)};
      c.output("y", nll_loss(c.input("x", images), target, options));
      c.check_gradients();
    });
  });

  registry.add("bce_with_logits", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const auto x = c.input("x"), target = c.input("target");
    const BinaryCrossEntropyOptions<T, D> options{
        .weight = c.optional_input("weight"), .pos_weight = c.optional_input("pos_weight"), .reduction = reduction(c)};
    c.output("y", binary_cross_entropy_with_logits(x, target, options));
    c.check_gradients();
  });

  registry.add("sigmoid_focal_loss", [](auto& c) {
    const auto x = c.input("x"), target = c.input("target");
    c.output("y", sigmoid_focal_loss(x, target, {.alpha = c.number("alpha"), .gamma = c.number("gamma"), .reduction = reduction(c)}));
    c.check_gradients();
  });

  registry.add("regression_loss", regression);
}

}  // namespace segnet::golden
