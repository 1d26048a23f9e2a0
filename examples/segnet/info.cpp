// segnet summary, models, check-data.
#include "checkpoint.hpp"
#include "commands.hpp"
#include "datasets.hpp"
#include "segnet/data/check.hpp"

namespace segnet::program {

int run_summary(ModelConfig model, const std::string& checkpoint, const std::vector<std::int64_t>& input) {
  if (!checkpoint.empty()) {
    const CheckpointHeader header = read_header(SafetensorsFile(checkpoint));
    model = header.config.model;
    model.classes = static_cast<std::int64_t>(header.classes.size());
  }
  for (const std::int64_t size : input)
    if (size < 1) throw ValueError("summary", "--input", "sizes of at least 1", concat(size));
  nn::AnyModule<> network = build_network<>(model);
  std::fputs(nn::to_string(network.summarize(Shape(input.begin(), input.end()))).c_str(), stdout);
  return 0;
}

int run_models() {
  for (const NetworkInfo& info : networks()) {
    ModelConfig model;
    model.name = info.name;
    model.width = 64;
    model.batch_norm = false;
    model.classes = 11;
    nn::AnyModule<> network = build_network<>(model);
    const nn::Summary s = network.summarize({1, 256, 256, 3});
    std::printf("%-14s %s\n%14s %s\n%14s at width 64, 11 classes, 256 x 256: %s parameters, %.1f G multiply-adds\n", info.name.c_str(),
                info.description.c_str(), "", info.source.c_str(), "", nn::grouped(s.parameters).c_str(),
                static_cast<double>(s.multiply_adds) * 1e-9);
  }
  return 0;
}

int run_check_data(const DataConfig& data, const std::string& split) {
  const data::Dataset dataset = open_dataset(data, split);
  const auto report = data::check(dataset);
  std::fputs(to_string(report).c_str(), stdout);
  return report.ok() ? 0 : 2;
}

}  // namespace segnet::program
