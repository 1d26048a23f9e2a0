// segnet train: the loop, its checkpoints, its log, its report.
#include <csignal>
#include <filesystem>

#include "checkpoint.hpp"
#include "commands.hpp"
#include "datasets.hpp"
#include "evaluate.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "segnet/data/loader.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/optim/adam.hpp"
#include "segnet/optim/clip.hpp"
#include "segnet/optim/ema.hpp"
#include "segnet/optim/rmsprop.hpp"
#include "segnet/optim/schedule.hpp"
#include "segnet/optim/sgd.hpp"

namespace segnet::program {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t interrupted = 0;

using State = optim::OptimizerState<float>;

/// An optimiser's (or moving average's) state as entries of a checkpoint, and back.
void put_state(std::vector<SafetensorsEntry>& entries, const std::string& prefix, const State& state) {
  for (const auto& [name, tensor] : state.tensors) entries.emplace_back(prefix + name, tensor);
  for (const auto& [name, steps] : state.steps) entries.emplace_back(prefix + "steps:" + name, Tensor<std::int64_t>({}, {steps}));
}
State get_state(const SafetensorsFile& file, const std::string& prefix) {
  State state;
  for (const auto& name : file.names()) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    if (own.starts_with("steps:")) state.steps.emplace_back(own.substr(6), file.tensor<std::int64_t>(name).item());
    else state.tensors.emplace_back(own, file.tensor<float>(name));
  }
  return state;
}

/// Weight decay is for weights: biases and the parameters of norms (one-dimensional) go without.
std::unique_ptr<optim::Optimizer<float>> make_optimizer(const TrainConfig& c, const std::vector<nn::NamedTensor<float>>& state) {
  std::vector<nn::NamedTensor<float>> decayed, plain;
  for (const auto& entry : state)
    if (entry.trainable) (entry.tensor.rank() > 1 ? decayed : plain).push_back(entry);
  const auto build = [&](auto optimizer, auto options) -> std::unique_ptr<optim::Optimizer<float>> {
    options.lr = c.lr;
    options.weight_decay = c.weight_decay;
    optimizer.add_group(decayed, options);
    options.weight_decay = 0;
    optimizer.add_group(plain, options);
    return std::make_unique<decltype(optimizer)>(std::move(optimizer));
  };
  if (c.optimizer == "sgd") return build(optim::Sgd<float>(), optim::SgdOptions{.momentum = c.momentum});
  if (c.optimizer == "adam") return build(optim::Adam<float>(), optim::AdamOptions{});
  if (c.optimizer == "rmsprop") return build(optim::Rmsprop<float>(), optim::RmspropOptions{.momentum = c.momentum});
  return build(optim::AdamW<float>(), optim::AdamWOptions{});
}

optim::Schedule make_schedule(const TrainConfig& c, std::int64_t total_steps) {
  const std::string name = c.warmup > 0 && c.schedule != "constant" ? "warmup_" + c.schedule : c.warmup > 0 ? "linear_warmup" : c.schedule;
  return optim::make_schedule(name, {.base = c.lr, .total = total_steps, .power = c.power, .warmup = c.warmup});
}

data::Augmentation augmentation_of(const TrainConfig& c, const NetworkInfo& network, const data::Dataset& train) {
  if (c.scale_min <= 0 || c.scale_max < c.scale_min)
    throw ValueError("train", "--scale-min, --scale-max", "0 < min <= max", concat(c.scale_min, " and ", c.scale_max));
  const Shape image = train.get(0).image.shape();
  if (c.crop_h < 0 || c.crop_w < 0 || static_cast<double>(c.crop_h) > c.scale_max * static_cast<double>(image[0]) ||
      static_cast<double>(c.crop_w) > c.scale_max * static_cast<double>(image[1]))
    throw ValueError("train", "--crop",
                     concat("at most the images' ", image[0], " x ", image[1], " pixels (height x width) times --scale-max"),
                     concat(c.crop_h, " x ", c.crop_w));
  if (c.scale_max != c.scale_min && c.crop_h == 0)
    throw ValueError("train", "--crop", "a size, since --scale-min and --scale-max change that of the images", "none");
  return {.min_scale = c.scale_min,
          .max_scale = c.scale_max,
          .crop_height = c.crop_h,
          .crop_width = c.crop_w,
          .flip = c.flip ? 0.5 : 0.0,
          .colours = data::ColourJitter::usual(static_cast<float>(c.jitter)),
          .normalization = normalization(network),
          .ignore_index = train.info().ignore_index};
}

/// A run in progress: everything that a checkpoint holds.
struct Training {
  CheckpointHeader header;
  nn::AnyModule<> network;
  std::unique_ptr<optim::Optimizer<float>> optimizer;
  std::optional<optim::Ema<float>> ema;

