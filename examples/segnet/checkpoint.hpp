// A trained network, loaded from best.safetensors or last.safetensors.
#pragma once

#include "networks.hpp"
#include "run_state.hpp"
#include "segnet/data/augment.hpp"
#include "segnet/io/image.hpp"
#include "segnet/models/inference.hpp"

namespace segnet::program {

/// [H, W, 3] bytes -> what the network takes, [1, H, W, 3].
inline Tensor<float> network_input(const NetworkInfo& info, const Tensor<std::uint8_t>& image) {
  const Tensor<float> x = data::normalized(image, normalization(info));
  return x.alias({1, x.dim(0), x.dim(1), x.dim(2)});
}

/// The network as inference calls it: on the GPU recorded and replayed. It must not change while that is in use.
template <class T, class D>
auto for_inference(const nn::AnyModule<T, D>& network) {
  if constexpr (std::is_same_v<D, Cpu>) return network;
  else return models::Replayed<nn::AnyModule<T, D>, T>(network);
}

/// @throws ValueError: tiles that overlap as far as they reach
inline void check_inference(const char* command, const models::InferenceOptions& o) {
  if (o.tile > 0 && o.overlap >= o.tile)
    throw ValueError(command, "--overlap", concat("below the ", o.tile, " of --tile"), concat(o.overlap));
}

template <class T, class D>
struct TrainedNetwork {
  CheckpointHeader header;
  nn::AnyModule<T, D> network;  ///< in inference mode

  [[nodiscard]] const NetworkInfo& info() const { return network_info(header.config.model.name); }
  [[nodiscard]] Tensor<T, D> input(const Tensor<std::uint8_t>& image) const {
    return cast<T>(network_input(info(), image).template to<D>());
  }
};

/// @throws IoError: not a checkpoint, damaged, or weights that do not fit the network that it names
template <class T, class D>
TrainedNetwork<T, D> load_network(const std::string& path) {
  const SafetensorsFile file(path);
  TrainedNetwork<T, D> trained{read_header(file), {}};
  trained.header.config.model.classes = static_cast<std::int64_t>(trained.header.classes.size());
  trained.network = build_network<T, D>(trained.header.config.model);
  bool everything = false;  // last.safetensors also holds the optimiser, and puts "model." before the weights
  for (const auto& name : file.names()) everything |= name.starts_with("model.");
  load_weights(file, trained.network.state_dict(), {.prefix = everything ? "model." : ""});
  trained.network.eval();
  return trained;
}

}  // namespace segnet::program
