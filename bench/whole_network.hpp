// Whole networks in turns with other libraries', and the memory that each takes: what unet_bench and networks_bench share.
//
// Peak memory is the growth of the resident set of a process of its own, from the built network on, over two runs: the same measure for
// everybody, caches of allocators and copies in other layouts included.
#pragma once

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "interleaved.hpp"
#include "segnet/core/build_info.hpp"

/// One library's network, built, its input at hand.
struct NetworkRunner {
  virtual ~NetworkRunner() = default;
  virtual void run() = 0;                             ///< a training step, or an inference
  virtual std::vector<float> output() { return {}; }  ///< of the last run, channels last; empty: not compared
  virtual void watch_memory() = 0;                    ///< from now on
  virtual double watched_mib() = 0;                   ///< largest growth of what the library's tensors hold
};

/// A library in a row of the table.
struct Participant {
  std::string name;
  std::function<std::unique_ptr<NetworkRunner>()> make;  ///< null: the library cannot run it
};

/// What was measured of a participant; 0: not measured.
struct Measured {
  double milliseconds = 0, peak_mib = 0, tensors_mib = 0;
  double off = 0;  ///< largest difference of its output from the first one's, relative to the largest of that
};

/// A network under certain conditions. The first participant is ours.
struct NetworkRow {
  std::vector<std::pair<std::string, std::string>> labels;  ///< columns: {"network", "U-Net"}, ...
  std::vector<Participant> participants;
  std::vector<Measured> measured = std::vector<Measured>(participants.size());
};

struct NetworkOptions {
  static constexpr const char* help = R"(  --threads N,M,...   instead of 1,2
  --rounds N          turns of everybody, at least (5)
  --memory, --time    only that
  --output DIR        of the JSON file (out/bench)
)";
  std::vector<int> threads = {1, 2};
  int rounds = 5;
  bool memory = true, time = true;
  std::string output = "out/bench";

  static std::vector<int> numbers(const std::string& text) {
    std::vector<int> list;
    std::istringstream in(text);
    for (std::string word; std::getline(in, word, ',');) list.push_back(std::stoi(word));
    return list;
  }

  /// Reads the command line: `other(option, value)` is given what is not known here, and says whether it knows it. `help` is printed for
  /// --help and before an option without value.
  void parse(int argc, char** argv, const std::string& usage, const std::function<bool(const std::string&, const std::string&)>& other) {
    for (int i = 1; i < argc; ++i) {
      const std::string option = argv[i];
      if (option == "--memory" || option == "--time") {
        (option == "--memory" ? time : memory) = false;
        continue;
      }
      if (option == "--help" || ++i == argc) {
        std::fputs((usage + help).c_str(), stdout);
        std::exit(option == "--help" ? 0 : 2);
      }
      const std::string value = argv[i];
      if (option == "--threads") threads = numbers(value);
      else if (option == "--rounds") rounds = std::stoi(value);
      else if (option == "--output") output = value;
      else if (!other(option, value)) throw segnet::ValueError("bench", option, "an option of --help", value);
    }
  }
};

namespace detail {

/// A line of /proc/self/status, in MiB: "VmRSS:", "VmHWM:" (the largest it was).
inline double status_mib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == name && status >> kib) return kib / 1024;
  }
  return 0;
}

/// Runs a fresh process for a participant's peaks. Called before any thread exists.
inline void measure_memory(const Participant& participant, Measured& measured) {
  int channel[2];
  if (pipe(channel) != 0) return;
  const pid_t child = fork();
  if (child == 0) {
    const auto runner = participant.make();
    if (!runner) _exit(0);
    runner->watch_memory();
    malloc_trim(0);                               // what loading took
    std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM starts again
    const double before = status_mib("VmRSS:");
    for (int i = 0; i < 2; ++i) runner->run();
    const double mib[2] = {status_mib("VmHWM:") - before, runner->watched_mib()};
    _exit(write(channel[1], mib, sizeof mib) == sizeof mib ? 0 : 1);
  }
  close(channel[1]);  // so that reading ends if the child does
  double mib[2] = {0, 0};
  if (read(channel[0], mib, sizeof mib) == sizeof mib) measured.peak_mib = mib[0], measured.tensors_mib = mib[1];
  close(channel[0]);
  waitpid(child, nullptr, 0);
}

