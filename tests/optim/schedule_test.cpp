#include "segnet/optim/schedule.hpp"

#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::optim;

namespace {
void check_lr(const Schedule& schedule, const std::vector<std::pair<index_t, double>>& expected) {
  for (const auto& [t, lr] : expected) {
    CAPTURE(t);
    CHECK(std::abs(schedule.lr(t) - lr) < 1e-15);
  }
}
}  // namespace

TEST_CASE("schedules: values by hand") {
  check_lr(ConstantSchedule{0.3}, {{0, 0.3}, {1000, 0.3}});
  check_lr(StepSchedule{1, 10, 0.5}, {{0, 1}, {9, 1}, {10, 0.5}, {29, 0.25}});
  check_lr(MultiStepSchedule{1, {3, 5}, 0.1}, {{2, 1}, {3, 0.1}, {4, 0.1}, {5, 0.01}, {50, 0.01}});
  check_lr(ExponentialSchedule{2, 0.5}, {{0, 2}, {3, 0.25}});
  check_lr(PolySchedule{1, 4, 2, 0}, {{0, 1}, {2, 0.25}, {4, 0}, {9, 0}});
  check_lr(PolySchedule{1, 4, 1, 0.2}, {{0, 1}, {2, 0.6}, {4, 0.2}, {9, 0.2}});
  check_lr(CosineSchedule{1, 10, 0.5}, {{0, 1}, {5, 0.75}, {10, 0.5}});
  check_lr(LinearWarmupSchedule{1, 4, 0.2}, {{0, 0.2}, {2, 0.6}, {4, 1}, {8, 1}});
  check_lr(WarmupPolySchedule{{1, 8, 1, 0}, 4, 0.5}, {{0, 0.5}, {2, 0.75 * 0.75}, {4, 0.5}, {8, 0}});
  check_lr(WarmupCosineSchedule{1, 14, 4, 0.5}, {{0, 0.25}, {3, 1}, {4, 1}, {9, 0.75}, {14, 0.5}});
  check_lr(Schedule([](index_t t) { return static_cast<double>(t) / 2; }), {{3, 1.5}});
}

TEST_CASE("make_schedule: by name, the same values") {
  const ScheduleOptions o{.base = 0.3,
                          .total = 50,
                          .power = 0.8,
                          .min_lr = 0.01,
                          .step_size = 7,
                          .milestones = {5, 20},
                          .gamma = 0.4,
                          .warmup = 9,
                          .warmup_ratio = 0.1};
  const PolySchedule poly{0.3, 50, 0.8, 0.01};
  const std::vector<std::pair<const char*, Schedule>> named = {
      {"constant", ConstantSchedule{0.3}},
      {"step", StepSchedule{0.3, 7, 0.4}},
      {"multistep", MultiStepSchedule{0.3, {5, 20}, 0.4}},
      {"exponential", ExponentialSchedule{0.3, 0.4}},
      {"poly", poly},
      {"cosine", CosineSchedule{0.3, 50, 0.01}},
      {"linear_warmup", LinearWarmupSchedule{0.3, 9, 0.1}},
      {"warmup_poly", WarmupPolySchedule{poly, 9, 0.1}},
      {"warmup_cosine", WarmupCosineSchedule{0.3, 50, 9, 0.01}},
  };
  for (const auto& [name, schedule] : named)
    for (index_t t = 0; t <= 60; ++t) {
      INFO(name);
      CHECK(make_schedule(name, o).lr(t) == schedule.lr(t));
    }
  CHECK_THROWS_WITH_AS(void(make_schedule("polly", o)), doctest::Contains("warmup_poly or warmup_cosine, got 'polly'"), ValueError);
  CHECK_THROWS_WITH_AS(void(make_schedule("poly", {.total = 0})), doctest::Contains("argument 'total': expected at least 1 for 'poly'"),
                       ValueError);
  CHECK_THROWS_AS(void(make_schedule("step", {.step_size = 0})), ValueError);
  CHECK_THROWS_AS(void(make_schedule("warmup_cosine", {.total = 5, .warmup = 5})), ValueError);
}
