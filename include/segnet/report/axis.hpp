// The range of a chart's axis and its ticks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "segnet/report/text.hpp"

namespace segnet::report {

/// From data values to [0, 1] along an axis, linear or logarithmic.
struct Axis {
  double low = 0, high = 1;
  bool log = false;
  std::vector<double> ticks;        ///< inside [low, high], rising
  std::vector<std::string> labels;  ///< one per tick

  /// Where a value lies: 0 at `low`, 1 at `high`. Not finite where the value has no place: NaN, infinity, and on a logarithmic axis
  /// whatever is not positive.
  [[nodiscard]] double position(double value) const {
    if (!std::isfinite(value)) return NAN;
    if (log) return value > 0 ? (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low)) : NAN;
    return (value / 2 - low / 2) / (high / 2 - low / 2);  // halves: the range may be larger than the largest double
  }
};

namespace detail {

/// The smallest of 1, 2, 5 times a power of ten that is at least `length`.
inline double nice_step(double length) {
  const double magnitude = std::pow(10, std::floor(std::log10(length)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (length <= factor * magnitude * (1 + 1e-9)) return factor * magnitude;
  return 10 * magnitude;
}

/// Labels of ticks that lie `step` apart, with as many decimals as tell them apart: plain numbers, thousands, millions, ... from
/// 10,000 on, and exponents where a step is below 0.0001 or a number beyond 10^15.
inline std::vector<std::string> tick_labels(const std::vector<double>& ticks, double step) {
  double largest = 0;
  for (const double t : ticks) largest = std::max(largest, std::abs(t));
  double unit = 1;
  const char* suffix = "";
  for (const auto& [size, letter] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}})
    if (unit == 1 && largest >= (size == 1e3 ? 1e4 : size) && largest < 1e15 && step >= 0.99e-3 * size) unit = size, suffix = letter;
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step / unit) + 1e-9)));
  const bool plain = decimals <= 4 && largest < 1e15;
  const int digits = 1 + static_cast<int>(std::floor(std::log10(largest)) - std::floor(std::log10(step) + 1e-9));
  std::vector<std::string> labels;
  for (const double t : ticks) labels.push_back(t == 0 ? "0" : plain ? fixed(t / unit, decimals) + suffix : scientific(t, digits));
  return labels;
}

/// `low` and `high` moved apart until something can be drawn between them.
inline void widen(double& low, double& high, bool log) {
  constexpr double limit = 1e300;  // so that sums and steps stay finite
  low = std::clamp(low, log ? 1e-300 : -limit, limit);
  high = std::clamp(high, log ? 1e-300 : -limit, limit);
  if (high - low > 1e-9 * std::max(std::abs(low), std::abs(high)) && high - low > 1e-290) return;
  if (log) low /= 2, high *= 2;
  else if (std::abs(low) < 1e-280) low = 0, high = 1;
  else {
    const double margin = 0.1 * std::abs(low);
    low -= margin;
    high += margin;
  }
}

}  // namespace detail

struct AxisOptions {
  bool log = false;     ///< ticks at powers of ten, or closer where less than two of them fit; both ends must be positive
  bool rounded = true;  ///< let the range grow to the next ticks
  bool whole = false;   ///< no ticks between whole numbers: for epochs and iterations
  int count = 6;        ///< about so many ticks
};

/// An axis for values that span [low, high], of any order of magnitude, with ticks at 1, 2 or 5 times powers of ten. Equal ends are
/// moved apart, and ends that are NaN or the wrong way round give [0, 1].
[[nodiscard]] inline Axis make_axis(double low, double high, const AxisOptions& options = {}) {
  const auto [log, rounded, whole, count] = options;
  Axis axis;
  axis.log = log;
  if (!(low <= high)) low = log ? 0.1 : 0, high = 1;
  detail::widen(low, high, log);
  axis.low = low;
  axis.high = high;

  if (log) {
    const double first = std::floor(std::log10(low) + 1e-9), last = std::ceil(std::log10(high) - 1e-9);
    if (rounded && last - first <= 2 * std::log10(high / low)) axis.low = std::pow(10, first), axis.high = std::pow(10, last);
    const double every = std::max(1.0, std::ceil((last - first) / count));
    const bool sparse = std::log10(axis.high / axis.low) < 2.5;
    for (double e = first; e <= last; e += every)
      for (const double factor : {1.0, 2.0, 5.0}) {
        const double tick = factor * std::pow(10, e);
        if ((factor == 1 || sparse) && tick >= axis.low * (1 - 1e-9) && tick <= axis.high * (1 + 1e-9)) axis.ticks.push_back(tick);
      }
    if (axis.ticks.size() >= 2) {
      for (const double tick : axis.ticks) axis.labels.push_back(number(tick, 6));
      return axis;
    }
    axis.ticks.clear();  // less than a factor of 2.5 or so: linear ticks serve
  }

  const double spacing = axis.high / count - axis.low / count;
  const double step = whole && spacing < 1 ? 1 : detail::nice_step(spacing);
  if (rounded && !log) {
    axis.low = std::floor(low / step + 1e-6) * step;
    axis.high = std::ceil(high / step - 1e-6) * step;
  }
  const double first = std::ceil(axis.low / step - 1e-6), last = std::floor(axis.high / step + 1e-6);
  for (double i = first; i <= last; ++i) axis.ticks.push_back(i == 0 ? 0 : i * step);
  axis.labels = detail::tick_labels(axis.ticks, step);
  return axis;
}

}  // namespace segnet::report
