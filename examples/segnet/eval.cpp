// segnet eval: the scores of a checkpoint on a data set, image by image at full size.
#include "commands.hpp"
#include "datasets.hpp"
#include "device.hpp"
#include "report.hpp"
#include "windows.hpp"

namespace segnet::program {

namespace {

template <class T, class D>
int eval(const EvalConfig& config) {
  auto trained = load_network<T, D>(config.checkpoint);
  check_inference("eval", config.inference);
  const data::Dataset dataset = open_dataset(config.other_data ? config.data : trained.header.config.data, config.split);
  if (dataset.info().classes.size() != trained.header.classes.size())
    throw ValueError("eval", "data", concat("the ", trained.header.classes.size(), " classes that the network was trained on"),
                     concat(dataset.info().classes.size(), " classes"));
  EvaluateOptions options{.batch = config.batch, .inference = config.inference, .samples = config.output.empty() ? 0 : 8, .show = true};
  if (!config.windows.proposals.empty()) {
    const auto predict = std::make_shared<WindowPrediction<T, D>>(trained, config.windows);
    for (index_t i = 0; i < dataset.size(); ++i) (void)predict->windows(dataset.name(i));  // what is missing is said at once
    options.probabilities = [predict](const data::Sample& sample) { return (*predict)(sample.image, sample.name); };
    options.batch = 1;
  }
  if (config.crf.on)
    options.refined = [&](const Tensor<float>& p, const data::Sample& sample) { return crf_refined(p, sample.image, config.crf); };
  const Evaluation scores = evaluate(trained.network, trained.info(), dataset, options);
  std::printf("%s\n%lld images (%s), %.1f images/s, loss %.4f\n", scores.confusion.table(dataset.info().classes).c_str(),
              static_cast<long long>(dataset.size()), config.split.c_str(), scores.images_per_second, scores.loss);
  if (!config.output.empty()) {
    const OutputFolder output(config.output);
    write_file_atomically(output.of("scores.txt"), scores.confusion.table(dataset.info().classes));
    write_report(output.of("report.html"), trained.header, nullptr, scores, config.split);
    std::printf("report    %s\n", output.of("report.html").c_str());
  }
  return 0;
}

}  // namespace

int run_eval(const EvalConfig& config) {
  return on_device(config.compute, [&]<class T, class D> { return eval<T, D>(config); });
}

}  // namespace segnet::program
