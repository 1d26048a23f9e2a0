// VGG and the networks that begin like it: DeepLab v1 and v2.
#include "networks.hpp"
#include "segnet/models/deeplab.hpp"
#include "segnet/models/vgg.hpp"

namespace segnet::program {

namespace {

NetworkInfo vgg(int depth, bool batch_norm, std::int64_t parameters, double giga_multiply_adds, const char* result) {
  return {.name = concat("vgg", depth, batch_norm ? "-bn" : ""),
          .source = "Simonyan & Zisserman 2015, arXiv:1409.1556; torchvision",
          .description = "3x3 convolutions in five blocks, three fully connected layers: a classifier; --width",
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                return nn::AnyModule<T, D>(
                    models::Vgg<T, D>({.depth = depth, .batch_norm = batch_norm, .classes = c.classes, .width = c.width}));
              },
          .classifier = true,
          .published = {.classes = 1000,
                        .input = {1, 224, 224, 3},
                        .parameters = parameters,
                        .giga_multiply_adds = giga_multiply_adds,
                        .result = result}};
}

NetworkInfo deeplab(const char* name, const char* source, const char* description, const models::DeepLabVggOptions& options,
                    std::int64_t parameters, const char* result) {
  return {.name = name,
          .source = source,
          .description = description,
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                models::DeepLabVggOptions o = options;
                o.classes = c.classes;
                o.width = c.width;
                return nn::AnyModule<T, D>(models::DeepLabVgg<T, D>(o));
              },
          .published = {.input = {1, 321, 321, 3}, .parameters = parameters, .result = result}};
}

}  // namespace

std::vector<NetworkInfo> vgg_networks() {
  constexpr const char *v1 = "Chen et al. 2015, arXiv:1412.7062", *v2 = "Chen et al. 2017, arXiv:1606.00915";
  using models::DeepLabVggOptions;
  return {
      vgg(11, false, 132'863'336, 7.61, "ImageNet 69.0 top-1"),
      vgg(11, true, 132'868'840, 7.61, "ImageNet 70.4 top-1"),
      vgg(13, false, 133'047'848, 11.31, "ImageNet 69.9 top-1"),
      vgg(13, true, 133'053'736, 11.31, "ImageNet 71.6 top-1"),
      vgg(16, false, 138'357'544, 15.47, "ImageNet 71.6 top-1"),
      vgg(16, true, 138'365'992, 15.47, "ImageNet 73.4 top-1"),
      vgg(19, false, 143'667'240, 19.63, "ImageNet 72.4 top-1"),
      vgg(19, true, 143'678'248, 19.63, "ImageNet 74.2 top-1"),
      deeplab("deeplab-v1", v1, "VGG-16 at stride 8, fc6 3x3 with dilation 12 (LargeFOV); --width", {}, 20'505'429,
              "VOC 2012 val 62.3 mean IoU, with a CRF 67.6"),
      deeplab("deeplab-v1-7x7", v1, "the same with fc6 7x7, dilation 4; --width", DeepLabVggOptions::v1({7, 4, 4096}), 134'346'581,
              "VOC 2012 val with a CRF 67.6 mean IoU"),
      deeplab("deeplab-v1-4x4", v1, "the same with fc6 4x4, dilation 8; --width", DeepLabVggOptions::v1({4, 8, 4096}), 65'140'565,
              "VOC 2012 val with a CRF 67.1 mean IoU"),
      deeplab("deeplab-v2-vgg16", v2, "VGG-16 at stride 8, four branches of dilation 6 to 24 added up (ASPP-L); --width",
              DeepLabVggOptions::v2(), 37'877'652, "VOC 2012 val 69.0 mean IoU, with a CRF 71.6"),
  };
}

}  // namespace segnet::program
