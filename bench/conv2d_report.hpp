// What the convolution benchmark says: rows of a Markdown table, how far the targets are met, JSON, and a roofline plot.
#pragma once

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "conv2d_bench.hpp"
#include "segnet/io/json.hpp"
#include "segnet/report/svg.hpp"

inline const char* pass_name(ConvPass pass) {
  return pass == ConvPass::forward ? "forward" : pass == ConvPass::grad_input ? "backward_data" : "backward_weight";
}

/// A row as --list and --filter name it.
inline std::string row_name(const std::string& layer, ConvPass pass, int threads) {
  return segnet::concat(layer, "/", pass_name(pass), "/", threads);
}

/// GFLOP/s by name.
using Speeds = std::vector<std::pair<std::string, double>>;

struct ConvRow {
  std::string layer;
  ConvProblem problem;
  int threads = 1;
  double peak = 0;     ///< GFLOP/s of fused multiply-adds on registers alone, measured just before
  double roof = 0;     ///< the same, or what memory allows where that is less
  std::string chosen;  ///< the algorithm that `automatic` stands for
  Speeds own{}, peers{};

  std::string name() const { return row_name(layer, problem.pass, threads); }
  double intensity() const { return segnet::kernels::flops(problem.g) / segnet::kernels::compulsory_bytes(problem.g, sizeof(float)); }
};

/// The speed of the fastest of those; 0 if none of them took part.
inline double fastest(const Speeds& speeds, const std::vector<std::string>& names) {
  double best = 0;
  for (const auto& [name, speed] : speeds)
    if (std::find(names.begin(), names.end(), name) != names.end()) best = std::max(best, speed);
  return best;
}
inline double automatic(const ConvRow& row) { return fastest(row.own, {"automatic"}); }

/// Peers that stand together in the table.
inline const std::vector<std::string> onednn_own = {"onednn_direct", "onednn_winograd"};
inline const std::vector<std::string> onednn_plain = {"onednn_direct_nhwc", "onednn_direct_nchw", "onednn_winograd_nhwc"};
inline const std::vector<std::string> libtorch = {"torch", "torch_nhwc"};

