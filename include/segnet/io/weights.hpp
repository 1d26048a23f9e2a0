// A network's weights as files that PyTorch reads and writes, safetensors or .pth: the same names, the same layout.
//
//   load_weights("resnet50.pth", network);                                          // all of them, or an IoError that says what is wrong
//   LoadReport report = load_weights(path, network, {.strict = false});             // what fits; the report lists the rest
//   load_weights("resnet50.pth", fcn, {.strict = false, .into = "backbone."});      // a classifier's file into a network around it
//   save_weights("mine.safetensors", network);  save_weights("mine.pth", network);
#pragma once

#include <unordered_set>
#include <variant>

#include "segnet/core/layout.hpp"
#include "segnet/io/pth.hpp"
#include "segnet/io/safetensors.hpp"
#include "segnet/nn/module.hpp"

namespace segnet {

/// A file of named tensors of either format, told apart by what it holds, not by its name. The interface of SafetensorsFile.
class WeightsFile {
 public:
  /// @throws IoError: as SafetensorsFile and PthFile
  explicit WeightsFile(const std::string& path) : file_(open(path)) {}
  WeightsFile(SafetensorsFile file) : file_(std::move(file)) {}  // NOLINT: converts
  WeightsFile(PthFile file) : file_(std::move(file)) {}          // NOLINT: converts

  [[nodiscard]] const std::string& path() const {
    return std::visit([](const auto& f) -> const std::string& { return f.path(); }, file_);
  }
  [[nodiscard]] const std::vector<std::string>& names() const {
    return std::visit([](const auto& f) -> const std::vector<std::string>& { return f.names(); }, file_);
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return std::visit([&](const auto& f) { return f.has(name); }, file_);
  }
  [[nodiscard]] const Shape& shape(const std::string& name) const {
    return std::visit([&](const auto& f) -> const Shape& { return f.shape(name); }, file_);
  }
  [[nodiscard]] std::string_view dtype(const std::string& name) const {
    return std::visit([&](const auto& f) { return f.dtype(name); }, file_);
  }
  template <class T>
  [[nodiscard]] Tensor<T> tensor(const std::string& name) const {
    return std::visit([&](const auto& f) { return f.template tensor<T>(name); }, file_);
  }
  /// Null when it is of the other format.
  [[nodiscard]] const PthFile* pth() const { return std::get_if<PthFile>(&file_); }
  [[nodiscard]] const SafetensorsFile* safetensors() const { return std::get_if<SafetensorsFile>(&file_); }

 private:
  using Either = std::variant<SafetensorsFile, PthFile>;
  static Either open(const std::string& path) {
    const MappedFile file(path);
    if (PthFile::recognises({reinterpret_cast<const char*>(file.data()), file.size()})) return PthFile(path);
    return SafetensorsFile(path);
  }
  Either file_;
};

/// Shape that a parameter has in PyTorch: convolution weights are [O, I, kh, kw] there and [O, kh, kw, I] here.
[[nodiscard]] inline Shape pytorch_shape(const Shape& shape, nn::WeightLayout layout) {
  if (layout == nn::WeightLayout::plain) return shape;
  Shape s{shape[0], shape[-1]};
  for (int i = 1; i + 1 < shape.rank(); ++i) s.push_back(shape[i]);
  return s;
}

/// The number of steps that PyTorch's batch norms keep: nothing of the function of a network, and not counted here.
[[nodiscard]] inline bool is_bookkeeping(const std::string& name) { return name.ends_with("num_batches_tracked"); }

/// The entries of a weights file, in PyTorch's layout, each name behind `prefix`. Batch norms get the `num_batches_tracked` (0) that
/// PyTorch's have, so that the names are all the names there are.
template <class T, class D>
[[nodiscard]] std::vector<TensorEntry> weight_entries(const std::vector<nn::NamedTensor<T, D>>& state, const std::string& prefix = {}) {
  constexpr std::string_view last = "running_var";
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor, layout, trainable] : state) {
    const Tensor<T> values = tensor.detach().template to<Cpu>();
    entries.emplace_back(prefix + name, layout == nn::WeightLayout::convolution ? to_nchw(values) : values);
    if (name.ends_with(last))
      entries.emplace_back(prefix + name.substr(0, name.size() - last.size()) + "num_batches_tracked", Tensor<std::int64_t>({}, {0}));
  }
  return entries;
}

