// The networks that the program knows by name.
#pragma once

#include "config.hpp"
#include "segnet/data/augment.hpp"
#include "segnet/nn/any_module.hpp"

namespace segnet::program {

struct NetworkInfo {
  std::string name, source, description;
  bool raw_pixels = false;  ///< takes values 0 to 255; else normalised by ImageNet's mean and standard deviation
};

inline const std::vector<NetworkInfo>& networks() {
  static const std::vector<NetworkInfo> all{
      {"unet", "Ronneberger et al. 2015, arXiv:1505.04597", "encoder, decoder and skips; --width, --depth, --batch-norm, --valid"},
      {"segnet-basic", "Badrinarayanan et al. 2015, arXiv:1511.00561", "four 7x7 levels, max unpooling with the encoder's indices; --width",
       true},
  };
  return all;
}

inline const NetworkInfo& network_info(const std::string& name) {
  std::string known;
  for (const auto& info : networks()) {
    if (info.name == name) return info;
    known += (known.empty() ? "" : ", ") + info.name;
  }
  throw ValueError("program", "--model", "one of " + known, name);
}

inline data::Normalization normalization(const NetworkInfo& info) {
  return info.raw_pixels ? data::Normalization{{0, 0, 0}, {1, 1, 1}} : data::Normalization{};
}

/// A network of this configuration for images of any size, initialised from `default_generator()`.
/// In a file of its own: the kernels are compiled once, not for each command. For <float, Cpu>, and in a program with CUDA for
/// <float, Cuda> and <bfloat16, Cuda>.
template <class T = float, class D = Cpu>
nn::AnyModule<T, D> build_network(const ModelConfig& config);

}  // namespace segnet::program
