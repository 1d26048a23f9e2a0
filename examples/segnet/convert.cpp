// segnet convert: what is in a file of weights, and the same in another format.
#include "commands.hpp"
#include "networks.hpp"
#include "segnet/io/weights.hpp"
#include "segnet/nn/summary.hpp"

namespace segnet::program {

namespace {

/// A tensor as it is to be saved: half and bfloat16 become float.
TensorEntry entry_of(const WeightsFile& file, const std::string& name) {
  const std::string_view type = file.dtype(name);
  if (type == "F64") return {name, file.tensor<double>(name)};
  if (type == "I64") return {name, file.tensor<std::int64_t>(name)};
  if (type == "I32") return {name, file.tensor<std::int32_t>(name)};
  if (type == "U8") return {name, file.tensor<std::uint8_t>(name)};
  if (type == "BOOL") return {name, file.tensor<bool>(name)};
  return {name, file.tensor<float>(name)};  // or the error that says which type it is
}

}  // namespace

int run_convert(const ConvertConfig& config) {
  const WeightsFile file(config.input);
  std::vector<TensorEntry> entries;
  if (!config.model.name.empty()) {  // through the network: with its names, all of them
    const auto network = build_network<>(config.model);
    const auto state = network.state_dict();
    LoadOptions options = matching_prefixes(file, state);
    options.strict = true;
    if (!options.into.empty()) options.into.clear(), options.prefix.clear();  // a part is not the network
    std::printf("%s\n", to_string(load_weights(file, state, options)).c_str());
    entries = weight_entries(state);
  } else {
    if (!config.output.empty())
      for (const auto& name : file.names()) entries.push_back(entry_of(file, name));
  }

  index_t elements = 0;
  for (const auto& name : file.names()) {
    const Shape& shape = file.shape(name);
    elements += shape.numel();
    if (config.output.empty())
      std::printf("%-4s %-20s %s\n", std::string(file.dtype(name)).c_str(), to_string(shape).c_str(), name.c_str());
  }
  if (const PthFile* pth = file.pth())
    for (const auto& name : pth->ignored()) std::printf("     %-20s %s\n", "no tensor", name.c_str());
  std::printf("%s: %s, %zu tensors, %s elements\n", config.input.c_str(), file.pth() ? "PyTorch" : "safetensors", file.names().size(),
              nn::grouped(elements).c_str());
  if (config.output.empty()) return 0;
  save_tensors(config.output, entries,
               file.safetensors() ? file.safetensors()->metadata() : std::map<std::string, std::string>{{"format", "pt"}});
  std::printf("%s: %zu tensors\n", config.output.c_str(), entries.size());
  return 0;
}

}  // namespace segnet::program
