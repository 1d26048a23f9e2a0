// The networks that the program knows by name: one table, a row each, in families that are compiled in files of their own.
#pragma once

#include <functional>

#include "config.hpp"
#include "segnet/data/augment.hpp"
#include "segnet/nn/any_module.hpp"

namespace segnet::program {

/// Builds a network from its configuration for every element type and device of this program, out of one generic function:
///
///   Builder([]<class T, class D>(const ModelConfig& c) { return nn::AnyModule<T, D>(models::UNet<T, D>({.classes = c.classes})); })
struct Builder {
  std::function<nn::AnyModule<float, Cpu>(const ModelConfig&)> on_cpu;
#if defined(SEGNET_CUDA)
  std::function<nn::AnyModule<float, Cuda>(const ModelConfig&)> on_gpu;
  std::function<nn::AnyModule<bfloat16, Cuda>(const ModelConfig&)> on_gpu_bf16;
#endif

  Builder() = default;
  template <class F>
    requires(!std::is_same_v<F, Builder>)
  Builder(const F& build) {  // NOLINT: `.build = []<class T, class D>(const ModelConfig& c) {...}`
    on_cpu = [=](const ModelConfig& c) { return build.template operator()<float, Cpu>(c); };
#if defined(SEGNET_CUDA)
    on_gpu = [=](const ModelConfig& c) { return build.template operator()<float, Cuda>(c); };
    on_gpu_bf16 = [=](const ModelConfig& c) { return build.template operator()<bfloat16, Cuda>(c); };
#endif
  }
};

/// What is known about a network elsewhere, and for which classes and input. `segnet models` prints ours beside it.
struct Published {
  std::int64_t classes = 21;
  Shape input{1, 512, 512, 3};
  std::int64_t parameters = 0;    ///< 0: not published
  double giga_multiply_adds = 0;  ///< convolutions and matrix products, 10^9; 0: not published
  std::string result = {};        ///< "VOC 2012 val 77.2 mean IoU"
};

struct NetworkInfo {
  std::string name = {}, source = {}, description = {};
  Builder build = {};
  std::int64_t width = 64;  ///< channels of the first level where --width does not say
  bool raw_pixels = false;  ///< takes values 0 to 255; else normalised by ImageNet's mean and standard deviation
  bool classifier = false;  ///< logits of an image, not of its pixels: listed and counted, nothing to segment with
  Published published = {};
  ModelConfig published_config = {};  ///< settings, beside the classes, of what is published
};

// The families. A new one goes into networks.cpp's list, too.
std::vector<NetworkInfo> small_networks();        // networks_small.cpp: U-Net, SegNet-Basic
std::vector<NetworkInfo> vgg_networks();          // networks_vgg.cpp: VGG, DeepLab v1 and v2 on it
std::vector<NetworkInfo> classic_networks();      // networks_classic.cpp: FCN, CRF-RNN, DeconvNet, SegNet, dilated networks, FC-DenseNet
std::vector<NetworkInfo> resnet_networks();       // networks_resnet.cpp: ResNet and what is on it; MobileNetV3, LR-ASPP
std::vector<NetworkInfo> hrnet_networks();        // networks_hrnet.cpp: HRNet with and without OCR
std::vector<NetworkInfo> transformer_networks();  // networks_transformer.cpp: SegFormer, Lawin
std::vector<NetworkInfo> internimage_networks();  // networks_internimage.cpp: InternImage under UPerNet

const std::vector<NetworkInfo>& networks();
/// @throws ValueError: no such name
const NetworkInfo& network_info(const std::string& name);

inline data::Normalization normalization(const NetworkInfo& info) {
  return info.raw_pixels ? data::Normalization{{0, 0, 0}, {1, 1, 1}} : data::Normalization{};
}

/// A network of this configuration for images of any size, initialised from `default_generator()`.
/// For <float, Cpu>, and in a program with CUDA for <float, Cuda> and <bfloat16, Cuda>.
template <class T = float, class D = Cpu>
nn::AnyModule<T, D> build_network(ModelConfig config) {
  const NetworkInfo& info = network_info(config.name);
  if (config.width == 0) config.width = info.width;
#if defined(SEGNET_CUDA)
  if constexpr (std::is_same_v<T, bfloat16>) return info.build.on_gpu_bf16(config);
  else if constexpr (std::is_same_v<D, Cuda>) return info.build.on_gpu(config);
#endif
  if constexpr (std::is_same_v<D, Cpu>) return info.build.on_cpu(config);
}

}  // namespace segnet::program
