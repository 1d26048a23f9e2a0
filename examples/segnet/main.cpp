// segnet: train, evaluate and use segmentation networks from the command line.
//
// Exit codes: 0 done, 1 the run failed (loss not finite), 2 bad input or no such device (one line on stderr names it), 130 interrupted
// (resumable).
#include <CLI/CLI.hpp>

#include "arith.hpp"
#include "commands.hpp"
#include "recipes.hpp"
#include "segnet/core/build_info.hpp"

using namespace segnet::program;

namespace {

void add_model_options(CLI::App* app, ModelConfig& model) {
  app->add_option("--model", model.name, "network: see `segnet models`")->capture_default_str();
  app->add_option("--width", model.width, "channels of the first level; 0: the network's own")->capture_default_str();
  app->add_option("--depth", model.depth, "U-Net: number of 2x2 poolings")->capture_default_str();
  app->add_flag("--batch-norm,!--no-batch-norm", model.batch_norm, "U-Net: batch norm after each 3x3 convolution (default on)");
  app->add_flag("--valid", model.valid, "U-Net: the paper's convolutions without padding");
  app->add_option("--dropout", model.dropout, "U-Net: rate behind the last two levels of the contracting path, 0.5 in its recipes; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app->add_flag("--batch-statistics,!--running-statistics", model.batch_statistics,
                "fc-densenet: norms use the statistics of the batch in evaluation too, as the authors' do (the recipes' default)");
  app->add_option("--aux", model.aux,
                  "weight of the loss of an auxiliary head: fcn-resnet, deeplabv3, pspnet have one on layer3 unless it is 0; hrnet-ocr's "
                  "is there anyway")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app->add_flag("--multi-scale,!--one-scale", model.multi_scale,
                "deeplab-v2: the image at scales 1, 0.75 and 0.5, the largest logit of them; training adds the loss of each (the recipe's "
                "default)");
  app->add_option("--output-stride", model.output_stride,
                  "deeplabv3, deeplab-v3, deeplab-v3-plus: 8, 16 or 32, with rates of dilation to match; 0: the network's own")
      ->capture_default_str()
      ->check(CLI::IsMember({0, 8, 16, 32}));
}

void add_data_options(CLI::App* app, DataConfig& data) {
  app->add_option("--data", data.kind, "scenes (made on the fly), camvid, cityscapes, voc, or folder (--images and --masks)")
      ->check(CLI::IsMember({"scenes", "camvid", "cityscapes", "voc", "folder"}))
      ->capture_default_str();
  app->add_option("--root", data.root, "folder of camvid, cityscapes or voc");
  app->add_option("--images", data.images, "folder of pictures (PNG, JPEG, BMP)");
  app->add_option("--masks", data.masks, "folder of label maps (PNG, grey or indexed), matched by file name without extension");
  app->add_option("--val-images", data.val_images, "the same for validation; left out: every tenth training pair");
  app->add_option("--val-masks", data.val_masks, "");
  app->add_option("--classes", data.classes, "number of classes of a folder data set");
  app->add_option("--class-names", data.class_names, "or a text file: a line for each class, NAME or NAME RED GREEN BLUE");
  app->add_option("--ignore-index", data.ignore_index, "label that counts nowhere (folder)")->capture_default_str();
  app->add_option("--scene-size", data.scene_size, "side of a scene in pixels")->capture_default_str();
  app->add_option("--scene-train", data.scene_train, "scenes per training epoch")->capture_default_str();
  app->add_option("--scene-val", data.scene_val, "held-out scenes")->capture_default_str();
  app->add_option("--scene-side-min", data.scene_side_min, "side of a garment, in parts of the scene's, at least")->capture_default_str();
  app->add_option("--scene-side-max", data.scene_side_max, "and at most")->capture_default_str();
  app->add_option("--scene-objects-min", data.scene_objects_min, "garments in a scene, at least (where there is room)")
      ->capture_default_str();
  app->add_option("--scene-objects-max", data.scene_objects_max, "and at most")->capture_default_str();
}

void add_device_options(CLI::App* app, DeviceConfig& c) {
  app->add_option("--device", c.device, "where networks compute")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app->add_option("--precision", c.precision, "on the GPU: float; tf32 (float, products rounded to 10 bits); bf16 (weights stay float)")
      ->check(CLI::IsMember({"float", "tf32", "bf16"}))
      ->capture_default_str();
}

/// How `eval` and `predict` call a network.
void add_inference_options(CLI::App* app, segnet::models::InferenceOptions& o) {
  app->add_option("--tile", o.tile, "side of the tiles that a large picture is cut into; 0: whole")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app->add_option("--overlap", o.overlap, "pixels that neighbouring tiles share")->capture_default_str()->check(CLI::NonNegativeNumber);
  app->add_flag("--flip-test", o.flip, "average with the mirrored picture");
  app->add_option_function<std::string>(
      "--scales",
      [&o](const std::string& text) {
        o.scales.clear();
        for (const std::string& factor : CLI::detail::split(text, ','))
          if (!CLI::detail::lexical_cast(factor, o.scales.emplace_back()) || !(o.scales.back() >= 0.01 && o.scales.back() <= 100))
            throw CLI::ValidationError("--scales", "expected factors from 0.01 to 100 such as 0.5,1,1.5");
      },
      "average over the picture resized by these factors, 0.5,0.75,1,1.25,1.5,1.75 in papers");
}

/// How they see a picture through windows of it instead.
void add_window_options(CLI::App* app, WindowConfig& c) {
  CLI::Option* proposals = app->add_option(
      "--proposals", c.proposals,
      "windows to look at instead of the whole picture, the first 50 of at least 112 x 112 pixels, each resized to 224 x 224; the largest "
      "score of them counts. A file of lines LEFT TOP WIDTH HEIGHT NAME, NAME that of the picture without extension");
  for (const char* other : {"--tile", "--flip-test", "--scales"}) proposals->excludes(app->get_option(other));
  app->add_option("--ensemble", c.ensemble,
                  "checkpoint of another network, which sees the whole picture: the product of both scores counts")
      ->needs(proposals);
}

/// What a CRF makes of the network's probabilities.
void add_crf_options(CLI::App* app, CrfConfig& c) {
  CLI::Option* crf =
      app->add_flag("--crf", c.on, "refine what the network says by a dense CRF on the picture, by default with DeepLab's settings");
  app->add_option("--crf-iterations", c.iterations, "of its mean field")->capture_default_str()->check(CLI::NonNegativeNumber)->needs(crf);
  const auto numbers = [&](const char* name, double* to, std::size_t count, const char* description) {
    app->add_option_function<std::string>(
           name,
           [=](const std::string& text) {
             const auto parts = CLI::detail::split(text, ',');
             bool good = parts.size() == count;
             for (std::size_t i = 0; good && i < count; ++i)
               good = CLI::detail::lexical_cast(parts[i], to[i]) && (i == 0 ? to[i] >= 0 : to[i] > 0);
             if (!good)
               throw CLI::ValidationError(name, segnet::concat("expected ", count, " numbers such as ", count == 2 ? "3,1" : "4,67,3"));
           },
           description)
        ->needs(crf);
  };
  numbers("--crf-smoothness", c.smoothness, 2, "WEIGHT,PIXELS (3,1): neighbours so near have the same label; weight 0: do without");
  numbers("--crf-appearance", c.appearance, 3,
          "WEIGHT,PIXELS,LEVELS (4,67,3): pixels whose colours differ by so few of 255 have the same label, even so far from each other");
}

/// "10x" or "10"
void add_factor_option(CLI::App* app, const std::string& name, double& factor, const std::string& description) {
  app->add_option_function<std::string>(
      name,
      [&factor, name](std::string text) {
        if (text.ends_with('x')) text.pop_back();
        if (!CLI::detail::lexical_cast(text, factor) || !(factor > 0)) throw CLI::ValidationError(name, "expected a factor such as 10x");
      },
      description);
}

void add_train_options(CLI::App* app, TrainConfig& c) {
  app->add_option_function<std::string>(  // the first option, so that the others override it wherever it stands
      "--recipe", [&c](const std::string& name) { c = recipe_config(name); },
      "published settings to begin with, which other options override: see `segnet recipes`");
  add_model_options(app, c.model);
  add_data_options(app, c.data);
  add_device_options(app, c.compute);
  app->add_option("--epochs", c.epochs, "passes over the training set")->capture_default_str()->check(CLI::PositiveNumber);
  app->add_option("--patience", c.patience, "stop when the held-out mean IoU has not risen for so many epochs; 0: no")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app->add_option("--steps", c.steps, "steps of the whole training, instead of --epochs")->check(CLI::NonNegativeNumber);
  app->add_option("--batch", c.batch, "images per step")->capture_default_str()->check(CLI::PositiveNumber);
  app->add_option_function<std::vector<std::int64_t>>(
         "--crop",
         [&c](const std::vector<std::int64_t>& hw) {
           c.crop_h = hw[0];
           c.crop_w = hw.back();
         },
         "random crop: HEIGHT [WIDTH]")
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
      ->expected(1, 2);
  app->add_option("--object-crop", c.object_crop,
                  "voc: instead of the image a square around one of its objects, resized to this side, other classes as background; 0: no")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--window-crop", c.window_crop, "instead of the images the windows of --proposals, resized to this side; 0: no")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--proposals", c.proposals, "file of windows of the training images: lines LEFT TOP WIDTH HEIGHT NAME, see `eval`");
  app->add_option("--scale-min", c.scale_min, "random scale before the crop")->capture_default_str();
  app->add_option("--scale-max", c.scale_max, "")->capture_default_str();
  app->add_option("--rotate", c.rotate, "random rotation: degrees, at most, either way")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 180.0));
  app->add_option("--elastic", c.elastic, "random elastic deformation: standard deviation in pixels of vectors on a 3 x 3 grid; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app->add_flag("--flip,!--no-flip", c.flip, "random horizontal flips (default on)");
  app->add_option("--jitter", c.jitter, "strength of the colour jitter, 0 to 1")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app->add_option("--blur", c.blur, "probability of a Gaussian blur")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app->add_option("--optimizer", c.optimizer, "")->check(CLI::IsMember({"sgd", "adam", "adamw", "rmsprop"}))->capture_default_str();
  app->add_option("--lr", c.lr, "learning rate")->capture_default_str()->check(CLI::PositiveNumber);
  app->add_option("--weight-decay", c.weight_decay, "")->capture_default_str();
  app->add_option("--momentum", c.momentum, "of sgd and rmsprop")->capture_default_str();
  add_factor_option(app, "--lr-head", c.lr_head,
                    "10x: the learning rate, times 10, for what was not loaded by --init (or is named by --head)");
  add_factor_option(app, "--lr-bias", c.lr_bias, "2x: the same for biases");
  app->add_option("--alpha", c.alpha, "of rmsprop: how much of the mean square stays")->capture_default_str();
  app->add_option("--eps", c.eps, "of rmsprop, beside the root")->capture_default_str();
  app->add_option("--schedule", c.schedule, "of the learning rate, per step")
      ->check(CLI::IsMember({"constant", "poly", "cosine", "step"}))
      ->capture_default_str();
  app->add_option("--power", c.power, "of the poly schedule")->capture_default_str();
  app->add_option("--gamma", c.gamma, "of the step schedule: times this")->capture_default_str();
  app->add_option("--step-size", c.step_size, "every so many steps; 0: every epoch")->capture_default_str()->check(CLI::NonNegativeNumber);
  app->add_option("--warmup", c.warmup, "steps of linear warm-up")->capture_default_str();
  app->add_option("--clip", c.clip, "largest global norm of the gradients; 0: no clipping")->capture_default_str();
  app->add_option("--label-smoothing", c.label_smoothing, "")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app->add_option("--ohem", c.ohem, "loss of hard pixels alone, whose class has a probability below this (0.7, 0.9 in papers); 0: of all")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app->add_option("--ohem-kept", c.ohem_kept, "pixels of a batch that count with --ohem, however easy")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_option("--class-weights", c.class_weights, "of the loss; published: those of camvid and cityscapes")
      ->check(CLI::IsMember({"none", "median-frequency", "published"}))
      ->capture_default_str();
  app->add_option("--border-weight", c.border_weight, "of the loss, U-Net's w0: added to pixels between objects that nearly touch; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app->add_option("--border-sigma", c.border_sigma, "how wide such a gap may be, in pixels")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_flag("--border-inside", c.border_inside, "within objects too: for those that touch");
  app->add_option("--ema", c.ema, "decay of the moving average of the weights, which is then what is evaluated; 0: none")
      ->capture_default_str();
  app->add_option("--init", c.init, "start from the weights of this checkpoint, .safetensors or .pth file, as far as they fit");
  app->add_option("--freeze", c.freeze, "a part of the network that is not trained, by the beginning of its names; may be repeated")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
  app->add_flag("--freeze-norms", c.freeze_norms, "batch norms use and keep their statistics, scale and shift are not trained");
  app->add_option("--head", c.head, "a part that --lr-head is for; may be repeated")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
  app->add_option("--seed", c.seed, "of weights, scenes, order and augmentation")->capture_default_str();
  app->add_option("--workers", c.workers, "threads that prepare batches; -1: one, or for the GPU one a core")->capture_default_str();
  app->add_option("--cache", c.cache, "GiB of decoded images to keep in memory")->capture_default_str()->check(CLI::NonNegativeNumber);
  app->add_option("--eval-every", c.eval_every, "epochs between evaluations")->capture_default_str()->check(CLI::PositiveNumber);
  app->add_option("--checkpoint-every", c.checkpoint_every, "steps between checkpoints; 0: at the end of an epoch")->capture_default_str();
  app->add_option("--max-minutes", c.max_minutes, "stop after the first epoch that ends later; 0: no limit")->capture_default_str();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"segnet: train, evaluate and use segmentation networks"};
  app.require_subcommand(1);
  app.option_defaults()->take_last();  // of an option given twice, as scripts do to override
  app.set_version_flag("--version", to_string(segnet::build_info()));
  int exit_code = 0;

  TrainConfig train_config;
  bool resume = false, print_config = false;
  CLI::App* train = app.add_subcommand("train", "train a network; writes checkpoints, a CSV log and report.html");
  add_train_options(train, train_config);
  train->add_option("-o,--output", train_config.output, "folder of the run")->capture_default_str();
  train->add_flag("--resume", resume, "go on where the run in --output stopped, to the bit; its own settings are used");
  train->add_flag("--print-config", print_config, "show all settings as JSON and do nothing");
  train->callback([&] { exit_code = print_config ? run_print_config(train_config) : run_train(train_config, resume); });

  CLI::App* recipes = app.add_subcommand("recipes", "the published settings that `segnet train --recipe` knows");
  recipes->callback([&] { exit_code = run_recipes(); });

  EvalConfig eval_config;
  CLI::App* eval = app.add_subcommand("eval", "score a checkpoint on a data set");
  eval->add_option("checkpoint", eval_config.checkpoint, "best.safetensors or last.safetensors of a run")->required();
  eval->add_option("--split", eval_config.split, "train, val or test; scenes and folders have train and val")->capture_default_str();
  eval->add_option("-o,--output", eval_config.output, "folder for the table, the report and sample pictures");
  eval->add_option("--batch", eval_config.batch, "images per forward pass")->capture_default_str()->check(CLI::PositiveNumber);
  add_inference_options(eval, eval_config.inference);
  add_window_options(eval, eval_config.windows);
  add_crf_options(eval, eval_config.crf);
  eval->add_flag("--other-data", eval_config.other_data, "score on the data set given here, not on the one of the checkpoint");
  add_data_options(eval, eval_config.data);
  add_device_options(eval, eval_config.compute);
  eval->callback([&] { exit_code = run_eval(eval_config); });

  PredictConfig predict_config;
  CLI::App* predict = app.add_subcommand("predict", "segment pictures of any size");
  predict->add_option("checkpoint", predict_config.checkpoint, "best.safetensors or last.safetensors of a run")->required();
  predict->add_option("inputs", predict_config.inputs, "picture files and folders")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  predict->add_option("-o,--output", predict_config.output, "folder of the results")->capture_default_str();
  predict->add_flag("--probabilities", predict_config.probabilities, "also one grey map per class, 255 = certain");
  add_inference_options(predict, predict_config.inference);
  add_window_options(predict, predict_config.windows);
  add_crf_options(predict, predict_config.crf);
  add_device_options(predict, predict_config.compute);
  predict->callback([&] { exit_code = run_predict(predict_config); });

  ModelConfig summary_model;
  summary_model.classes = 2;
  std::vector<std::int64_t> summary_input{1, 256, 256, 3};
  std::string summary_checkpoint;
  CLI::App* summary = app.add_subcommand("summary", "layers, shapes, parameters, multiply-adds and memory of a network");
  add_model_options(summary, summary_model);
  summary->add_option("--classes", summary_model.classes, "")->capture_default_str();
  summary->add_option("--input", summary_input, "N H W C")
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw)
      ->expected(4)
      ->capture_default_str();
  summary->add_option("--checkpoint", summary_checkpoint, "the network of a checkpoint instead");
  summary->callback([&] { exit_code = run_summary(summary_model, summary_checkpoint, summary_input); });

  ConvertConfig convert_config;
  convert_config.model.classes = 21;
  CLI::App* convert = app.add_subcommand("convert", "what is in a file of weights (safetensors, .pth), and the same in another format");
  convert->add_option("input", convert_config.input, "weights; the format is seen from what they hold")->required();
  convert->add_option("output", convert_config.output,
                      "file to write: .pth, .pt, else safetensors; left out: names, types and shapes are shown");
  add_model_options(convert, convert_config.model);
  convert->add_option("--classes", convert_config.model.classes, "of --model")->capture_default_str();
  convert->get_option("--model")->description("load strictly into this network, and write what is there then");
  convert->callback([&] { exit_code = run_convert(convert_config); });

  CLI::App* models = app.add_subcommand("models", "the networks there are");
  bool models_markdown = false;
  models->add_flag("--markdown", models_markdown, "as the table of docs/models.md");
  models->callback([&] { exit_code = run_models(models_markdown); });

  DataConfig check_config;
  std::string check_split = "train";
  CLI::App* check = app.add_subcommand("check-data", "look through a data set for what would spoil a training run");
  check->add_option("--split", check_split, "")->capture_default_str();
  add_data_options(check, check_config);
  check->callback([&] { exit_code = run_check_data(check_config, check_split); });

  add_arith(app, exit_code);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    std::fprintf(stderr, "segnet: %s (see `segnet --help`)\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "segnet: %s\n", e.what());
    return 2;
  }
  return exit_code;
}