  Training(const TrainConfig& config, const data::DatasetInfo& info) : header{config, {}, info.classes, info.palette} {
    default_generator() = {config.seed};
    network = build_network(config.model);
    if (!config.init.empty()) load_initial(config.init);
    optimizer = make_optimizer(config, network.state_dict());
    if (config.ema > 0) ema.emplace(network.state_dict(), optim::EmaOptions{.decay = config.ema});
  }

  /// Everything that a resume needs.
  void save_last(const std::string& path, double seconds) {
    header.state.seconds = seconds;
    header.state.random_seed = default_generator().seed;
    header.state.random_offset = default_generator().offset;
    auto tensors = weight_entries(network.state_dict(), "model.");
    put_state(tensors, "optimizer.", optimizer->state());
    if (ema) put_state(tensors, "ema.", ema->state());
    write_checkpoint(path, header, std::move(tensors));
  }
  void restore(const SafetensorsFile& file, const RunState& state) {
    load_weights(file, network.state_dict(), true, "model.");
    optimizer->load_state(get_state(file, "optimizer."));
    if (ema) ema->load_state(get_state(file, "ema."));
    header.state = state;
    default_generator() = {state.random_seed, state.random_offset};
  }

 private:
  void load_initial(const std::string& path) {
    const SafetensorsFile file(path);
    bool everything = false;
    for (const auto& name : file.names()) everything |= name.starts_with("model.");
    const LoadReport report = load_weights(file, network.state_dict(), false, everything ? "model." : "");
    if (report.loaded == 0) throw IoError(path, concat("no tensor fits this network: ", to_string(report)));
    std::printf("%lld tensors from %s (%s)\n", static_cast<long long>(report.loaded), path.c_str(), to_string(report).c_str());
  }
};

index_t count_parameters(const nn::AnyModule<>& network) {
  index_t n = 0;
  for (const auto& entry : network.state_dict()) n += entry.trainable ? entry.tensor.numel() : 0;
  return n;
}

}  // namespace