/// Writes tensors as .pth where the path ends with ".pth" or ".pt", else as safetensors, which alone hold metadata.
inline void save_tensors(const std::string& path, const std::vector<TensorEntry>& entries,
                         const std::map<std::string, std::string>& metadata = {}) {
  if (path.ends_with(".pth") || path.ends_with(".pt")) save_pth(path, entries);
  else save_safetensors(path, entries, metadata);
}

/// Writes all parameters and buffers of a module for `torch_module.load_state_dict(torch.load(path))`, or `safetensors.torch.load_file`;
/// the format is chosen as by `save_tensors`. T and D are of the module's tensors, as for `state_dict`.
template <class T = float, class D = Cpu, class M>
void save_weights(const std::string& path, const M& module, const std::map<std::string, std::string>& metadata = {}) {
  save_tensors(path, weight_entries(nn::state_dict<T, D>(module)), metadata);
}

struct LoadOptions {
  bool strict = true;       ///< everything must fit; else what fits is loaded
  std::string prefix = {};  ///< of the names in the file ("module.", "backbone."); those without it are not looked at
  std::string into = {};    ///< of the names in the module ("backbone."); those without it keep their values
};

/// A tensor of one name and two shapes, both in PyTorch's layout.
struct Misshapen {
  std::string name;
  Shape in_file, here;
};
/// "conv1.weight ([64, 3, 7, 7] in the file, [64, 1, 7, 7] here)"
[[nodiscard]] inline std::string to_string(const Misshapen& m) {
  return concat(m.name, " (", m.in_file, " in the file, ", m.here, " here)");
}

/// What became of each name when weights were loaded; names of the module, but for `unexpected`.
struct LoadReport {
  std::vector<std::string> loaded;
  std::vector<std::string> missing;     ///< in the module, not in the file
  std::vector<std::string> unexpected;  ///< in the file, not in the module
  std::vector<Misshapen> misshapen;     ///< in both, not loaded
  [[nodiscard]] bool complete() const { return missing.empty() && unexpected.empty() && misshapen.empty(); }
};

/// "12 tensors loaded; missing: a, b, c and 4 more; misshapen: ...", at most so many names of each kind.
[[nodiscard]] inline std::string to_string(const LoadReport& report, std::size_t most = 3) {
  std::string text;
  if (report.complete()) text = concat("all ", report.loaded.size(), " tensors loaded");
  else if (!report.loaded.empty()) text = concat(report.loaded.size(), " tensors loaded");
  const auto list = [&](const char* what, const auto& names) {
    if (names.empty()) return;
    text += concat(text.empty() ? "" : "; ", what, ": ");
    for (std::size_t i = 0; i < std::min(names.size(), most); ++i) text += concat(i ? ", " : "", names[i]);
    if (names.size() > most) text += concat(" and ", names.size() - most, " more");
  };
  list("missing", report.missing);
  list("unexpected", report.unexpected);
  list("misshapen", report.misshapen);
  return text;
}

