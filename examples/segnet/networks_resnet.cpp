// ResNet and the networks on it: torchvision's FCN, DeepLab v2 to v3+, PSPNet. An auxiliary head is there with --aux. MobileNetV3 and
// LR-ASPP on it.
#include "networks.hpp"
#include "segnet/models/deeplab.hpp"
#include "segnet/models/deeplabv3.hpp"
#include "segnet/models/deeplabv3_plus.hpp"
#include "segnet/models/fcn_resnet.hpp"
#include "segnet/models/lraspp.hpp"
#include "segnet/models/pspnet.hpp"

namespace segnet::program {

namespace {

using models::ResNetOptions;

NetworkInfo resnet(int depth, std::int64_t parameters, double giga_multiply_adds, const char* result) {
  return {.name = concat("resnet", depth),
          .source = "He et al. 2016, arXiv:1512.03385; torchvision",
          .description = "residual blocks in four layers: a classifier; --width",
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                return nn::AnyModule<T, D>(models::ResNet<T, D>({.depth = depth, .classes = c.classes, .width = c.width}));
              },
          .classifier = true,
          .published = {.classes = 1000,
                        .input = {1, 224, 224, 3},
                        .parameters = parameters,
                        .giga_multiply_adds = giga_multiply_adds,
                        .result = result}};
}

/// The options of a segmentation network, but for classes, width, auxiliary head and output stride.
template <class Options>
Options configured(Options o, const ModelConfig& c) {
  o.classes = c.classes;
  o.backbone.width = c.width;
  if constexpr (requires { o.aux; }) o.aux = c.aux > 0;
  if constexpr (requires { o.rates; }) {
    if (c.output_stride)  // in pixels of the image, the pyramid stays what it is
      for (index_t& rate : o.rates) rate = rate * o.backbone.output_stride / c.output_stride;
    if (c.output_stride) o.backbone.output_stride = c.output_stride;
  }
  return o;
}
template <template <class, class> class M, class Options>
Builder on_resnet(const Options& options) {
  return [=]<class T, class D>(const ModelConfig& c) { return nn::AnyModule<T, D>(M<T, D>(configured(options, c))); };
}

/// MobileNetV3's widths are factors, the program's channels of the first convolution.
double mobilenet_width(const ModelConfig& c) { return static_cast<double>(c.width) / 16; }

models::DeepLabV3PlusOptions deeplab_v3_plus(int depth) {
  auto o = models::DeepLabV3PlusOptions::paper();
  o.backbone.depth = depth;
  return o;
}

}  // namespace

