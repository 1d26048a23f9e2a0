#include "recipes.hpp"

#include "segnet/core/error.hpp"

namespace segnet::program {

namespace {

const DataConfig camvid{.kind = "camvid"}, voc{.kind = "voc"};

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
const std::string fcn_source = "Shelhamer et al., the authors' solvers; Long et al. 2015, arXiv:1411.4038";

TrainConfig fc_densenet(const char* model) {
  return {.model = {.name = model},
          .data = camvid,
          .epochs = 750,
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
const std::string fc_densenet_source = "Jegou et al. 2017, arXiv:1611.09326, section 4.1, and the authors' configuration";
const std::string fc_densenet_note =
    "then on whole images: --init best.safetensors --lr 1e-4 --crop 360 480; the authors stop when the held-out IoU has not risen for 100 "
    "epochs (50)";

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
const std::string deeplab_v3_note = "then 30000 steps at output stride 8 with frozen batch norms and --lr 0.001; weight decay as PSPNet's";

std::vector<Recipe> all() {
  return {
      {"fcn32s", fcn_source, "from VGG-16: --init", fcn("fcn32s", 1e-10, 100000)},
      {"fcn16s", fcn_source, "from a trained fcn32s: --init", fcn("fcn16s", 1e-12, 100000)},
      {"fcn8s", fcn_source, "from a trained fcn16s: --init", fcn("fcn8s", 1e-14, 100000)},
      {"fcn8s-at-once", fcn_source, "from VGG-16: --init", fcn("fcn8s-at-once", 1e-10, 300000)},
      {"deconvnet",
       "Noh et al. 2015, arXiv:1505.04366, second stage, and the authors' solver",
       "from VGG-16: --init; the authors crop windows of proposals, resized to 250 x 250",
       {.model = {.name = "deconvnet"},
        .data = voc,
        .steps = 40000,
        .batch = 64,
        .crop_h = 224,
        .crop_w = 224,
        .optimizer = "sgd",
        .lr = 0.01,
        .weight_decay = 5e-4,
        .momentum = 0.9,
        .lr_bias = 2,
        .schedule = "step",
        .step_size = 10000}},
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
       "the paper: --valid --optimizer sgd --momentum 0.99 --batch 1, elastic deformations, weights at the borders of cells",
       {.model = {.name = "unet", .width = 64, .batch_norm = false},
        .batch = 2,
        .optimizer = "adam",
        .lr = 1e-4,
        .weight_decay = 0,
        .schedule = "constant"}},
      {"fc-densenet56", fc_densenet_source, fc_densenet_note, fc_densenet("fc-densenet56")},
      {"fc-densenet67", fc_densenet_source, fc_densenet_note, fc_densenet("fc-densenet67")},
      {"fc-densenet103", fc_densenet_source, fc_densenet_note, fc_densenet("fc-densenet103")},
      {"dilated-front-end", "Yu & Koltun 2016, arXiv:1511.07122, and the authors' defaults", "from VGG-16: --init",
       dilated("dilated-front-end", 1e-4)},
      {"dilated8", "Yu & Koltun 2016, arXiv:1511.07122, and the authors' defaults, both modules together",
       "from a trained front end: --init; the authors train the context module alone first", dilated("dilated8", 1e-5)},
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
        .step_size = 2000}},
      {"deeplab-v2",
       "Chen et al. 2017, arXiv:1606.00915, section 4.1.2",
       "from COCO or ImageNet: --init; the paper trains on three scales at once",
       {.model = {.name = "deeplab-v2"},
        .data = voc,
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
      {"deeplab-v3", "Chen et al. 2017, arXiv:1706.05587, section 4.1", deeplab_v3_note, deeplab_v3("deeplab-v3")},
      {"deeplab-v3-plus", "Chen et al. 2018, arXiv:1802.02611, section 4: as deeplab-v3", deeplab_v3_note, deeplab_v3("deeplab-v3-plus")},
      {"pspnet",
       "Zhao et al. 2017, arXiv:1612.01105, section 5.1, and hszhao/semseg",
       "from ImageNet: --init; the authors rotate by up to 10 degrees and blur, too",
       {.model = {.name = "pspnet", .aux = 0.4},
        .data = voc,
        .epochs = 50,
        .batch = 16,
        .crop_h = 473,
        .crop_w = 473,
        .scale_min = 0.5,
        .scale_max = 2,
        .optimizer = "sgd",
        .lr = 0.01,
        .weight_decay = 1e-4,
        .momentum = 0.9,
        .lr_head = 10,
        .schedule = "poly",
        .power = 0.9}},
  };
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
