// U-Net and SegNet-Basic.
#include "networks.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/segnet_basic.hpp"
#include "segnet/models/unet.hpp"

namespace segnet::program {

std::vector<NetworkInfo> small_networks() {
  using models::AnySize, models::SegNetBasic, models::UNet;
  return {
      {.name = "unet",
       .source = "Ronneberger et al. 2015, arXiv:1505.04597",
       .description = "encoder, decoder and skips; --width, --depth, --batch-norm, --valid, --dropout",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             return nn::AnyModule<T, D>(AnySize<UNet<T, D>>{UNet<T, D>({.classes = c.classes,
                                                                        .base = c.width,
                                                                        .depth = c.depth,
                                                                        .valid = c.valid,
                                                                        .batch_norm = c.batch_norm,
                                                                        .dropout = c.dropout})});
           },
       .width = 32,
       .published = {.classes = 21, .input = {1, 256, 256, 3}, .parameters = 31'033'045, .giga_multiply_adds = 48.1},
       .published_config = {.width = 64, .batch_norm = false}},
      {.name = "segnet-basic",
       .source = "Badrinarayanan et al. 2015, arXiv:1511.00561",
       .description = "four 7x7 levels, max unpooling with the encoder's indices; --width",
       .build = []<class T, class D>(
                    const ModelConfig& c) { return nn::AnyModule<T, D>(SegNetBasic<T, D>({.classes = c.classes, .width = c.width})); },
       .width = 32,
       .raw_pixels = true,
       .published = {.classes = 11,
                     .input = {1, 360, 480, 3},
                     .parameters = 1'416'587,
                     .giga_multiply_adds = 59.2,
                     .result = "CamVid test 47.7 mean IoU"},
       .published_config = {.width = 64}},
  };
}

}  // namespace segnet::program