std::vector<NetworkInfo> resnet_networks() {
  using namespace models;
  const auto at_stride_8 = [](int depth) { return ResNetOptions{.depth = depth, .output_stride = 8}; };
  const auto psp_backbone = [](int depth) { return ResNetOptions{.depth = depth, .output_stride = 8, .dilate_first_block = true}; };
  const std::string torchvision_fcn = "Long et al. 2015, arXiv:1411.4038, as torchvision has it",
                    torchvision_v3 = "Chen et al. 2017, arXiv:1706.05587, as torchvision has it",
                    psp = "Zhao et al. 2017, arXiv:1612.01105; hszhao/semseg", v3_plus = "Chen et al. 2018, arXiv:1802.02611";
  return {
      resnet(18, 11'689'512, 1.81, "ImageNet 69.8 top-1"),
      resnet(34, 21'797'672, 3.66, "ImageNet 73.3 top-1"),
      resnet(50, 25'557'032, 4.09, "ImageNet 76.1 top-1"),
      resnet(101, 44'549'160, 7.80, "ImageNet 77.4 top-1"),
      resnet(152, 60'192'808, 11.51, "ImageNet 78.3 top-1"),
      {.name = "fcn-resnet50",
       .source = torchvision_fcn,
       .description = "ResNet-50 at stride 8, a 3x3 and a 1x1 convolution; --width",
       .build = on_resnet<FcnResNet>(FcnResNetOptions{.backbone = at_stride_8(50)}),
       .published = {.input = {1, 520, 520, 3},
                     .parameters = 32'957'013,
                     .giga_multiply_adds = 142.7,
                     .result = "COCO val, VOC's classes: 60.5 mean IoU"}},
      {.name = "fcn-resnet101",
       .source = torchvision_fcn,
       .description = "the same on ResNet-101; --width",
       .build = on_resnet<FcnResNet>(FcnResNetOptions{.backbone = at_stride_8(101)}),
       .published = {.input = {1, 520, 520, 3},
                     .parameters = 51'949'141,
                     .giga_multiply_adds = 222.7,
                     .result = "COCO val, VOC's classes: 63.7 mean IoU"}},
      {.name = "deeplab-v2",
       .source = "Chen et al. 2017, arXiv:1606.00915",
       .description = "ResNet-101 at stride 8, logits of dilations 6 to 24 added up (ASPP); --width, --multi-scale",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             MultiScale<DeepLabV2<T, D>> net{DeepLabV2<T, D>(configured(DeepLabV2Options{}, c))};
             if (!c.multi_scale) net.scales = {1};
             return nn::AnyModule<T, D>(net);
           },
       .published = {.input = {1, 321, 321, 3}, .parameters = 44'048'532, .result = "VOC 2012 val 76.4 mean IoU, with a CRF 77.7"}},
      {.name = "deeplab-v3",
       .source = "Chen et al. 2017, arXiv:1706.05587",
       .description = "ResNet-101 at stride 16 with multi-grid, ASPP of rates 6, 12, 18 and the image's mean; --width",
       .build = on_resnet<DeepLabV3>(DeepLabV3Options{
           .backbone = {.depth = 101, .output_stride = 16, .dilate_first_block = true, .multi_grid = {1, 2, 4}}, .rates = {6, 12, 18}}),
       .published = {.input = {1, 513, 513, 3}, .parameters = 58'630'997, .result = "VOC 2012 val 77.2 mean IoU"}},
      {.name = "deeplabv3-resnet50",
       .source = torchvision_v3,
       .description = "ResNet-50 at stride 8, ASPP of rates 12, 24, 36 and the image's mean; --width",
       .build = on_resnet<DeepLabV3>(DeepLabV3Options{.backbone = at_stride_8(50)}),
       .published = {.input = {1, 520, 520, 3},
                     .parameters = 39'638'869,
                     .giga_multiply_adds = 168.73,
                     .result = "COCO val, VOC's classes: 66.4 mean IoU"}},
      {.name = "deeplabv3-resnet101",
       .source = torchvision_v3,
       .description = "the same on ResNet-101; --width",
       .build = on_resnet<DeepLabV3>(DeepLabV3Options{.backbone = at_stride_8(101)}),
       .published = {.input = {1, 520, 520, 3},
                     .parameters = 58'630'997,
                     .giga_multiply_adds = 248.75,
                     .result = "COCO val, VOC's classes: 67.4 mean IoU"}},
      {.name = "deeplab-v3-plus",
       .source = v3_plus,
       .description = "ResNet-101 at stride 16, separable ASPP, decoder with layer1's map; --width",
       .build = on_resnet<DeepLabV3Plus>(deeplab_v3_plus(101)),
       .published = {.parameters = 45'688'261, .result = "VOC 2012 val 82.2 mean IoU on Xception-65"}},
      {.name = "deeplab-v3-plus-resnet50",
       .source = v3_plus,
       .description = "the same on ResNet-50; --width",
       .build = on_resnet<DeepLabV3Plus>(deeplab_v3_plus(50)),
       .published = {.parameters = 26'696'133, .giga_multiply_adds = 37.7}},
      {.name = "deeplab-v3-plus-smp",
       .source = v3_plus + ", as segmentation_models.pytorch has it",
       .description = "ResNet-50, the convolutions of other shapes and order, weights exchangeable; --width",
       .build = on_resnet<DeepLabV3Plus>(DeepLabV3PlusOptions{}),
       .published = {.parameters = 26'682'725}},
      {.name = "pspnet",
       .source = psp,
       .description = "ResNet-50 at stride 8, averages of four grids beside its map; --width",
       .build = on_resnet<PspNet>(PspNetOptions{.backbone = psp_backbone(50)}),
       .published = {.parameters = 46'592'597,
                     .giga_multiply_adds = 177.1,
                     .result = "VOC 2012 val 77.1, ADE20K val 41.9 mean IoU, with a deep stem"}},
      {.name = "pspnet-resnet101",
       .source = psp,
       .description = "the same on ResNet-101; --width",
       .build = on_resnet<PspNet>(PspNetOptions{.backbone = psp_backbone(101)}),
       .published = {.parameters = 65'584'725,
                     .giga_multiply_adds = 254.7,
                     .result = "VOC 2012 val 79.1, Cityscapes val 78.6 mean IoU, with a deep stem"}},
      {.name = "mobilenet-v3-large",
       .source = "Howard et al. 2019, arXiv:1905.02244; torchvision",
       .description = "inverted residual blocks with gates: a classifier; --width",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             return nn::AnyModule<T, D>(MobileNetV3<T, D>({.classes = c.classes, .width = mobilenet_width(c)}));
           },
       .width = 16,
       .classifier = true,
       .published = {.classes = 1000, .input = {1, 224, 224, 3}, .parameters = 5'483'032, .result = "ImageNet 74.0 top-1"}},
      {.name = "lraspp-mobilenet-v3-large",
       .source = "Howard et al. 2019, arXiv:1905.02244, as torchvision has it",
       .description = "MobileNetV3-Large at stride 16, a gated head and scores at stride 8; --width",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             return nn::AnyModule<T, D>(LrAspp<T, D>({.classes = c.classes, .backbone = {.width = mobilenet_width(c), .dilated = true}}));
           },
       .width = 16,
       .published = {.input = {1, 520, 520, 3},
                     .parameters = 3'221'538,
                     .giga_multiply_adds = 2.09,
                     .result = "COCO val, VOC's classes: 57.9 mean IoU"}},
  };
}

}  // namespace segnet::program
