#include <cmath>

#include "segnet/metrics/confusion.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_metrics(Registry& registry) {
  registry.add("confusion", [](auto& c) {
    const index_t classes = c.integer("classes");
    ConfusionMatrix confusion(classes, c.integer("ignore", -1));
    confusion.add(c.template integer_input<std::int32_t>("pred"), c.template integer_input<std::int64_t>("target"));
    c.check("confusion", confusion.counts());

    constexpr Tolerance rounding{.relative = 1e-14};
    const auto scalar = [&](const char* role, std::optional<double> value) {
      c.check_numbers(role, full<double>({}, value.value_or(NAN)), rounding);
    };
    const auto per_class = [&](const char* role, const auto& score) {
      Tensor<double> values({classes});
      for (index_t i = 0; i < classes; ++i) values.data()[i] = score(i).value_or(NAN);
      c.check_numbers(role, values, rounding);
    };
    per_class("iou", [&](index_t i) { return confusion.iou(i); });
    per_class("accuracy", [&](index_t i) { return confusion.accuracy(i); });
    per_class("dice", [&](index_t i) { return confusion.dice(i); });
    per_class("precision", [&](index_t i) { return confusion.precision(i); });
    scalar("miou", confusion.mean_iou());
    scalar("mean_accuracy", confusion.mean_accuracy());
    scalar("pixel_accuracy", confusion.pixel_accuracy());
    scalar("fwiou", confusion.frequency_weighted_iou());
  });
}

}  // namespace segnet::golden
