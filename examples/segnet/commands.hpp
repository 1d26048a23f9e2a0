// The commands of the program. Each returns its exit code and throws on bad input.
#pragma once

#include "config.hpp"
#include "segnet/models/inference.hpp"

namespace segnet::program {

/// Pictures seen through windows of them.
struct WindowConfig {
  std::string proposals;  ///< the file of windows; empty: the whole picture
  std::string ensemble;   ///< a checkpoint whose scores of the whole picture are multiplied with those of the windows
};

/// A dense CRF behind the network; by default DeepLab's.
struct CrfConfig {
  bool on = false;
  int iterations = 10;
  double smoothness[2] = {3, 1};      ///< weight, pixels
  double appearance[3] = {4, 67, 3};  ///< weight, pixels, grey levels
};

struct EvalConfig {
  std::string checkpoint, split = "val", output;
  DataConfig data;
  DeviceConfig compute;
  models::InferenceOptions inference;
  WindowConfig windows;
  CrfConfig crf;
  bool other_data = false;
  std::int64_t batch = 1;
};

struct PredictConfig {
  std::string checkpoint, output = "out/predict";
  std::vector<std::string> inputs;
  DeviceConfig compute;
  models::InferenceOptions inference;
  WindowConfig windows;
  CrfConfig crf;
  bool probabilities = false;
};

struct ConvertConfig {
  std::string input, output;
  ModelConfig model{.name = ""};
};

/// Probabilities [1, H, W, classes] after mean field iterations on the picture [H, W, 3].
Tensor<float> crf_refined(const Tensor<float>& probabilities, const Tensor<std::uint8_t>& image, const CrfConfig& config);

int run_train(TrainConfig config, bool resume);
int run_print_config(const TrainConfig& config);
int run_recipes();
int run_convert(const ConvertConfig& config);
int run_eval(const EvalConfig& config);
int run_predict(const PredictConfig& config);
int run_summary(ModelConfig model, const std::string& checkpoint, const std::vector<std::int64_t>& input);
int run_models(bool markdown);
int run_check_data(const DataConfig& data, const std::string& split);

}  // namespace segnet::program