/// In turns, after a first run of everybody whose outputs are compared.
inline void measure_time(NetworkRow& row, int rounds) {
  std::vector<std::unique_ptr<NetworkRunner>> runners;
  std::vector<std::function<void()>> calls;
  std::vector<double> first;
  std::vector<Measured*> measured;
  std::vector<float> ours;
  for (std::size_t k = 0; k < row.participants.size(); ++k) {
    auto runner = row.participants[k].make();
    if (!runner) continue;
    calls.push_back([r = runner.get()] { r->run(); });
    first.push_back(seconds_of(calls.back()));
    measured.push_back(&row.measured[k]);
    const std::vector<float> y = runner->output();
    if (k == 0) ours = y;
    float difference = 0, largest = 0;
    for (std::size_t i = 0; i < y.size() && y.size() == ours.size(); ++i) {
      const float d = std::abs(y[i] - ours[i]);
      if (!(d <= difference)) difference = d < INFINITY ? d : INFINITY;  // not a number: infinitely far
      largest = std::max(largest, std::abs(y[i]));
    }
    row.measured[k].off = y.size() != ours.size() ? 1 : largest > 0 ? std::min(difference / largest, 1.0F) : 0;
    runners.push_back(std::move(runner));
  }
  const auto medians = medians_in_turns(calls, first, {.least = rounds, .most = std::max(rounds, 25), .seconds = 10});
  for (std::size_t i = 0; i < medians.size(); ++i) measured[i]->milliseconds = medians[i] * 1e3;
}

}  // namespace detail

/// Measures all rows, prints them as a table and writes them to `file` in options.output. Whose output is off by more than `tolerance` is
/// named, and what is returned, the program's exit code, is 1 then.
inline int compare_networks(std::vector<NetworkRow>& rows, const NetworkOptions& options, const std::string& file, double tolerance = 0) {
  if (rows.empty()) throw segnet::Error("nothing to measure is left by these options");
  if (options.memory)
    for (NetworkRow& row : rows)
      for (std::size_t k = 0; k < row.participants.size(); ++k) detail::measure_memory(row.participants[k], row.measured[k]);

  const auto& all = rows[0].participants;
  std::printf("%s\n\n|", to_string(segnet::build_info()).c_str());
  for (const auto& label : rows[0].labels) std::printf(" %s |", label.first.c_str());
  for (const char* unit : {"ms", "MiB"}) {
    for (const auto& participant : all) std::printf(" %s %s |", participant.name.c_str(), unit);
    for (std::size_t k = 1; k < all.size(); ++k) std::printf(*unit == 'M' ? " of %s's |" : " times %s |", all[k].name.c_str());
  }
  std::puts("");
  for (std::size_t i = 0; i + 2 < rows[0].labels.size() + 4 * all.size(); ++i) std::printf("| --- ");
  std::puts("|");

  int exit_code = 0;
  for (NetworkRow& row : rows) {
    if (options.time) detail::measure_time(row, options.rounds);
    for (const auto& label : row.labels) std::printf("| %s ", label.second.c_str());
    const auto cell = [](double value, int decimals) { value > 0 ? std::printf("| %.*f ", decimals, value) : std::printf("| "); };
    const Measured& ours = row.measured[0];
    for (const Measured& m : row.measured) cell(m.milliseconds, 1);
    for (std::size_t k = 1; k < all.size(); ++k) cell(ours.milliseconds > 0 ? row.measured[k].milliseconds / ours.milliseconds : 0, 2);
    for (const Measured& m : row.measured) cell(m.peak_mib, 0);
    for (std::size_t k = 1; k < all.size(); ++k) cell(row.measured[k].peak_mib > 0 ? ours.peak_mib / row.measured[k].peak_mib : 0, 2);
    std::puts("|");
    for (std::size_t k = 1; k < all.size(); ++k)
      if (!(row.measured[k].off <= tolerance)) {
        std::printf("%s computes something else than %s: off by %.1e of the largest\n", all[k].name.c_str(), all[0].name.c_str(),
                    row.measured[k].off);
        exit_code = 1;
      }
    std::fflush(stdout);
  }

  const std::string path = options.output + "/" + file;
  std::ofstream out(path);
  const char* between = "[";
  for (const NetworkRow& row : rows)
    for (std::size_t k = 0; k < all.size(); ++k) {
      out << between << "\n  {";
      for (const auto& [name, value] : row.labels) out << "\"" << name << "\": \"" << value << "\", ";
      const Measured& m = row.measured[k];
      out << "\"library\": \"" << all[k].name << "\", \"milliseconds\": " << m.milliseconds << ", \"peak_mib\": " << m.peak_mib
          << ", \"tensors_mib\": " << m.tensors_mib << ", \"off\": " << m.off << "}";
      between = ",";
    }
  out << "\n]\n";
  if (!out) throw segnet::IoError(path, "cannot be written");
  return exit_code;
}
