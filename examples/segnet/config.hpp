// What `segnet train` was asked to do. It is stored in every checkpoint, so that eval, predict and resume need no arguments.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace segnet::program {

struct ModelConfig {
  std::string name = "unet";
  std::int64_t width = 0;         ///< channels of the first level; 0: the network's own
  int depth = 4;                  ///< U-Net: number of poolings
  bool batch_norm = true;         ///< U-Net
  bool valid = false;             ///< U-Net: the paper's unpadded convolutions
  double dropout = 0;             ///< U-Net: rate at the end of the contracting path
  bool batch_statistics = false;  ///< FC-DenseNet: norms use the batch's statistics in evaluation too, as the paper's
  double aux = 0;                 ///< weight of an auxiliary head's loss; 0: no such head
  bool multi_scale = false;       ///< DeepLab v2: the image at three scales, the largest logit of them
  int output_stride = 0;          ///< DeepLab v3 and v3+: 8, 16 or 32, rates of dilation with it; 0: the network's own
  std::int64_t classes = 0;
};

struct DataConfig {
  std::string kind = "scenes";  ///< scenes, camvid, cityscapes, voc, folder
  std::string root = {};        ///< of camvid, cityscapes and voc
  std::string images = {}, masks = {}, val_images = {}, val_masks = {};
  std::int64_t classes = 0;      ///< of folder pairs; the others know
  std::string class_names = {};  ///< or a file that names them
  std::int32_t ignore_index = 255;
  std::int64_t scene_size = 96, scene_train = 6000, scene_val = 300;
  double scene_side_min = 0.36, scene_side_max = 0.56;  ///< of a garment's picture, in parts of the scene's
  int scene_objects_min = 2, scene_objects_max = 6;
};

struct DeviceConfig {
  std::string device = "cpu";       ///< cpu, cuda
  std::string precision = "float";  ///< of the GPU's arithmetic: float, tf32, bf16
};

struct TrainConfig {
  ModelConfig model = {};
  DataConfig data = {};
  DeviceConfig compute = {};
  std::string output = "out/train";
  std::string recipe = {};                          ///< the preset that the settings began with
  std::string init = {};                            ///< weights to start from
  std::vector<std::string> freeze = {}, head = {};  ///< prefixes of names: of what is not trained, of what learns `lr_head` times as fast
  bool freeze_norms = false;                        ///< batch norms use and keep their statistics, scale and shift are not trained
  int epochs = 10;
  int patience = 0;        ///< stop when the held-out mean IoU has not risen for so many epochs; 0: no
  std::int64_t steps = 0;  ///< of the whole training, instead of epochs; 0: epochs count
  std::int64_t batch = 8;
  std::int64_t crop_h = 0, crop_w = 0;  ///< 0: the whole image
  std::int64_t object_crop = 0;         ///< side of a square around one object, before everything else; 0: the whole image
  std::int64_t window_crop = 0;         ///< side of the windows of images that are the training samples; 0: the images are
  std::string proposals = {};           ///< the file of these windows
  double scale_min = 1, scale_max = 1;  ///< random scale before the crop
  double rotate = 0;                    ///< degrees at most, either way
  double elastic = 0;                   ///< pixels: standard deviation of the vectors of an elastic deformation
  bool flip = true;
  double jitter = 0;  ///< strength of the colour jitter, 0 to 1
  double blur = 0;    ///< probability of a Gaussian blur
  std::string optimizer = "adamw";
  double lr = 1e-3, weight_decay = 1e-4, momentum = 0.9;
  double lr_head = 1, lr_bias = 1;  ///< times `lr`: for what was not loaded from `init` (or is named by `head`), for biases
  double alpha = 0.99, eps = 1e-8;  ///< of rmsprop
  std::string schedule = "poly";
  double power = 0.9;
  double gamma = 0.1;          ///< step schedule: times this
  std::int64_t step_size = 0;  ///< every so many steps; 0: every epoch
  std::int64_t warmup = 0;     ///< steps
  double clip = 0;             ///< global 2-norm of the gradients; 0: no clipping
  double label_smoothing = 0;
  double ohem = 0;                     ///< pixels whose class has at least this probability do not count; 0: all pixels do
  std::int64_t ohem_kept = 131072;     ///< pixels of a batch that count, however sure
  std::string class_weights = "none";  ///< none, median-frequency, published
  double border_weight = 0;            ///< w0 of U-Net's weights of pixels between objects; 0: none
  double border_sigma = 5;             ///< pixels
  bool border_inside = false;          ///< within objects, too
  double ema = 0;                      ///< decay of the moving average of the weights; 0: none
  std::uint64_t seed = 0;
  int workers = -1;          ///< -1: one for the CPU, which computes itself; one a core, at most 16, for the GPU
  double cache = 2;          ///< GiB of decoded samples kept, of each split
  int eval_every = 1;        ///< epochs
  int checkpoint_every = 0;  ///< steps; 0: at the end of each epoch only
  double max_minutes = 0;    ///< stop at the first epoch that ends later; 0: no limit
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ModelConfig, name, width, depth, batch_norm, valid, dropout, batch_statistics, aux,
                                                multi_scale, output_stride, classes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(DataConfig, kind, root, images, masks, val_images, val_masks, classes, class_names,
                                                ignore_index, scene_size, scene_train, scene_val, scene_side_min, scene_side_max,
                                                scene_objects_min, scene_objects_max)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(DeviceConfig, device, precision)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(TrainConfig, model, data, compute, output, recipe, init, freeze, head, freeze_norms, epochs,
                                                patience, steps, batch, crop_h, crop_w, object_crop, window_crop, proposals, scale_min,
                                                scale_max, rotate, elastic, flip, jitter, blur, optimizer, lr, weight_decay, momentum,
                                                lr_head, lr_bias, alpha, eps, schedule, power, gamma, step_size, warmup, clip,
                                                label_smoothing, ohem, ohem_kept, class_weights, border_weight, border_sigma, border_inside,
                                                ema, seed, workers, cache, eval_every, checkpoint_every, max_minutes)

}  // namespace segnet::program
