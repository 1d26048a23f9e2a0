#include "networks.hpp"

#include "segnet/models/inference.hpp"
#include "segnet/models/segnet_basic.hpp"
#include "segnet/models/unet.hpp"

namespace segnet::program {

template <class T, class D>
nn::AnyModule<T, D> build_network(const ModelConfig& c) {
  using models::AnySize, models::SegNetBasic, models::UNet;
  network_info(c.name);
  if (c.name == "segnet-basic") return nn::AnyModule<T, D>(SegNetBasic<T, D>({.classes = c.classes, .width = c.width}));
  return nn::AnyModule<T, D>(AnySize<UNet<T, D>>{
      UNet<T, D>({.classes = c.classes, .base = c.width, .depth = c.depth, .valid = c.valid, .batch_norm = c.batch_norm})});
}

template nn::AnyModule<float, Cpu> build_network(const ModelConfig&);
#if defined(SEGNET_CUDA)
template nn::AnyModule<float, Cuda> build_network(const ModelConfig&);
template nn::AnyModule<bfloat16, Cuda> build_network(const ModelConfig&);
#endif

}  // namespace segnet::program
