// Pictures seen through windows of them, as DeconvNet is trained and used: --proposals.
#pragma once

#include "checkpoint.hpp"
#include "commands.hpp"
#include "segnet/data/proposals.hpp"
#include "segnet/models/window_scores.hpp"
#include "segnet/ops/activation.hpp"

namespace segnet::program {

/// Class probabilities of pictures from the windows of each that --proposals names, see `models::window_scores`; with --ensemble from the
/// product with the scores of another network, which sees the whole picture.
template <class T, class D>
class WindowPrediction {
 public:
  /// @throws IoError: the file of windows, or the other network's
  WindowPrediction(const TrainedNetwork<T, D>& network, const WindowConfig& config)
      : network_(network), infer_(for_inference(network.network)), path_(config.proposals), proposals_(data::read_proposals(path_)) {
    if (config.ensemble.empty()) return;
    other_.emplace(load_network<T, D>(config.ensemble));
    if (other_->header.classes.size() != network.header.classes.size())
      throw ValueError("program", "--ensemble", concat("a network of ", network.header.classes.size(), " classes"),
                       concat("one of ", other_->header.classes.size()));
  }

  /// @throws IoError: there is no window for the picture of this name, or none that is large enough
  const std::vector<models::Window>& windows(const std::string& name) const {
    const auto found = proposals_.find(name);
    if (found == proposals_.end()) throw IoError(path_, concat("names no window of the picture '", name, "'"));
    if (models::usable_windows(found->second).empty()) {
      const index_t least = models::WindowOptions{}.min_side;
      throw IoError(path_, concat("has no window of at least ", least, " x ", least, " pixels for the picture '", name, "'"));
    }
    return found->second;
  }

  /// [H, W, 3] -> [1, H, W, classes]. @throws IoError as `windows`, and: a window is not inside of the picture
  Tensor<float> operator()(const Tensor<std::uint8_t>& image, const std::string& name) const {
    try {
      auto scores = models::window_scores(infer_, network_.input(image), windows(name));
      NoGrad guard;
      if (other_) scores = scores * relu(cast<Master<T>>(other_->network(other_->input(image))));
      return softmax(scores, -1).template to<Cpu>();
    } catch (const ValueError& e) {
      throw IoError(path_, concat("picture '", name, "': ", e.what()));
    }
  }

 private:
  const TrainedNetwork<T, D>& network_;
  decltype(for_inference(network_.network)) infer_;
  std::string path_;
  data::Proposals proposals_;
  std::optional<TrainedNetwork<T, D>> other_;
};

}  // namespace segnet::program
