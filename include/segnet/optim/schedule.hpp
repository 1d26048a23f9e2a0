// Learning rates as functions of the step t = 0, 1, 2, ...: small values, computed directly, so that a resumed training only needs t.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>
#include <vector>

#include "segnet/core/config.hpp"
#include "segnet/core/error.hpp"

namespace segnet::optim {

/// base
struct ConstantSchedule {
  double base = 0.1;
  [[nodiscard]] double lr(index_t) const { return base; }
};

/// base gamma^floor(t / step_size)
struct StepSchedule {
  double base = 0.1;
  index_t step_size = 30;
  double gamma = 0.1;
  [[nodiscard]] double lr(index_t t) const {
    const index_t falls = t / step_size;
    return base * std::pow(gamma, static_cast<double>(falls));
  }
};

/// base gamma^(number of milestones <= t)
struct MultiStepSchedule {
  double base = 0.1;
  std::vector<index_t> milestones = {};
  double gamma = 0.1;
  [[nodiscard]] double lr(index_t t) const {
    const auto passed = std::count_if(milestones.begin(), milestones.end(), [=](index_t m) { return m <= t; });
    return base * std::pow(gamma, static_cast<double>(passed));
  }
};

/// base gamma^t
struct ExponentialSchedule {
  double base = 0.1;
  double gamma = 0.995;
  [[nodiscard]] double lr(index_t t) const { return base * std::pow(gamma, static_cast<double>(t)); }
};

/// (base - min_lr) (1 - t / total)^power + min_lr, min_lr from t = total on. The schedule of DeepLab and PSPNet.
struct PolySchedule {
  double base = 0.01;
  index_t total = 1;
  double power = 0.9;
  double min_lr = 0;
  [[nodiscard]] double lr(index_t t) const {
    const double done = static_cast<double>(std::min(t, total)) / static_cast<double>(total);
    return (base - min_lr) * std::pow(1 - done, power) + min_lr;
  }
};

/// min_lr + (base - min_lr) (1 + cos(pi t / total)) / 2 (Loshchilov & Hutter, arXiv:1608.03983). Rises again behind t = total.
struct CosineSchedule {
  double base = 0.1;
  index_t total = 1;
  double min_lr = 0;
  [[nodiscard]] double lr(index_t t) const {
    return min_lr + (base - min_lr) * (1 + std::cos(3.14159265358979323846 * static_cast<double>(t) / static_cast<double>(total))) / 2;
  }
};

/// base (f + (1 - f) min(t, warmup) / warmup) with f = start_factor
struct LinearWarmupSchedule {
  double base = 0.1;
  index_t warmup = 1;
  double start_factor = 1e-3;
  [[nodiscard]] double lr(index_t t) const {
    return base * (start_factor + (1 - start_factor) * static_cast<double>(std::min(t, warmup)) / static_cast<double>(warmup));
  }
};

/// PolySchedule times 1 - (1 - t / warmup) (1 - ratio) while t < warmup. The schedule of SegFormer.
struct WarmupPolySchedule {
  PolySchedule poly;
  index_t warmup = 1500;
  double ratio = 1e-6;
  [[nodiscard]] double lr(index_t t) const {
    if (t >= warmup) return poly.lr(t);
    return poly.lr(t) * (1 - (1 - static_cast<double>(t) / static_cast<double>(warmup)) * (1 - ratio));
  }
};

/// base (t + 1) / warmup while t < warmup, then a CosineSchedule over the remaining steps. The schedule of InternImage.
struct WarmupCosineSchedule {
  double base = 1e-3;
  index_t total = 1;
  index_t warmup = 0;
  double min_lr = 0;
  [[nodiscard]] double lr(index_t t) const {
    if (t < warmup) return base * static_cast<double>(t + 1) / static_cast<double>(warmup);
    return CosineSchedule{base, total - warmup, min_lr}.lr(t - warmup);
  }
};

/// Any of these, or any function of t: what a program holds that chooses at run time.
class Schedule {
 public:
  template <class S>
    requires requires(const S& s) { static_cast<double>(s.lr(index_t{})); }
  Schedule(S schedule) : lr_([schedule](index_t t) { return schedule.lr(t); }) {}  // NOLINT: converts
  explicit Schedule(std::function<double(index_t)> lr) : lr_(std::move(lr)) {}

  [[nodiscard]] double lr(index_t t) const { return lr_(t); }

 private:
  std::function<double(index_t)> lr_;
};

/// The numbers that schedules are made of; each takes those that its formula names.
struct ScheduleOptions {
  double base = 0.01;
  index_t total = 1;                     ///< steps of the whole training
  double power = 0.9;                    ///< poly, warmup_poly
  double min_lr = 0;                     ///< poly, cosine, warmup_poly, warmup_cosine
  index_t step_size = 30;                ///< step
  std::vector<index_t> milestones = {};  ///< multistep
  double gamma = 0.1;                    ///< step, multistep, exponential
  index_t warmup = 1;                    ///< linear_warmup, warmup_poly, warmup_cosine
  double warmup_ratio = 1e-6;            ///< linear_warmup (its start factor), warmup_poly
};

/// The schedule of that name: constant, step, multistep, exponential, poly, cosine, linear_warmup, warmup_poly, warmup_cosine.
/// @throws ValueError: another name, or numbers that the schedule would divide by zero with
[[nodiscard]] inline Schedule make_schedule(std::string_view name, const ScheduleOptions& o) {
  const auto at_least_one = [&](const char* argument, index_t n) {
    if (n < 1) throw ValueError("make_schedule", argument, concat("at least 1 for '", name, "'"), concat(n));
  };
  if (name == "constant") return ConstantSchedule{o.base};
  if (name == "exponential") return ExponentialSchedule{o.base, o.gamma};
  if (name == "multistep") return MultiStepSchedule{o.base, o.milestones, o.gamma};
  if (name == "step") return at_least_one("step_size", o.step_size), StepSchedule{o.base, o.step_size, o.gamma};
  if (name == "linear_warmup") return at_least_one("warmup", o.warmup), LinearWarmupSchedule{o.base, o.warmup, o.warmup_ratio};
  const PolySchedule poly{o.base, o.total, o.power, o.min_lr};
  if (name == "poly") return at_least_one("total", o.total), poly;
  if (name == "cosine") return at_least_one("total", o.total), CosineSchedule{o.base, o.total, o.min_lr};
  if (name == "warmup_poly") return at_least_one("total", o.total), WarmupPolySchedule{poly, o.warmup, o.warmup_ratio};
  if (name == "warmup_cosine")
    return at_least_one("total - warmup", o.total - o.warmup), WarmupCosineSchedule{o.base, o.total, o.warmup, o.min_lr};
  throw ValueError("make_schedule", "name",
                   "constant, step, multistep, exponential, poly, cosine, linear_warmup, warmup_poly or warmup_cosine",
                   concat("'", name, "'"));
}

}  // namespace segnet::optim
