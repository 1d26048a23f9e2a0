#include "recipes.hpp"

#include "segnet/core/error.hpp"

namespace segnet::program {

namespace {

const DataConfig camvid{.kind = "camvid"}, cityscapes{.kind = "cityscapes"}, voc{.kind = "voc"};

// FCN's solvers sum the loss over the pixels of an image; ours take the mean, so that their rates are multiplied by 500 x 375.
constexpr double summed = 500 * 375;

TrainConfig fcn(const char* model, double lr, std::int64_t steps) {
  return {.model = {.name = model},
          .data = voc,
          .steps = steps,
          .batch = 1,
          .flip = false,
          .optimizer = "sgd",
          .lr = lr * summed,
          .weight_decay = 5e-4,
          .momentum = 0.99,
          .lr_bias = 2,
          .schedule = "constant"};
}
TrainConfig crf_rnn() {
  TrainConfig config = fcn("crf-rnn", 1e-13, 100000);
  config.head = {"crfrnn"};
  config.lr_head = 1e4;
  return config;
}
const std::string fcn_source = "Shelhamer et al., the authors' solvers; Long et al. 2015, arXiv:1411.4038";

TrainConfig fc_densenet(const char* model) {
  return {.model = {.name = model, .batch_statistics = true},
          .data = camvid,
          .epochs = 750,
          .patience = 100,
          .batch = 3,
          .crop_h = 224,
          .crop_w = 224,
          .optimizer = "rmsprop",
          .lr = 1e-3,
          .weight_decay = 2e-4,  // the gradient of 1e-4 |W|^2
          .momentum = 0,
          .alpha = 0.9,
          .eps = 1e-3,  // 1e-6 inside of the root
          .schedule = "step",
          .gamma = 0.995};
}
/// The second phase: on whole images.
TrainConfig fc_densenet_finetune(const char* model) {
  TrainConfig c = fc_densenet(model);
  c.crop_h = c.crop_w = 0;
  c.lr = 1e-4;
  c.patience = 50;
  return c;
}
void add_fc_densenet(std::vector<Recipe>& list, const char* model) {
  list.push_back({model, "Jegou et al. 2017, arXiv:1611.09326, section 4.1, and the authors' configuration", "then NAME-finetune",
                  fc_densenet(model)});
  list.push_back({concat(model, "-finetune"), "Jegou et al. 2017, arXiv:1611.09326, section 4.1",
                  concat("from a trained ", model, ": --init"), fc_densenet_finetune(model),
                  "batch 3 and the decay of the rate, as before"});
}

/// The second stage, on windows of proposals.
TrainConfig deconvnet() {
  return {.model = {.name = "deconvnet"},
          .data = voc,
          .steps = 40000,
          .batch = 64,
          .crop_h = 224,
          .crop_w = 224,
          .window_crop = 250,
          .optimizer = "sgd",
          .lr = 0.01,
          .weight_decay = 5e-4,
          .momentum = 0.9,
          .lr_bias = 2,
          .schedule = "step",
          .step_size = 10000};
}
/// The first: on single objects.
TrainConfig deconvnet_objects() {
  TrainConfig c = deconvnet();
  c.object_crop = 250;
  c.window_crop = 0;
  c.steps = 20000;
  c.step_size = 9000;
  return c;
}

TrainConfig dilated(const char* model, double lr) {
  return {.model = {.name = model},
          .data = voc,
          .steps = 60000,
          .batch = 14,
          .crop_h = 500,
          .crop_w = 500,
          .optimizer = "sgd",
          .lr = lr,
          .weight_decay = 5e-4,
          .momentum = 0.9,
          .schedule = "step",
          .step_size = 100000};
}
const std::string dilated_source = "Yu & Koltun 2016, arXiv:1511.07122, and the authors' defaults";
/// The context module alone, on scores of a front end that stays as it is.
TrainConfig dilated_context() {
  TrainConfig c = dilated("dilated8", 1e-3);
  for (const char* layer : {"conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3",
                            "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7", "final"})
    c.freeze.emplace_back(layer);
  return c;
}
/// Of data sets that the program does not know by name.
TrainConfig dilated_on_folder(const char* model) {
  TrainConfig c = dilated(model, 1e-5);
  c.data = {.kind = "folder"};
  return c;
}

TrainConfig deeplab_v3(const char* model) {
  return {.model = {.name = model},
          .data = voc,
          .steps = 30000,
          .batch = 16,
          .crop_h = 513,
          .crop_w = 513,
          .scale_min = 0.5,
          .scale_max = 2,
          .optimizer = "sgd",
          .lr = 0.007,
          .weight_decay = 1e-4,
          .momentum = 0.9,
          .schedule = "poly",
          .power = 0.9};
}
/// The second half: at output stride 8, as the batch norms have no batch to speak of any more.
TrainConfig deeplab_v3_finetune(const char* model) {
  TrainConfig c = deeplab_v3(model);
  c.model.output_stride = 8;
  c.freeze_norms = true;
  c.lr = 0.001;
  return c;
}
const std::string deeplab_v3_source = "Chen et al. 2017, arXiv:1706.05587, section 4.1; weight decay: the authors' code, for ResNets",
                  deeplab_v3_note = "from ImageNet: --init; the authors scale by steps of 0.25; then NAME-finetune";

/// torchvision's reference scripts: 8 GPUs with 4 images each, whose auxiliary head learns ten times as fast.
TrainConfig torchvision(const char* model) {
  return {.model = {.name = model, .aux = 0.5},
          .data = voc,
          .head = {"aux_classifier"},
          .epochs = 30,
          .batch = 32,
          .crop_h = 480,
          .crop_w = 480,
          .scale_min = 0.5,
          .scale_max = 2,
          .optimizer = "sgd",
          .lr = 0.02,
          .weight_decay = 1e-4,
          .momentum = 0.9,
          .lr_head = 10,
          .schedule = "poly",
          .power = 0.9};
}
TrainConfig torchvision_lraspp(const char* model) {
  TrainConfig c = torchvision(model);
  c.model.aux = 0;
  c.head = {};
  c.lr_head = 1;
  c.lr = 0.01;
  c.weight_decay = 1e-6;
  return c;
}

TrainConfig hrnet(const char* model) {
  return {.model = {.name = model},
          .data = cityscapes,
          .epochs = 484,
          .batch = 12,
          .crop_h = 512,
          .crop_w = 1024,
          .scale_min = 0.5,
          .scale_max = 2.1,
          .optimizer = "sgd",
          .lr = 0.01,
          .weight_decay = 5e-4,
          .momentum = 0.9,
          .schedule = "poly",
          .power = 0.9,
          .class_weights = "published"};
}
TrainConfig hrnet_ohem() {
  TrainConfig c = hrnet("hrnet-w48");
  c.ohem = 0.9;
  c.ohem_kept = 131072;
  return c;
}
TrainConfig hrnet_ocr() {
  TrainConfig c = hrnet("hrnet-ocr-w48");
  c.model.aux = 0.4;
  return c;
}
const std::string hrnet_source = "HRNet-Semantic-Segmentation; Wang et al. 2020, arXiv:1908.07919, section 4.1",
                  hrnet_note = "from ImageNet: --init; the authors scale by steps of 0.1";

/// AdamW for transformers, whose head learns ten times as fast. Of a data set that the program does not know by name, ADE20K.
TrainConfig on_mix_transformer(const char* model) {
  return {.model = {.name = model},
          .data = {.kind = "folder"},
          .head = {"decode_head"},
          .steps = 160000,
          .batch = 16,
          .crop_h = 512,
          .crop_w = 512,
          .scale_min = 0.5,
          .scale_max = 2,
          .jitter = 0.5,
          .optimizer = "adamw",
          .lr = 6e-5,
          .weight_decay = 0.01,
          .lr_head = 10,
          .schedule = "poly",
          .power = 1,
          .warmup = 1500};
}
TrainConfig segformer_cityscapes() {
  TrainConfig c = on_mix_transformer("segformer-b2");
  c.data = cityscapes;
  c.batch = 8;
  c.crop_h = c.crop_w = 1024;
  return c;
}
TrainConfig internimage(const char* model) {
  TrainConfig c = on_mix_transformer(model);  // whose settings are those of all transformers then
  c.model.aux = 0.4;
  c.head = {};
  c.lr_head = 1;
  c.weight_decay = 0.05;
  return c;
}
const std::string mix_transformer_note =
    "from ImageNet: --init; other sizes: --model, and --crop 640 640 for B5; the authors draw a crop anew that is a single class in over "
    "three "
    "quarters";

std::vector<Recipe> all() {
  std::vector<Recipe> list{
      {"fcn32s", fcn_source, "from VGG-16: --init", fcn("fcn32s", 1e-10, 100000)},
      {"fcn16s", fcn_source, "from a trained fcn32s: --init", fcn("fcn16s", 1e-12, 100000)},
      {"fcn8s", fcn_source, "from a trained fcn16s: --init", fcn("fcn8s", 1e-14, 100000)},
      {"fcn8s-at-once", fcn_source, "from VGG-16: --init", fcn("fcn8s-at-once", 1e-10, 300000)},
      {"crf-rnn", "Zheng et al. 2015, arXiv:1502.03240, and the authors' definition",
       "from a trained fcn8s: --init; the authors' compatibility matrix learns a tenth as fast as the weights of the filters", crf_rnn(),
       "100000 steps"},
      {"deconvnet", "Noh et al. 2015, arXiv:1505.04366, second stage, and the authors' solver",
       "from deconvnet-stage1: --init; windows of edge boxes or other proposals: --proposals; then eval and predict with --proposals, and "
       "--ensemble with fcn8s",
       deconvnet(), "all proposals of the file are trained on, as they are"},
      {"deconvnet-stage1", "Noh et al. 2015, arXiv:1505.04366, first stage, and the authors' solver",
       "from VGG-16: --init; one object of each image an epoch, in a square around it; then deconvnet", deconvnet_objects(),
       "the square is 1.2 times as large as the object"},
      {"segnet",
       "Badrinarayanan et al. 2015, arXiv:1511.00561, the authors' solver",
       "from VGG-16: --init; the paper: --lr 0.1 --batch 12",
       {.model = {.name = "segnet"},
        .data = camvid,
        .steps = 40000,
        .batch = 4,
        .flip = false,
        .optimizer = "sgd",
        .lr = 1e-3,
        .weight_decay = 5e-4,
        .momentum = 0.9,
        .schedule = "constant",
        .class_weights = "median-frequency"}},
      {"segnet-basic",
       "Badrinarayanan et al. 2015, arXiv:1511.00561, the authors' solver",
       "",
       {.model = {.name = "segnet-basic", .width = 64},
        .data = camvid,
        .steps = 10000,
        .batch = 4,
        .flip = false,
        .optimizer = "sgd",
        .lr = 0.1,
        .weight_decay = 5e-4,
        .momentum = 0.9,
        .lr_bias = 2,
        .schedule = "constant",
        .class_weights = "median-frequency"}},
      {"unet",
       "zhixuhao/unet, after Ronneberger et al. 2015, arXiv:1505.04597",
       "",
       {.model = {.name = "unet", .width = 64, .batch_norm = false, .dropout = 0.5},
        .batch = 2,
        .optimizer = "adam",
        .lr = 1e-4,
        .weight_decay = 0,
        .schedule = "constant"},
       "10 epochs"},
      {"unet-paper",
       "Ronneberger et al. 2015, arXiv:1505.04597, section 3",
       "tiles as large as memory holds: --crop; where objects touch: --border-inside",
       {.model = {.name = "unet", .width = 64, .batch_norm = false, .valid = true, .dropout = 0.5},
        .batch = 1,
        .rotate = 10,
        .elastic = 10,
        .flip = false,
        .jitter = 0.5,
        .optimizer = "sgd",
        .lr = 1e-3,
        .weight_decay = 0,
        .momentum = 0.99,
        .schedule = "constant",
        .class_weights = "median-frequency",
        .border_weight = 10},
       "the rate, 10 epochs, how much is dropped (as in zhixuhao/unet), how far to rotate and to change colours, median frequency as the "
       "balance of classes"},
      {"dilated-front-end", dilated_source, "from VGG-16: --init", dilated("dilated-front-end", 1e-4)},
      {"dilated8-context", dilated_source + ", the context module alone",
       "from a trained front end: --init; the authors keep its scores on disk and take 60 at a time", dilated_context(), "60000 steps"},
      {"dilated8", dilated_source + ", both modules together", "from dilated8-context: --init", dilated("dilated8", 1e-5), "60000 steps"},
      {"dilated7", dilated_source + ", both modules together, on KITTI", "from a trained front end: --init", dilated_on_folder("dilated7"),
       "60000 steps"},
      {"dilated10", dilated_source + ", both modules together, on Cityscapes", "from a trained front end: --init",
       dilated_on_folder("dilated10"), "60000 steps"},
      {"deeplab-v1",
       "Chen et al. 2015, arXiv:1412.7062, section 4",
       "from VGG-16: --init; --head is the last layer alone in the paper",
       {.model = {.name = "deeplab-v1"},
        .data = voc,
        .steps = 6000,
        .batch = 20,
        .crop_h = 321,
        .crop_w = 321,
        .optimizer = "sgd",
        .lr = 1e-3,
        .weight_decay = 5e-4,
        .momentum = 0.9,
        .lr_head = 10,
        .schedule = "step",
        .step_size = 2000},
       "flips"},
      {"deeplab-v2",
       "Chen et al. 2017, arXiv:1606.00915, section 4.1.2",
       "from COCO or ImageNet: --init",
       {.model = {.name = "deeplab-v2", .multi_scale = true},
        .data = voc,
        .freeze_norms = true,
        .steps = 20000,
        .batch = 10,
        .crop_h = 321,
        .crop_w = 321,
        .scale_min = 0.5,
        .scale_max = 1.5,
        .optimizer = "sgd",
        .lr = 2.5e-4,
        .weight_decay = 5e-4,
        .momentum = 0.9,
        .lr_head = 10,
        .lr_bias = 2,
        .schedule = "poly",
        .power = 0.9}},
      {"deeplab-v3", deeplab_v3_source, deeplab_v3_note, deeplab_v3("deeplab-v3")},
      {"deeplab-v3-finetune", deeplab_v3_source, "from a trained deeplab-v3: --init", deeplab_v3_finetune("deeplab-v3")},
      {"deeplab-v3-plus", "Chen et al. 2018, arXiv:1802.02611, section 4: as deeplab-v3", deeplab_v3_note, deeplab_v3("deeplab-v3-plus")},
      {"deeplab-v3-plus-finetune", "Chen et al. 2018, arXiv:1802.02611, section 4: as deeplab-v3", "from a trained deeplab-v3-plus: --init",
       deeplab_v3_finetune("deeplab-v3-plus")},
      {"pspnet",
       "Zhao et al. 2017, arXiv:1612.01105, section 5.1, and hszhao/semseg",
       "from ImageNet: --init",
       {.model = {.name = "pspnet", .aux = 0.4},
        .data = voc,
        .epochs = 50,
        .batch = 16,
        .crop_h = 473,
        .crop_w = 473,
        .scale_min = 0.5,
        .scale_max = 2,
        .rotate = 10,
        .blur = 0.5,
        .optimizer = "sgd",
        .lr = 0.01,
        .weight_decay = 1e-4,
        .momentum = 0.9,
        .lr_head = 10,
        .schedule = "poly",
        .power = 0.9},
       "how often and how much to blur"},
  };
  list.push_back({"hrnet", hrnet_source, hrnet_note, hrnet("hrnet-w48")});
  list.push_back({"hrnet-ohem", hrnet_source, hrnet_note, hrnet_ohem()});
  list.push_back({"hrnet-ocr", "HRNet-Semantic-Segmentation; Yuan et al. 2020, arXiv:1909.11065, section 4.2", hrnet_note, hrnet_ocr()});
  for (const char* model : {"fc-densenet56", "fc-densenet67", "fc-densenet103"}) add_fc_densenet(list, model);
  for (const char* model : {"fcn-resnet50", "fcn-resnet101", "deeplabv3-resnet50", "deeplabv3-resnet101"})
    list.push_back({model, "torchvision's reference scripts for segmentation",
                    "from ImageNet: --init; there on COCO's pictures of VOC's classes, scaled to 260 to 1040 pixels", torchvision(model)});
  const char* lraspp = "lraspp-mobilenet-v3-large";
  list.push_back({lraspp, "torchvision's reference scripts for segmentation", "as the four above", torchvision_lraspp(lraspp)});
  list.push_back({"segformer", "Xie et al. 2021, arXiv:2105.15203, section 4.1; NVlabs/SegFormer, on ADE20K", mix_transformer_note,
                  on_mix_transformer("segformer-b2"), "how much to change colours"});
  list.push_back({"segformer-cityscapes", "Xie et al. 2021, arXiv:2105.15203, section 4.1; NVlabs/SegFormer", mix_transformer_note,
                  segformer_cityscapes(), "how much to change colours"});
  list.push_back({"lawin", "Yan et al. 2022, arXiv:2201.01615, section 4: as segformer", mix_transformer_note,
                  on_mix_transformer("lawin-b2"), "how much to change colours"});
  list.push_back({"internimage", "Wang et al. 2023, arXiv:2211.05778, and the authors' configuration, on ADE20K",
                  "from ImageNet: --init; S and B: --model, dropping more of their branches; the authors draw a crop anew that is a single "
                  "class in over three quarters",
                  internimage("internimage-t-upernet"), "how much to change colours"});
  return list;
}

}  // namespace

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> table = all();
  return table;
}

TrainConfig recipe_config(const std::string& name) {
  std::string known;
  for (const Recipe& recipe : recipes()) {
    if (recipe.name == name) {
      TrainConfig config = recipe.config;
      config.recipe = name;
      return config;
    }
    known += (known.empty() ? "" : ", ") + recipe.name;
  }
  throw ValueError("program", "--recipe", "one of " + known, name);
}

}  // namespace segnet::program
