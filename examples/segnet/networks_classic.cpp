// FCN, CRF-RNN, DeconvNet, SegNet, Yu & Koltun's networks, FC-DenseNet.
#include "networks.hpp"
#include "segnet/models/crf_rnn.hpp"
#include "segnet/models/deconvnet.hpp"
#include "segnet/models/dilated_context.hpp"
#include "segnet/models/fc_densenet.hpp"
#include "segnet/models/fcn.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/segnet.hpp"

namespace segnet::program {

namespace {

using models::AnySize, models::ContextForm, models::ContextOptions;

NetworkInfo fcn(int stride, bool at_once, std::int64_t parameters, double giga_multiply_adds, const char* result) {
  return {.name = concat("fcn", stride, at_once ? "s-at-once" : "s"),
          .source = "Long et al. 2015, arXiv:1411.4038",
          .description = concat("VGG-16 as convolutions, scored at stride ", stride, ", skips added, bilinear upsampling",
                                at_once ? "; skips scaled, to be trained in one stage" : "", "; --width"),
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                return nn::AnyModule<T, D>(models::Fcn<T, D>(
                    {.classes = c.classes, .stride = stride, .width = c.width, .hidden = 64 * c.width, .at_once = at_once}));
              },
          .published = {.input = {1, 500, 500, 3}, .parameters = parameters, .giga_multiply_adds = giga_multiply_adds, .result = result}};
}

NetworkInfo fc_densenet(int layers, const models::FcDenseNetOptions& options, std::int64_t parameters, double giga_multiply_adds,
                        const char* result) {
  return {
      .name = concat("fc-densenet", layers),
      .source = "Jegou et al. 2017, arXiv:1611.09326",
      .description = "dense blocks down and up, each layer reading all maps of its block; --width of the first convolution",
      .build =
          [=]<class T, class D>(const ModelConfig& c) {
            models::FcDenseNetOptions o = options;
            o.classes = c.classes;
            o.first = c.width;
            if (c.batch_statistics) o.norm = {.eps = 1e-4, .track_running_stats = false};
            return nn::AnyModule<T, D>(models::FcDenseNet<T, D>(o));
          },
      .width = 48,
      .published = {
          .classes = 11, .input = {1, 360, 480, 3}, .parameters = parameters, .giga_multiply_adds = giga_multiply_adds, .result = result}};
}

NetworkInfo dilated(const char* name, const char* description, const std::optional<ContextOptions>& context, std::int64_t classes,
                    std::int64_t parameters, const char* result) {
  return {.name = name,
          .source = "Yu & Koltun 2016, arXiv:1511.07122",
          .description = description,
          .build =
              [=]<class T, class D>(const ModelConfig& c) {
                std::optional<ContextOptions> around = context;
                if (around) around->classes = c.classes;
                return nn::AnyModule<T, D>(AnySize<models::DilatedNet<T, D>>{
                    models::DilatedNet<T, D>({.classes = c.classes, .width = c.width, .hidden = 64 * c.width}, around)});
              },
          .published = {.classes = classes, .parameters = parameters, .result = result}};
}

}  // namespace

std::vector<NetworkInfo> classic_networks() {
  return {
      fcn(32, false, 136'152'917, 181.4, "VOC 2011 val 63.6 mean IoU"),
      fcn(16, false, 134'815'994, 181.4, "VOC 2011 val 65.0 mean IoU"),
      fcn(8, false, 134'489'759, 181.5, "VOC 2011 val 65.5 mean IoU, VOC 2012 test 67.2"),
      fcn(8, true, 134'489'759, 181.5, "VOC 2011 val 65.4 mean IoU"),
      {.name = "crf-rnn",
       .source = "Zheng et al. 2015, arXiv:1502.03240",
       .description = "FCN-8s and 10 mean field iterations (5 in training) of a dense CRF that learns with it; --width",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             const auto [r, g, b] = data::Normalization{}.std;
             return nn::AnyModule<T, D>(models::CrfRnnNet<T, D>(
                 {.fcn = {.classes = c.classes, .width = c.width, .hidden = 64 * c.width}, .colour_scale = {r, g, b}}));
           },
       .published = {.input = {1, 500, 500, 3}, .parameters = 134'491'082, .result = "VOC 2012 test 72.0 mean IoU, with COCO 74.7"}},
      {.name = "deconvnet",
       .source = "Noh et al. 2015, arXiv:1505.04366",
       .description = "VGG-16 down to one pixel and mirrored up again by unpooling; --width",
       .build =
           []<class T, class D>(const ModelConfig& c) {
             return nn::AnyModule<T, D>(AnySize<models::DeconvNet<T, D>>{
                 models::DeconvNet<T, D>({.classes = c.classes, .width = c.width, .hidden = 64 * c.width})});
           },
       .published = {.input = {1, 224, 224, 3},
                     .parameters = 251'805'653,
                     .giga_multiply_adds = 32.75,
                     .result = "VOC 2012 test 69.6 mean IoU, with a CRF 70.5"}},
      {.name = "segnet",
       .source = "Badrinarayanan et al. 2015, arXiv:1511.00561",
       .description = "VGG-16's convolutions down and mirrored up, max unpooling with the encoder's indices; --width",
       .build = []<class T, class D>(
                    const ModelConfig& c) { return nn::AnyModule<T, D>(models::SegNet<T, D>({.classes = c.classes, .width = c.width})); },
       .published = {.classes = 11,
                     .input = {1, 360, 480, 3},
                     .parameters = 29'449'355,
                     .giga_multiply_adds = 106.7,
                     .result = "CamVid test 60.1 mean IoU (3,433 training images)"}},
      dilated("dilated-front-end", "VGG-16 without its last two poolings, dilated instead, nothing padded; --width", {}, 21, 134'346'581,
              "VOC 2012 val 69.8 mean IoU"),
      dilated("dilated7", "and a context module of 7 layers; --width", ContextOptions{.dilations = models::context_dilations_7}, 11,
              134'312'343, ""),
      dilated("dilated8", "and a context module of 8 layers (basic); --width", ContextOptions{}, 11, 134'313'443,
              "CamVid test 65.3 mean IoU, VOC 2012 val 71.3"),
      dilated("dilated8-large", "the same with up to 32 times as many channels in the context module; --width",
              ContextOptions{.form = ContextForm::large, .pad_once = true}, 21, 141'149'720, "VOC 2012 val 72.1 mean IoU"),
      dilated("dilated10", "and a context module of 10 layers; --width", ContextOptions{.dilations = models::context_dilations_10}, 19,
              134'368'179, "Cityscapes test 67.1 mean IoU"),
      fc_densenet(56, models::fc_densenet56, 1'376'795, 30.70, "CamVid test 58.9 mean IoU"),
      fc_densenet(67, models::fc_densenet67, 3'463'243, 71.97, "CamVid test 65.8 mean IoU"),
      fc_densenet(103, models::fc_densenet103, 9'322'091, 69.07, "CamVid test 66.9 mean IoU"),
  };
}

}  // namespace segnet::program
