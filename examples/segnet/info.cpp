// segnet summary, models, check-data.
#include "checkpoint.hpp"
#include "commands.hpp"
#include "datasets.hpp"
#include "recipes.hpp"
#include "segnet/data/check.hpp"
#include "segnet/nn/shapes_only.hpp"

namespace segnet::program {

int run_summary(ModelConfig model, const std::string& checkpoint, const std::vector<std::int64_t>& input) {
  if (!checkpoint.empty()) {
    const CheckpointHeader header = read_header(SafetensorsFile(checkpoint));
    model = header.config.model;
    model.classes = static_cast<std::int64_t>(header.classes.size());
  }
  for (const std::int64_t size : input)
    if (size < 1) throw ValueError("summary", "--input", "sizes of at least 1", concat(size));
  const nn::ShapesOnly shapes;
  nn::AnyModule<> network = build_network<>(model);
  std::fputs(nn::to_string(network.summarize(Shape(input.begin(), input.end()))).c_str(), stdout);
  return 0;
}

namespace {

/// As it was published, without its arithmetic.
nn::Summary as_published(const NetworkInfo& info) {
  const nn::ShapesOnly shapes;
  ModelConfig model = info.published_config;
  model.name = info.name;
  model.classes = info.published.classes;
  return build_network<>(model).summarize(info.published.input);
}

std::string with_decimals(double value, int decimals) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

/// 15.5, not 15.50: published figures have the digits that they have.
std::string as_written(double value) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

/// "1 x 512 x 512 x 3" is [N, H, W, C]: "512 x 512".
std::string image_size(const Shape& input) { return concat(input[1], " x ", input[2]); }

void print_markdown() {
  std::puts(
      "# Networks\n\n"
      "Made by `segnet models --markdown`; the tests compare it with what the program says.\n\n"
      "Parameters and multiply-adds are counted here, for that input and number of classes; *published* are the papers', torchvision's and "
      "other implementations' figures, or numbers counted with them. One multiply-add is one multiplication and one addition, of "
      "convolutions "
      "and matrix products alone (a FLOP count is twice that; many papers call multiply-adds FLOPs). Results are as published: with "
      "weights "
      "that came from there, not trained here.\n\n"
      "| `--model` | input | classes | parameters | published | multiply-adds, 10^9 | published | published result | source |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const NetworkInfo& info : networks()) {
    const nn::Summary s = as_published(info);
    const Published& p = info.published;
    std::printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", info.name.c_str(), image_size(p.input).c_str(),
                nn::grouped(p.classes).c_str(), nn::grouped(s.parameters).c_str(),
                p.parameters == 0              ? ""
                : p.parameters == s.parameters ? "the same"
                                               : nn::grouped(p.parameters).c_str(),
                with_decimals(static_cast<double>(s.multiply_adds) * 1e-9, 2).c_str(),
                p.giga_multiply_adds > 0 ? as_written(p.giga_multiply_adds).c_str() : "", p.result.c_str(), info.source.c_str());
  }
}

}  // namespace

int run_models(bool markdown) {
  if (markdown) {
    print_markdown();
    return 0;
  }
  for (const NetworkInfo& info : networks()) {
    const nn::Summary s = as_published(info);
    const Published& p = info.published;
    std::printf("%-20s %s\n%20s %s\n%20s %s parameters, %.1f G multiply-adds at %s, %s classes\n", info.name.c_str(),
                info.description.c_str(), "", info.source.c_str(), "", nn::grouped(s.parameters).c_str(),
                static_cast<double>(s.multiply_adds) * 1e-9, image_size(p.input).c_str(), nn::grouped(p.classes).c_str());
    if (!p.result.empty()) std::printf("%20s published: %s\n", "", p.result.c_str());
  }
  return 0;
}

int run_print_config(const TrainConfig& config) {
  std::printf("%s\n", nlohmann::json(config).dump(2).c_str());
  return 0;
}

int run_recipes() {
  for (const Recipe& r : recipes()) {
    const TrainConfig& c = r.config;
    const std::string length = c.steps > 0 ? concat(c.steps, " steps") : concat(c.epochs, " epochs");
    std::printf("%-24s %s\n%24s %s on %s: %s, lr %g, %s, %s, batch %lld\n", r.name.c_str(), r.source.c_str(), "",
                network_info(c.model.name).name.c_str(), c.data.kind.c_str(), c.optimizer.c_str(), c.lr, c.schedule.c_str(), length.c_str(),
                static_cast<long long>(c.batch));
    if (!r.note.empty()) std::printf("%24s %s\n", "", r.note.c_str());
    if (!r.guessed.empty()) std::printf("%24s not published, ours: %s\n", "", r.guessed.c_str());
  }
  std::printf("All settings of one: segnet train --recipe NAME --print-config\n");
  return 0;
}

int run_check_data(const DataConfig& data, const std::string& split) {
  const data::Dataset dataset = open_dataset(data, split);
  const auto report = data::check(dataset);
  std::fputs(to_string(report).c_str(), stdout);
  return report.ok() ? 0 : 2;
}

}  // namespace segnet::program
