#include "networks.hpp"

#include "segnet/models/inference.hpp"
#include "segnet/models/segnet_basic.hpp"
#include "segnet/models/unet.hpp"

namespace segnet::program {

nn::AnyModule<> build_network(const ModelConfig& c) {
  network_info(c.name);
  if (c.name == "segnet-basic") return nn::AnyModule<>(models::SegNetBasic<>({.classes = c.classes, .width = c.width}));
  return nn::AnyModule<>(models::AnySize<models::UNet<>>{
      models::UNet<>({.classes = c.classes, .base = c.width, .depth = c.depth, .valid = c.valid, .batch_norm = c.batch_norm})});
}

}  // namespace segnet::program