int run_train(TrainConfig config, bool resume) {
  const OutputFolder paths(config.output);
  const std::string last = paths.of("last.safetensors");
  if (fs::exists(last) && !resume) throw IoError(last, "there is a run in this folder: go on with --resume, or choose another --output");
  std::optional<SafetensorsFile> checkpoint;
  RunState resumed;
  if (resume) {
    checkpoint.emplace(last);
    const CheckpointHeader header = read_header(*checkpoint);
    const std::string folder = config.output;
    config = header.config;
    config.output = folder;
    resumed = header.state;
  }
  const NetworkInfo& info = network_info(config.model.name);
  const data::Dataset train_data = open_dataset(config.data, "train"), val_data = open_dataset(config.data, "val");
  config.model.classes = static_cast<std::int64_t>(train_data.info().classes.size());
  const data::Augmentation augmentation = augmentation_of(config, info, train_data);
  Tensor<float> class_weight;
  if (config.class_weights == "median-frequency") class_weight = class_weights(config.data, train_data);

  Training training(config, train_data.info());
  if (checkpoint) training.restore(*checkpoint, resumed);
  RunState& state = training.header.state;

  data::Loader loader(train_data, augmentation,
                      {.batch = config.batch, .seed = config.seed, .workers = config.workers, .shuffle = true, .drop_last = true});
  const std::int64_t batches = loader.batches();
  if (batches == 0)
    throw ValueError("train", "--batch", concat("at most the ", train_data.size(), " training images"), concat(config.batch));
  const std::int64_t total_steps = batches * config.epochs;
  const optim::Schedule schedule = make_schedule(config, total_steps);
  std::printf("%s  %s parameters  %s: %lld training images, %lld held out, %zu classes\n", config.model.name.c_str(),
              nn::grouped(count_parameters(training.network)).c_str(), config.data.kind.c_str(), static_cast<long long>(train_data.size()),
              static_cast<long long>(val_data.size()), train_data.info().classes.size());
  std::printf("%d epochs of %lld steps, batch %lld, %d threads%s\n", config.epochs, static_cast<long long>(batches),
              static_cast<long long>(config.batch), num_threads(), checkpoint ? concat(", resumed after step ", state.step).c_str() : "");

  interrupted = 0;
  std::signal(SIGINT, [](int) { interrupted = 1; });
  Progress progress("");
  const double before = state.seconds;
  const auto seconds = [&] { return before + progress.seconds(); };
  const auto save_last = [&] { training.save_last(last, seconds()); };

  bool out_of_time = false;
  while (state.epoch < config.epochs && !out_of_time) {
    training.network.train();
    loader.start(state.epoch, state.batch);
    const double epoch_start = progress.seconds();
    const std::int64_t first_batch = state.batch;
    while (state.batch < batches) {
      const data::Batch batch = *loader.next();
      const double lr = schedule.lr(state.step);
      training.optimizer->set_lr(lr);
      training.optimizer->zero_grad();
      const Tensor<float> loss = cross_entropy(
          training.network(batch.images), batch.labels,
          {.class_weight = class_weight, .ignore_index = train_data.info().ignore_index, .label_smoothing = config.label_smoothing});
      const double value = static_cast<double>(loss.item());
      if (!std::isfinite(value)) {
        progress.clear();
        std::fprintf(
            stderr,
            "segnet: the loss is %s at step %lld (epoch %d, lr %g): stopped. The last checkpoint, %s, is from before; try a smaller --lr, "
            "--warmup or --clip\n",
            std::isnan(value) ? "not a number" : "infinite", static_cast<long long>(state.step), state.epoch + 1, lr,
            paths.of("last.safetensors").c_str());
        return 1;
      }
      loss.backward();
      if (config.clip > 0) optim::clip_grad_norm(training.optimizer->parameters(), config.clip);
      training.optimizer->step();
      if (training.ema) training.ema->update();
      ++state.batch;
      ++state.step;
      state.loss_sum += value;
      state.loss_window += value;
      if (state.step % RunState::losses_every == 0) {
        state.losses.push_back(state.loss_window / static_cast<double>(RunState::losses_every));
        state.loss_window = 0;
      }

      const double rate = static_cast<double>((state.batch - first_batch) * config.batch) / (progress.seconds() - epoch_start);
      const double left = static_cast<double>((total_steps - state.step) * config.batch) / rate;
      char text[128];
      std::snprintf(text, sizeof text, "epoch %d/%d  loss %.4f  %.1f images/s  %s left", state.epoch + 1, config.epochs,
                    state.loss_sum / static_cast<double>(state.batch), rate, clock_text(left).c_str());
      progress.update(state.batch, batches, text);
      if (interrupted) {
        save_last();
        progress.clear();
        std::printf("Interrupted after step %lld. Go on with: segnet train --resume --output %s\n", static_cast<long long>(state.step),
                    config.output.c_str());
        return 130;
      }
      if (config.checkpoint_every > 0 && state.step % config.checkpoint_every == 0 && state.batch < batches) save_last();
    }

    EpochRecord record;
    record.epoch = ++state.epoch;
    record.step = state.step;
    record.lr = schedule.lr(state.step - 1);
    record.train_loss = state.loss_sum / static_cast<double>(batches);
    record.images_per_second = static_cast<double>((batches - first_batch) * config.batch) / (progress.seconds() - epoch_start);
    state.batch = 0;
    state.loss_sum = 0;
    out_of_time = config.max_minutes > 0 && seconds() > 60 * config.max_minutes;

    bool best = false;
    if (state.epoch % config.eval_every == 0 || state.epoch == config.epochs || out_of_time) {
      if (training.ema) training.ema->swap();
      const Evaluation scores = evaluate(training.network, info, val_data, {.batch = config.batch});
      record.val_loss = scores.loss;
      record.val_miou = scores.confusion.mean_iou().value_or(0);
      record.val_pixel_accuracy = scores.confusion.pixel_accuracy().value_or(0);
      best = record.val_miou > state.best_miou;
      record.minutes = seconds() / 60;
      state.epochs.push_back(record);
      if (best) {
        state.best_miou = record.val_miou;
        state.best_epoch = record.epoch;
        write_checkpoint(paths.of("best.safetensors"), training.header, weight_entries(training.network.state_dict()));
      }
      if (training.ema) training.ema->swap();
    } else {
      record.minutes = seconds() / 60;
      state.epochs.push_back(record);
    }
    save_last();
    write_log(paths.of("log.csv"), state);
    progress.clear();
    std::printf("epoch %3d  %s  train loss %.4f", record.epoch, clock_text(seconds()).c_str(), record.train_loss);
    if (record.val_miou >= 0)
      std::printf("  val loss %.4f  pixel accuracy %.4f  mean IoU %.4f%s", record.val_loss, record.val_pixel_accuracy, record.val_miou,
                  best ? "  (best)" : "");
    std::printf("\n");
    std::fflush(stdout);
  }

  // The report shows the best weights.
  load_weights(SafetensorsFile(paths.of("best.safetensors")), training.network.state_dict(), true);
  const Evaluation scores = evaluate(training.network, info, val_data, {.batch = config.batch, .samples = 6});
  write_report(paths.of("report.html"), training.header, &state, scores, "held out");
  std::printf("\n%s\nbest epoch %d, mean IoU %.4f on the held-out images, %s in all\n",
              scores.confusion.table(train_data.info().classes).c_str(), state.best_epoch, scores.confusion.mean_iou().value_or(0),
              clock_text(seconds()).c_str());
  std::printf("weights   %s\nreport    %s  (open it in a browser)\nlog       %s\n", paths.of("best.safetensors").c_str(),
              paths.of("report.html").c_str(), paths.of("log.csv").c_str());
  return 0;
}

}  // namespace segnet::program
