// Times of several contenders, taken in turns, so that a machine that is busy for a while is so for all of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

struct Turns {
  int least = 5, most = 25;      ///< rounds
  double seconds = 3;            ///< stop after that long, but not before the least rounds
  double sample_seconds = 0.01;  ///< a turn is as many calls as that takes
};

/// Seconds of a call, the mean of several.
inline double seconds_of(const std::function<void()>& call, int calls = 1) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

/// Median seconds of a call of each contender, whose first call took `first` seconds. Who takes ten times as long as the fastest is
/// timed once: it is out of the race, and would take all the time.
inline std::vector<double> medians_in_turns(const std::vector<std::function<void()>>& contenders, const std::vector<double>& first,
                                            const Turns& turns = {}) {
  const std::size_t n = contenders.size();
  if (n == 0) return {};
  const auto is_out = [](double seconds, double fastest) { return seconds > std::max(0.1, 10 * fastest); };  // 0.1: not by one hiccup
  const auto fastest = [](const std::vector<double>& all) { return *std::min_element(all.begin(), all.end()); };
  std::vector<double> once = first;  // the better of two calls
  for (std::size_t k = 0; k < n; ++k)
    if (!is_out(first[k], fastest(first))) once[k] = std::min(first[k], seconds_of(contenders[k]));

  std::vector<std::vector<double>> times(n);
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0; round < turns.most; ++round) {
    if (round >= turns.least && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > turns.seconds) break;
    for (std::size_t turn = 0; turn < n; ++turn) {
      const std::size_t k = (turn + static_cast<std::size_t>(round)) % n;  // nobody always follows the same one
      if (is_out(once[k], fastest(once))) {
        if (round == 0) times[k].push_back(once[k]);
        continue;
      }
      times[k].push_back(seconds_of(contenders[k], std::clamp(static_cast<int>(turns.sample_seconds / std::max(once[k], 1e-7)), 1, 10000)));
    }
  }
  std::vector<double> medians;
  for (auto& t : times) {
    const auto middle = t.begin() + static_cast<std::ptrdiff_t>(t.size() / 2);
    std::nth_element(t.begin(), middle, t.end());
    medians.push_back(*middle);
  }
  return medians;
}
