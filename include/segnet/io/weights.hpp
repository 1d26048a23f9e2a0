// A network's weights as a safetensors file that PyTorch reads and writes: the same names, the same layout.
#pragma once

#include "segnet/core/layout.hpp"
#include "segnet/io/safetensors.hpp"
#include "segnet/nn/module.hpp"

namespace segnet {

/// Shape that a parameter has in PyTorch: convolution weights are [O, I, kh, kw] there and [O, kh, kw, I] here.
[[nodiscard]] inline Shape pytorch_shape(const Shape& shape, nn::WeightLayout layout) {
  if (layout == nn::WeightLayout::plain) return shape;
  Shape s{shape[0], shape[-1]};
  for (int i = 1; i + 1 < shape.rank(); ++i) s.push_back(shape[i]);
  return s;
}

/// The entries of a weights file, in PyTorch's layout, each name behind `prefix`.
template <class T, class D>
[[nodiscard]] std::vector<TensorEntry> weight_entries(const std::vector<nn::NamedTensor<T, D>>& state,
                                                           const std::string& prefix = {}) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor, layout, trainable] : state) {
    const Tensor<T> values = tensor.detach().template to<Cpu>();
    entries.emplace_back(prefix + name, layout == nn::WeightLayout::convolution ? to_nchw(values) : values);
  }
  return entries;
}

/// Writes all parameters and buffers of a module; `torch.load_state_dict(safetensors.torch.load_file(path))` takes them.
/// T and D are of the module's tensors, as for `state_dict`.
template <class T = float, class D = Cpu, class M>
void save_weights(const std::string& path, const M& module, const std::map<std::string, std::string>& metadata = {}) {
  save_safetensors(path, weight_entries(nn::state_dict<T, D>(module)), metadata);
}

/// What became of each name when weights were loaded.
struct LoadReport {
  std::vector<std::string> missing;     ///< in the module, not in the file
  std::vector<std::string> unexpected;  ///< in the file, not in the module
  std::vector<std::string> misshapen;   ///< in both with different shapes: "conv1.weight: [64, 3, 7, 7] in the file, [64, 1, 7, 7] here"
  index_t loaded = 0;
  [[nodiscard]] bool complete() const { return missing.empty() && unexpected.empty() && misshapen.empty(); }
};

/// "missing: a, b, c and 4 more; misshapen: ..."
[[nodiscard]] inline std::string to_string(const LoadReport& report) {
  std::string text;
  const auto list = [&](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    text += concat(text.empty() ? "" : "; ", what, ": ");
    for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 3); ++i) text += concat(i ? ", " : "", names[i]);
    if (names.size() > 3) text += concat(" and ", names.size() - 3, " more");
  };
  list("missing", report.missing);
  list("unexpected", report.unexpected);
  list("misshapen", report.misshapen);
  return text.empty() ? concat("all ", report.loaded, " tensors loaded") : text;
}

/// Names that PyTorch keeps and that say nothing about the function of a network.
[[nodiscard]] inline bool is_bookkeeping(const std::string& name) { return name.ends_with("num_batches_tracked"); }

/// Copies tensors of the file named `prefix + name` into `state` (handles of a module's tensors). With `strict`, anything that
/// does not fit is an IoError that names it and nothing is changed; otherwise what fits is loaded and the rest reported.
template <class T, class D>
LoadReport load_weights(const SafetensorsFile& file, const std::vector<nn::NamedTensor<T, D>>& state, bool strict = true,
                        const std::string& prefix = {}) {
  LoadReport report;
  std::vector<std::pair<std::string, const nn::NamedTensor<T, D>*>> fitting;
  std::map<std::string, bool> known;
  for (const auto& entry : state) {
    const std::string name = prefix + entry.name;
    known[name] = true;
    if (!file.has(name)) {
      report.missing.push_back(entry.name);
      continue;
    }
    const Shape wanted = pytorch_shape(entry.tensor.shape(), entry.layout);
    if (file.shape(name) != wanted)
      report.misshapen.push_back(concat(entry.name, ": ", file.shape(name), " in the file, ", wanted, " here"));
    else fitting.emplace_back(name, &entry);
  }
  for (const auto& name : file.names())
    if (name.starts_with(prefix) && !known.count(name) && !is_bookkeeping(name)) report.unexpected.push_back(name.substr(prefix.size()));
  if (strict && !report.complete()) throw IoError(file.path(), concat("these weights are not of this network: ", to_string(report)));
  for (const auto& [name, entry] : fitting) {
    const Tensor<T> values = file.tensor<T>(name);
    Tensor<T, D> target = entry->tensor;
    target.copy_from(entry->layout == nn::WeightLayout::convolution ? from_nchw(values) : values);
    ++report.loaded;
  }
  return report;
}
/// The same for a file's path and a module.
template <class T = float, class D = Cpu, class M>
LoadReport load_weights(const std::string& path, const M& module, bool strict = true) {
  return load_weights(SafetensorsFile(path), nn::state_dict<T, D>(module), strict);
}

}  // namespace segnet
