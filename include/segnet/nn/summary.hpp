// What a network is made of: layers, output shapes, parameters, multiply-adds, memory of the activations.
#pragma once

#include <cstdio>
#include <map>

#include "segnet/nn/module.hpp"
#include "segnet/nn/observer.hpp"

namespace segnet::nn {

struct SummaryRow {
  std::string name, type;  ///< "down.0.0", "Conv2d"
  Shape output;
  index_t parameters = 0;
  index_t multiply_adds = 0;
};

struct Summary {
  std::vector<SummaryRow> rows;  ///< layers in the order of their calls
  Shape input, output;
  index_t parameters = 0;          ///< all trainable elements, those of layers that were not called too
  index_t multiply_adds = 0;       ///< one multiplication and one addition each: FLOPs = 2 * multiply_adds
  index_t activation_bytes = 0;    ///< the layers' outputs, all of them: about what training keeps
  std::size_t inference_peak = 0;  ///< bytes of tensors during this forward pass, beyond what was there before
};

/// 1234567 -> "1,234,567"
[[nodiscard]] inline std::string grouped(index_t n) {
  std::string s = std::to_string(n);
  for (int i = static_cast<int>(s.size()) - 3; i > (n < 0 ? 1 : 0); i -= 3) s.insert(static_cast<std::size_t>(i), 1, ',');
  return s;
}

/// Runs the network once on zeros of that shape, without gradients and in inference mode (its training flags are restored),
/// and lists what its layers did. T is the element type that it computes in.
template <class T = float, class D = Cpu, class M>
[[nodiscard]] Summary summarize(M& module, const Shape& input) {
  std::map<const void*, std::string> by_address;  // a layer and its first member may share an address
  std::map<std::string, index_t> own_parameters;
  std::vector<std::pair<bool*, bool>> flags;
  for_each_module(module, [&](const std::string& name, auto& m) {
    by_address[&m] = name;  // children come after parents: the innermost module stays
    own_parameters[name] = num_parameters(m);
    if constexpr (requires { m.training = true; }) flags.emplace_back(&m.training, m.training);
  });

  Summary summary;
  summary.input = input;
  summary.parameters = num_parameters(module);
  const Observer observer = [&](const LayerCall& call) {
    const auto found = by_address.find(call.layer);
    const std::string name = found == by_address.end() ? "-" : found->second;
    summary.rows.push_back({name, call.type, call.output, found == by_address.end() ? 0 : own_parameters[name], call.multiply_adds});
    summary.multiply_adds += call.multiply_adds;
    summary.activation_bytes += call.output.numel() * static_cast<index_t>(sizeof(T));
  };
  eval(module);
  const std::size_t before = memory_stats<D>().in_use;
  reset_peak_memory<D>();
  try {
    NoGrad guard;
    ObserveLayers watching(observer);
    summary.output = module(zeros<T, D>(input)).shape();
  } catch (...) {
    for (const auto& [flag, value] : flags) *flag = value;
    throw;
  }
  summary.inference_peak = memory_stats<D>().peak - before;
  for (const auto& [flag, value] : flags) *flag = value;
  return summary;
}

/// The same as a table to print.
[[nodiscard]] inline std::string to_string(const Summary& s) {
  std::size_t name_width = 5, type_width = 4, shape_width = 12;
  for (const auto& row : s.rows) {
    name_width = std::max(name_width, row.name.size());
    type_width = std::max(type_width, row.type.size());
    shape_width = std::max(shape_width, to_string(row.output).size());
  }
  const auto line = [&](const std::string& name, const std::string& type, const std::string& shape, const std::string& parameters,
                        const std::string& macs) {
    char buffer[512];
    std::snprintf(buffer, sizeof buffer, "%-*s  %-*s  %-*s  %14s  %18s\n", static_cast<int>(name_width), name.c_str(),
                  static_cast<int>(type_width), type.c_str(), static_cast<int>(shape_width), shape.c_str(), parameters.c_str(),
                  macs.c_str());
    return std::string(buffer);
  };
  std::string text = line("layer", "type", "output shape", "parameters", "multiply-adds");
  text += std::string(name_width + type_width + shape_width + 40, '-') + "\n";
  for (const auto& row : s.rows)
    text += line(row.name, row.type, to_string(row.output), row.parameters ? grouped(row.parameters) : "",
                 row.multiply_adds ? grouped(row.multiply_adds) : "");
  text += std::string(name_width + type_width + shape_width + 40, '-') + "\n";
  const auto mib = [](double bytes) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.1f MiB", bytes / 1048576);
    return std::string(buffer);
  };
  char gflop[64];
  std::snprintf(gflop, sizeof gflop, "%.3f", 2e-9 * static_cast<double>(s.multiply_adds));
  text += concat("input ", s.input, " -> output ", s.output, "\n");
  text += concat("parameters        ", grouped(s.parameters), "\n");
  text += concat("multiply-adds     ", grouped(s.multiply_adds), "  (", gflop,
                 " GFLOP: two per multiply-add; convolutions and matrix products only)\n");
  text +=
      concat("activations       ", mib(static_cast<double>(s.activation_bytes)), "  (the layers' outputs; about what training keeps)\n");
  text += concat("inference memory  ", mib(static_cast<double>(s.inference_peak)), "  (peak, beyond the weights)\n");
  return text;
}

/// `std::puts(summary(model, {1, 256, 256, 3}).c_str())`
template <class T = float, class D = Cpu, class M>
[[nodiscard]] std::string summary(M& module, const Shape& input) {
  return to_string(summarize<T, D>(module, input));
}

}  // namespace segnet::nn