/// Copies tensors of the file into `state` (handles of a module's tensors), converting layout and floating-point type. With `strict`,
/// anything that does not fit is an IoError that names it, and nothing is changed. The "module." that PyTorch's DataParallel puts in
/// front of every name is looked through where no prefix is given.
template <class T, class D>
LoadReport load_weights(const WeightsFile& file, const std::vector<nn::NamedTensor<T, D>>& state, const LoadOptions& options = {}) {
  std::string prefix = options.prefix;
  const auto parallel = [](const auto& named) { return std::string_view(named).starts_with("module."); };
  if (prefix.empty() && std::all_of(file.names().begin(), file.names().end(), parallel) &&
      std::none_of(state.begin(), state.end(), [&](const auto& entry) { return parallel(entry.name); }))
    prefix = "module.";

  LoadReport report;
  std::vector<std::pair<std::string, const nn::NamedTensor<T, D>*>> fitting;
  std::unordered_set<std::string> known;
  for (const auto& entry : state) {
    if (!entry.name.starts_with(options.into)) continue;
    std::string name = prefix + entry.name.substr(options.into.size());
    const Shape here = pytorch_shape(entry.tensor.shape(), entry.layout);
    if (!file.has(name)) report.missing.push_back(entry.name);
    else if (file.shape(name) != here) report.misshapen.push_back({entry.name, file.shape(name), here});
    else fitting.emplace_back(name, &entry);
    known.insert(std::move(name));
  }
  for (const auto& name : file.names())
    if (name.starts_with(prefix) && !known.count(name) && !is_bookkeeping(name)) report.unexpected.push_back(name.substr(prefix.size()));
  if (options.strict && !report.complete())
    throw IoError(file.path(), concat("these weights are not of this network: ", to_string(report)));

  std::vector<Tensor<T>> values;  // all of them first, since a type may be wrong
  for (const auto& [name, entry] : fitting) values.push_back(file.tensor<T>(name));
  for (std::size_t i = 0; i < fitting.size(); ++i) {
    const auto& entry = *fitting[i].second;
    Tensor<T, D> target = entry.tensor;
    target.copy_from(entry.layout == nn::WeightLayout::convolution ? from_nchw(values[i]) : values[i]);
    report.loaded.push_back(entry.name);
  }
  return report;
}
/// The same for a file's path and a module.
template <class T = float, class D = Cpu, class M>
LoadReport load_weights(const std::string& path, const M& module, const LoadOptions& options = {}) {
  return load_weights(WeightsFile(path), nn::state_dict<T, D>(module), options);
}

namespace detail {
/// "", and every "a.", "a.b." that at least a sixth of the names begin with.
inline std::vector<std::string> common_prefixes(const std::vector<std::string>& names) {
  std::vector<std::string> prefixes{""};
  for (std::size_t i = 0; i < prefixes.size(); ++i) {
    const std::string outer = prefixes[i];
    std::vector<std::pair<std::string, std::size_t>> inner;  // in the order of the names
    for (const auto& name : names) {
      const std::size_t dot = name.starts_with(outer) ? name.find('.', outer.size()) : std::string::npos;
      if (dot == std::string::npos) continue;
      const std::string prefix = name.substr(0, dot + 1);
      const auto found = std::find_if(inner.begin(), inner.end(), [&](const auto& p) { return p.first == prefix; });
      if (found == inner.end()) inner.emplace_back(prefix, 1);
      else ++found->second;
    }
    for (const auto& [prefix, count] : inner)
      if (6 * count >= names.size()) prefixes.push_back(prefix);
  }
  return prefixes;
}
}  // namespace detail

/// Options for a partial load of a file that names its tensors from another place: a classifier's file for a network that has it as
/// "backbone", a file that has this network as "model". Of the prefixes that many names share, those that let the most tensors fit; none
/// where that is as good.
template <class T, class D>
[[nodiscard]] LoadOptions matching_prefixes(const WeightsFile& file, const std::vector<nn::NamedTensor<T, D>>& state) {
  std::vector<std::string> names;
  for (const auto& entry : state) names.push_back(entry.name);
  LoadOptions best{.strict = false};
  std::size_t most = 0;
  for (const auto& into : detail::common_prefixes(names))
    for (const auto& prefix : detail::common_prefixes(file.names())) {
      std::size_t fitting = 0;
      for (const auto& entry : state) {
        if (!entry.name.starts_with(into)) continue;
        const std::string name = prefix + entry.name.substr(into.size());
        fitting += file.has(name) && file.shape(name) == pytorch_shape(entry.tensor.shape(), entry.layout);
      }
      if (fitting > most) best.prefix = prefix, best.into = into, most = fitting;
    }
  return best;
}

}  // namespace segnet