inline void print_head() {
  std::puts(
      "GFLOP/s, medians. roof: per cent of the nearer ceiling, multiply-adds or memory. oneDNN direct and Winograd in its own layouts,");
  std::puts("plain: the best of its ways from and to plain layouts; LibTorch: the better of its two layouts.\n");
  std::puts("| layer | pass | threads | segnet | roof | algorithm | direct | Winograd | plain | LibTorch | to oneDNN | to LibTorch |");
  std::puts("| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
}

inline void print_row(const ConvRow& row) {
  const auto cell = [](double value, int decimals) { return value > 0 ? segnet::report::fixed(value, decimals) : std::string(); };
  const double ours = automatic(row), own = fastest(row.peers, onednn_own), torch = fastest(row.peers, libtorch);
  std::printf("| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", row.layer.c_str(), pass_name(row.problem.pass),
              row.threads, cell(ours, 1).c_str(), cell(100 * ours / row.roof, 0).c_str(), row.chosen.c_str(),
              cell(fastest(row.peers, {"onednn_direct"}), 1).c_str(), cell(fastest(row.peers, {"onednn_winograd"}), 1).c_str(),
              cell(fastest(row.peers, onednn_plain), 1).c_str(), cell(torch, 1).c_str(), cell(own > 0 ? ours / own : 0, 2).c_str(),
              cell(torch > 0 ? ours / torch : 0, 2).c_str());
  std::fflush(stdout);
}

/// Rows whose `automatic` is more than 5 per cent slower than the best algorithm.
inline void print_choices(const std::vector<ConvRow>& rows) {
  std::size_t wrong = 0;
  for (const ConvRow& row : rows) {
    if (row.own.empty()) continue;
    const auto best = std::max_element(row.own.begin(), row.own.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (automatic(row) >= 0.95 * best->second) continue;
    if (wrong++ == 0) std::puts("");
    std::printf("%s: automatic is %s at %.1f GFLOP/s, %s reaches %.1f\n", row.name().c_str(), row.chosen.c_str(), automatic(row),
                best->first.c_str(), best->second);
  }
  std::printf("\n`automatic` is within 5 %% of the best algorithm in %zu of %zu rows.\n", rows.size() - wrong, rows.size());
}

/// How much faster than whom segnet is meant to be, for what.
struct ConvTarget {
  const char *what, *than;
  std::vector<std::string> peers;  ///< the fastest of these
  double ratio;
  bool (*covers)(const ConvProblem&);
};
inline std::vector<ConvTarget> conv_targets() {
  static constexpr auto plain = [](const ConvProblem& p) { return !p.transposed && !p.depthwise() && p.pass != ConvPass::grad_weight; };
  static constexpr auto dense_3x3 = [](const ConvProblem& p) {
    return plain(p) && p.g.kh == 3 && p.g.kw == 3 && p.g.groups == 1 && p.g.stride == segnet::Extent2(1);
  };
  static constexpr auto other = [](const ConvProblem& p) { return plain(p) && !dense_3x3(p); };
  static constexpr auto weight = [](const ConvProblem& p) { return !p.transposed && !p.depthwise() && p.pass == ConvPass::grad_weight; };
  static constexpr auto depthwise = [](const ConvProblem& p) { return !p.transposed && p.depthwise(); };
  static constexpr auto transposed = [](const ConvProblem& p) { return p.transposed; };
  return {{"3x3 stride 1, forward and backward data", "oneDNN's best in its own layouts", onednn_own, 1, dense_3x3},
          {"3x3 stride 1, forward and backward data", "LibTorch", libtorch, 2.5, dense_3x3},
          {"others, forward and backward data", "oneDNN direct in its own layout", {"onednn_direct"}, 0.95, other},
          {"others, forward and backward data", "oneDNN from and to plain layouts", onednn_plain, 1, other},
          {"backward weight", "oneDNN direct in its own layout", {"onednn_direct"}, 1, weight},
          {"depth-wise", "oneDNN direct in its own layout", {"onednn_direct"}, 1, depthwise},
          {"transposed", "LibTorch", libtorch, 1.5, transposed}};
}

inline void print_targets(const std::vector<ConvRow>& rows) {
  std::puts("\n| rows | times as fast as | target | geometric mean | least | target met in |");
  std::puts("| --- | --- | ---: | ---: | --- | ---: |");
  for (const ConvTarget& target : conv_targets()) {
    double log_sum = 0, least = INFINITY;
    int count = 0, met = 0;
    std::string where;
    for (const ConvRow& row : rows) {
      const double theirs = fastest(row.peers, target.peers);
      if (!target.covers(row.problem) || !(theirs > 0)) continue;
      const double ratio = automatic(row) / theirs;
      log_sum += std::log(ratio);
      ++count;
      met += ratio >= target.ratio;
      if (ratio < least) least = ratio, where = row.name();
    }
    if (count)
      std::printf("| %s | %s | %.2f | %.2f | %.2f (%s) | %d of %d |\n", target.what, target.than, target.ratio, std::exp(log_sum / count),
                  least, where.c_str(), met, count);
  }
}

/// An array of {layer, pass, threads, algorithm, gflops, peak_fraction, roof_fraction, peers: {name: gflops}}, one for each row and
/// algorithm of segnet; `automatic` is the first of a row and says in `chosen` what it stands for.
inline std::string conv_json(const std::vector<ConvRow>& rows) {
  using segnet::append_json_string;
  using segnet::concat;
  std::string json = "[";
  for (const ConvRow& row : rows)
    for (const auto& [algorithm, speed] : row.own) {
      json += json.size() > 1 ? ",\n  {\"layer\": " : "\n  {\"layer\": ";
      append_json_string(json, row.layer);
      json +=
          concat(", \"pass\": \"", pass_name(row.problem.pass), "\", \"threads\": ", row.threads, ", \"algorithm\": \"", algorithm, "\"");
      if (algorithm == "automatic") json += concat(", \"chosen\": \"", row.chosen, "\"");
      json += concat(", \"gflops\": ", speed, ", \"peak_fraction\": ", speed / row.peak, ", \"roof_fraction\": ", speed / row.roof,
                     ", \"peers\": {");
      for (const auto& [name, theirs] : row.peers) json += concat(json.back() == '{' ? "\"" : ", \"", name, "\": ", theirs);
      json += "}}";
    }
  return json + "\n]\n";
}

/// GFLOP/s over the operations for each byte that must be moved, under the ceilings of that many threads; a point is a row.
/// @param bandwidth GB/s of copying what fits no cache   @param peak GFLOP/s
inline std::string conv_roofline(const std::vector<ConvRow>& rows, int threads, double peak, double bandwidth) {
  std::vector<segnet::report::Series> series;
  double low = INFINITY, high = 0;
  for (const ConvRow& row : rows)
    if (row.threads == threads) low = std::min(low, row.intensity()), high = std::max(high, row.intensity());
  segnet::report::Series ceiling{"ceiling"};
  ceiling.x = {low / 1.5, std::max(low / 1.5, peak / bandwidth), 1.5 * std::max(high, peak / bandwidth)};
  for (const double x : ceiling.x) ceiling.y.push_back(std::min(peak, x * bandwidth));
  series.push_back(std::move(ceiling));
  const auto points = [&](const std::string& name, const auto& takes_part, const auto& speed) {
    segnet::report::Series s{name};
    for (const ConvRow& row : rows) {
      if (row.threads != threads || !takes_part(row) || !(speed(row) > 0)) continue;
      s.x.insert(s.x.end(), 2, row.intensity());
      s.y.push_back(speed(row));
      s.y.push_back(NAN);  // a gap behind each point: dots, no line
    }
    if (!s.x.empty()) series.push_back(std::move(s));
  };
  const auto any = [](const ConvRow&) { return true; };
  points("oneDNN, own layouts", any, [](const ConvRow& r) { return fastest(r.peers, onednn_own); });
  points("LibTorch", any, [](const ConvRow& r) { return fastest(r.peers, libtorch); });
  for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight})
    points(segnet::concat("segnet ", pass_name(pass)), [&](const ConvRow& r) { return r.problem.pass == pass; }, automatic);
  return segnet::report::line_chart(series,
                                    {.title = segnet::concat("Convolution, float, ", threads, threads == 1 ? " thread" : " threads"),
                                     .x_label = "operations per byte of x, w and y",
                                     .y_label = "GFLOP/s",
                                     .log_x = true,
                                     .log_y = true,
                                     .width = 720,
                                     .height = 460});
}
