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

/// Median seconds of a call of each contender; each has been called before. What takes ten times as long as the fastest is measured
/// once: it is out of the race, and would take all the time.
inline std::vector<double> medians_in_turns(const std::vector<std::function<void()>>& contenders, const Turns& turns = {}) {
  using clock = std::chrono::steady_clock;
  const auto seconds = [](const std::function<void()>& call, int calls) {
    const auto start = clock::now();
    for (int i = 0; i < calls; ++i) call();
    return std::chrono::duration<double>(clock::now() - start).count() / calls;
  };
  const std::size_t n = contenders.size();
  std::vector<double> once;
  for (const auto& call : contenders) once.push_back(seconds(call, 1));
  const double fastest = n ? *std::min_element(once.begin(), once.end()) : 0;

  std::vector<std::vector<double>> times(n);
  const auto start = clock::now();
  for (int round = 0; round < turns.most; ++round) {
    if (round >= turns.least && std::chrono::duration<double>(clock::now() - start).count() > turns.seconds) break;
    for (std::size_t turn = 0; turn < n; ++turn) {
      const std::size_t k = (turn + static_cast<std::size_t>(round)) % n;  // nobody always follows the same one
      if (once[k] > 10 * fastest && once[k] > turns.sample_seconds) {
        if (round == 0) times[k].push_back(once[k]);
        continue;
      }
      times[k].push_back(seconds(contenders[k], std::clamp(static_cast<int>(turns.sample_seconds / std::max(once[k], 1e-7)), 1, 10000)));
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
