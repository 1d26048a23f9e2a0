// segnet train: the loop, its checkpoints, its log, its report.
#include <csignal>
#include <filesystem>
#include <map>

#include "checkpoint.hpp"
#include "commands.hpp"
#include "datasets.hpp"
#include "device.hpp"
#include "evaluate.hpp"
#include "optimizer.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "segnet/data/cached.hpp"
#include "segnet/data/feeder.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/cross_entropy.hpp"
#include "segnet/ops/ohem.hpp"
#include "segnet/ops/reduction.hpp"
#include "segnet/optim/clip.hpp"
#include "segnet/optim/ema.hpp"

namespace segnet::program {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t interrupted = 0;

/// An optimiser's (or moving average's) state as entries of a checkpoint, and back.
template <class D>
void put_state(std::vector<TensorEntry>& entries, const std::string& prefix, const optim::OptimizerState<float, D>& state) {
  for (const auto& [name, tensor] : state.tensors) entries.emplace_back(prefix + name, tensor.template to<Cpu>());
  for (const auto& [name, steps] : state.steps) entries.emplace_back(prefix + "steps:" + name, Tensor<std::int64_t>({}, {steps}));
}
template <class D>
optim::OptimizerState<float, D> get_state(const SafetensorsFile& file, const std::string& prefix) {
  optim::OptimizerState<float, D> state;
  for (const auto& name : file.names()) {
    if (!name.starts_with(prefix)) continue;
    const std::string own = name.substr(prefix.size());
    if (own.starts_with("steps:")) state.steps.emplace_back(own.substr(6), file.tensor<std::int64_t>(name).item());
    else state.tensors.emplace_back(own, file.tensor<float>(name).to<D>());
  }
  return state;
}

data::Augmentation augmentation_of(const TrainConfig& c, const NetworkInfo& network, const data::Dataset& train) {
  if (c.scale_min <= 0 || c.scale_max < c.scale_min)
    throw ValueError("train", "--scale-min, --scale-max", "0 < min <= max", concat(c.scale_min, " and ", c.scale_max));
  const Shape image = c.object_crop > 0 ? Shape{c.object_crop, c.object_crop} : train.get(0).image.shape();
  if (c.crop_h < 0 || c.crop_w < 0 || static_cast<double>(c.crop_h) > c.scale_max * static_cast<double>(image[0]) ||
      static_cast<double>(c.crop_w) > c.scale_max * static_cast<double>(image[1]))
    throw ValueError("train", "--crop",
                     concat("at most the images' ", image[0], " x ", image[1], " pixels (height x width) times --scale-max"),
                     concat(c.crop_h, " x ", c.crop_w));
  if (c.scale_max != c.scale_min && c.crop_h == 0)
    throw ValueError("train", "--crop", "a size, since --scale-min and --scale-max change that of the images", "none");
  if (const auto& things = train.info().is_thing; c.object_crop > 0 && (things.empty() || things[0]))
    throw ValueError("train", "--object-crop", "--data voc, which has objects and a background", c.data.kind);
  std::optional<data::BorderWeights> border;
  if (c.border_weight > 0) border = {.w0 = c.border_weight, .sigma = c.border_sigma, .inside = c.border_inside};
  return {.object = c.object_crop,
          .min_scale = c.scale_min,
          .max_scale = c.scale_max,
          .rotation = c.rotate,
          .elastic = c.elastic,
          .crop_height = c.crop_h,
          .crop_width = c.crop_w,
          .flip = c.flip ? 0.5 : 0.0,
          .colours = data::ColourJitter::usual(static_cast<float>(c.jitter)),
          .blur = c.blur,
          .normalization = normalization(network),
          .ignore_index = train.info().ignore_index,
          .border = border};
}

/// A run in progress: everything that a checkpoint holds. Whatever the network computes in, weights and optimiser are float.
template <class T, class D>
struct Training {
  CheckpointHeader header;
  nn::AnyModule<T, D> network;
  std::unique_ptr<optim::Optimizer<float, D>> optimizer;
  std::optional<optim::Ema<float, D>> ema;

  Training(const TrainConfig& config, const data::DatasetInfo& info, const RunState* resumed)
      : header{config, resumed ? *resumed : RunState{}, info.classes, info.palette} {
    default_generator() = {config.seed};
    network = build_network<T, D>(config.model);
    for (const auto& prefix : config.freeze)
      for (const auto& entry : inside("--freeze", prefix))
        if (entry.trainable) entry.tensor.requires_grad(false);
    if (config.freeze_norms)
      for (const auto& norm : norms())
        for (const auto& entry : inside("--freeze-norms", norm))
          if (entry.trainable) entry.tensor.requires_grad(false);
    if (!resumed) begin(config);
    optimizer = make_optimizer<D>(config, network.state_dict(), header.state.head);
    if (config.ema > 0) ema.emplace(network.state_dict(), optim::EmaOptions{.decay = config.ema});
  }

  /// Everything trains but what is frozen, whose batch norms keep their statistics.
  void train_mode() {
    network.train();
    for (const auto& prefix : header.config.freeze) network.train(false, prefix);
    if (header.config.freeze_norms)
      for (const auto& norm : norms()) network.train(false, norm);
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
  void restore(const SafetensorsFile& file) {
    load_weights(file, network.state_dict(), {.prefix = "model."});
    optimizer->load_state(get_state<D>(file, "optimizer."));
    if (ema) ema->load_state(get_state<D>(file, "ema."));
    default_generator() = {header.state.random_seed, header.state.random_offset};
  }

 private:
  /// The names of the batch norms: of what has running statistics.
  std::vector<std::string> norms() const {
    std::vector<std::string> names;
    for (const auto& entry : network.state_dict())
      if (const std::string mean = ".running_mean"; entry.name.ends_with(mean))
        names.push_back(entry.name.substr(0, entry.name.size() - mean.size()));
    return names;
  }

  /// The tensors of a part of the network. @throws ValueError: there is no part of that name
  std::vector<nn::NamedTensor<float, D>> inside(const char* option, const std::string& prefix) const {
    std::vector<nn::NamedTensor<float, D>> found;
    std::string parts;
    for (const auto& entry : network.state_dict()) {
      if (nn::is_inside(entry.name, prefix)) found.push_back(entry);
      const std::string part = entry.name.substr(0, entry.name.find('.'));
      if (!parts.ends_with(part)) parts += (parts.empty() ? "" : ", ") + part;
    }
    if (found.empty()) throw ValueError("train", option, concat("a part of the network: ", parts, " or inside them"), prefix);
    return found;
  }

  /// Weights to start from, and which parameters are the head: those named by --head, else those that are new.
  void begin(const TrainConfig& config) {
    std::vector<std::string>& head = header.state.head;
    for (const auto& prefix : config.head)
      for (const auto& entry : inside("--head", prefix)) head.push_back(entry.name);
    if (!config.init.empty()) {
      const auto state = network.state_dict();
      const WeightsFile file(config.init);
      const LoadOptions names = matching_prefixes(file, state);
      const LoadReport report = load_weights(file, state, names);
      if (report.loaded.empty()) throw IoError(config.init, concat("no tensor fits this network: ", to_string(report)));
      const bool renamed = !names.prefix.empty() || !names.into.empty();
      std::printf("%s%s: %s\n", config.init.c_str(), renamed ? concat(", '", names.prefix, "*' as '", names.into, "*'").c_str() : "",
                  to_string(report, 20).c_str());
      if (config.head.empty())
        for (const auto& entry : state)
          if (std::find(report.loaded.begin(), report.loaded.end(), entry.name) == report.loaded.end()) head.push_back(entry.name);
    }
    if (config.lr_head == 1) head.clear();
    else if (head.empty())
      throw ValueError("train", "--lr-head",
                       config.init.empty() ? "--init WEIGHTS, beside which the rest is the head, or --head PREFIX"
                                           : "--head PREFIX, since all parameters were loaded",
                       concat("neither, with --lr-head ", config.lr_head));
  }
};

template <class T, class D>
index_t count_parameters(const nn::AnyModule<T, D>& network) {
  index_t n = 0;
  for (const auto& entry : network.state_dict()) n += entry.trainable ? entry.tensor.numel() : 0;
  return n;
}

/// Steps whose losses are read together: reading one waits for the GPU, which would run dry meanwhile.
template <class D>
constexpr std::int64_t read_every = std::is_same_v<D, Cpu> ? 1 : RunState::losses_every;

template <class D>
int workers_of(const TrainConfig& config) {
  if (config.workers >= 0) return config.workers;
  return std::is_same_v<D, Cpu> ? 1 : static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 16u));
}

/// "cuda: NVIDIA H200, bf16"
template <class D>
std::string computes_on(const TrainConfig& config) {
  if constexpr (std::is_same_v<D, Cpu>) return concat(num_threads(), " threads");
  else return concat(D::name, ": ", cuda::device_info().name, ", ", config.compute.precision);
}

/// `checkpoint`: of the run to go on with, and where that was
template <class T, class D>
int train(TrainConfig config, const OutputFolder& paths, const std::optional<SafetensorsFile>& checkpoint, const RunState& resumed) {
  const std::string last = paths.of("last.safetensors");
  const NetworkInfo& info = network_info(config.model.name);
  if (info.classifier) throw ValueError("train", "--model", "a segmentation network", info.name + ", a classifier of whole images");
  const auto open = [&](const char* split) {
    const bool instances = config.object_crop > 0 || config.border_weight > 0;
    return data::Dataset(data::Cached(open_dataset(config.data, split, instances), static_cast<std::size_t>(config.cache * 0x1p30)));
  };
  const data::Dataset train_data = training_samples(config, open("train")), val_data = open("val");
  config.model.classes = static_cast<std::int64_t>(train_data.info().classes.size());
  data::Augmentation augmentation = augmentation_of(config, info, train_data);
  if (config.ohem > 0 && augmentation.border)
    throw ValueError("train", "--ohem", "0 with --border-weight, which says how much each pixel counts", concat(config.ohem));
  Tensor<float, D> class_weight;
  if (config.class_weights != "none") {
    const Tensor<float> weights = class_weights(config.class_weights, config.data, train_data);
    if (augmentation.border) augmentation.border->class_weight = weights.to_vector();
    else class_weight = weights.to<D>();
  }

  Training<T, D> training(config, train_data.info(), checkpoint ? &resumed : nullptr);
  if (checkpoint) training.restore(*checkpoint);
  RunState& state = training.header.state;

  data::Loader loader(train_data, augmentation,
                      {.batch = config.batch, .seed = config.seed, .workers = workers_of<D>(config), .shuffle = true, .drop_last = true});
  data::Feeder<D> feeder(loader);
  const std::int64_t batches = loader.batches();
  if (batches == 0)
    throw ValueError("train", "--batch", concat("at most the ", train_data.size(), " training images"), concat(config.batch));
  const std::int64_t total_steps = config.steps > 0 ? config.steps : batches * config.epochs;
  const int epochs = static_cast<int>((total_steps + batches - 1) / batches);
  const optim::Schedule schedule = make_schedule(config, total_steps, batches);
  std::printf("%s  %s parameters  %s: %lld training %s, %lld held out, %zu classes\n", config.model.name.c_str(),
              nn::grouped(count_parameters(training.network)).c_str(), config.data.kind.c_str(), static_cast<long long>(train_data.size()),
              config.window_crop > 0 ? "windows" : "images", static_cast<long long>(val_data.size()), train_data.info().classes.size());
  std::printf("%lld steps, %lld an epoch, batch %lld, %s%s\n", static_cast<long long>(total_steps), static_cast<long long>(batches),
              static_cast<long long>(config.batch), computes_on<D>(config).c_str(),
              checkpoint ? concat(", resumed after step ", state.step).c_str() : "");

  interrupted = 0;
  std::signal(SIGINT, [](int) { interrupted = 1; });
  Progress progress("");
  const double before = state.seconds;
  const auto seconds = [&] { return before + progress.seconds(); };
  const auto save_last = [&] { training.save_last(last, seconds()); };

  struct StepLoss {
    std::int64_t step;  ///< before it
    double lr;
    Tensor<float, D> value;
  };
  std::vector<StepLoss> unread;
  /// Adds up the losses of the last steps. False, with a message, when one is not finite.
  const auto read_losses = [&] {
    for (const StepLoss& loss : unread) {
      const double value = static_cast<double>(loss.value.item());
      if (!std::isfinite(value)) {
        progress.clear();
        std::fprintf(
            stderr,
            "segnet: the loss is %s at step %lld (epoch %d, lr %g): stopped. The last checkpoint, %s, is from before; try a smaller --lr, "
            "--warmup or --clip\n",
            std::isnan(value) ? "not a number" : "infinite", static_cast<long long>(loss.step), state.epoch + 1, loss.lr, last.c_str());
        return false;
      }
      state.loss_sum += value;
      state.loss_window += value;
      if ((loss.step + 1) % RunState::losses_every == 0) {
        state.losses.push_back(state.loss_window / static_cast<double>(RunState::losses_every));
        state.loss_window = 0;
      }
    }
    unread.clear();
    return true;
  };

  bool out_of_time = false;
  const auto out_of_patience = [&] {
    return config.patience > 0 && state.best_epoch > 0 && state.epoch >= state.best_epoch + std::max(config.patience, config.eval_every);
  };
  while (state.epoch < epochs && !out_of_time && !out_of_patience()) {
    training.train_mode();
    feeder.start(state.epoch, state.batch);
    const double epoch_start = progress.seconds();
    const std::int64_t first_batch = state.batch;
    while (state.batch < batches && state.step < total_steps) {
      const data::DeviceBatch<D> batch = *feeder.next();
      const double lr = schedule.lr(state.step);
      training.optimizer->set_lr(lr);
      training.optimizer->zero_grad();
      const CrossEntropyOptions<T, D> loss_options{.class_weight = class_weight,
                                                   .ignore_index = train_data.info().ignore_index,
                                                   .label_smoothing = config.label_smoothing,
                                                   .reduction = batch.weights ? Reduction::none : Reduction::mean,
                                                   .check_labels = false};  // the loader did
      const auto loss_of = [&](const Tensor<T, D>& logits) {
        const Tensor<float, D> loss = cross_entropy(logits, batch.labels, loss_options);
        return batch.weights ? sum(loss * batch.weights) / sum(batch.weights) : loss;
      };
      const auto loss_of_result = [&](const Tensor<T, D>& logits) {
        if (config.ohem == 0) return loss_of(logits);
        return ohem_cross_entropy(logits, batch.labels, {config.ohem, config.ohem_kept}, loss_options);
      };
      const Tensor<float, D> loss = loss_of_all(config.model, training.network.outputs(cast<T>(batch.images)), loss_of, loss_of_result);
      unread.push_back({state.step, lr, loss.detach()});
      if ((state.step + 1) % read_every<D> == 0 && !read_losses()) return 1;
      loss.backward();
      if (config.clip > 0) optim::clip_grad_norm(training.optimizer->parameters(), config.clip);
      training.optimizer->step();
      if (training.ema) training.ema->update();
      ++state.batch;
      ++state.step;
      const double rate = static_cast<double>((state.batch - first_batch) * config.batch) / (progress.seconds() - epoch_start);
      const double left = static_cast<double>((total_steps - state.step) * config.batch) / rate;
      char text[128];
      std::snprintf(text, sizeof text, "epoch %d/%d  loss %.4f  %.1f images/s  %s left", state.epoch + 1, epochs,
                    state.loss_sum / static_cast<double>(std::max<std::int64_t>(1, state.batch - static_cast<std::int64_t>(unread.size()))),
                    rate, clock_text(left).c_str());
      progress.update(state.batch, batches, text);
      if (interrupted) {
        if (!read_losses()) return 1;
        save_last();
        progress.clear();
        std::printf("Interrupted after step %lld. Go on with: segnet train --resume --output %s\n", static_cast<long long>(state.step),
                    config.output.c_str());
        return 130;
      }
      if (config.checkpoint_every > 0 && state.step % config.checkpoint_every == 0 && state.batch < batches && state.step < total_steps) {
        if (!read_losses()) return 1;
        save_last();
      }
    }
    if (!read_losses()) return 1;

    EpochRecord record;
    record.epoch = ++state.epoch;
    record.step = state.step;
    record.lr = schedule.lr(state.step - 1);
    record.train_loss = state.loss_sum / static_cast<double>(state.batch);
    record.images_per_second = static_cast<double>((state.batch - first_batch) * config.batch) / (progress.seconds() - epoch_start);
    state.batch = 0;
    state.loss_sum = 0;
    out_of_time = config.max_minutes > 0 && seconds() > 60 * config.max_minutes;

    bool best = false;
    if (state.epoch % config.eval_every == 0 || state.epoch == epochs || out_of_time) {
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
  load_weights(WeightsFile(paths.of("best.safetensors")), training.network.state_dict());
  const Evaluation scores = evaluate(training.network, info, val_data, {.batch = config.batch, .samples = 6});
  write_report(paths.of("report.html"), training.header, &state, scores, "held out");
  std::printf("\n%s\nbest epoch %d, mean IoU %.4f on the held-out images, %s in all\n",
              scores.confusion.table(train_data.info().classes).c_str(), state.best_epoch, scores.confusion.mean_iou().value_or(0),
              clock_text(seconds()).c_str());
  std::printf("weights   %s\nreport    %s  (open it in a browser)\nlog       %s\n", paths.of("best.safetensors").c_str(),
              paths.of("report.html").c_str(), paths.of("log.csv").c_str());
  return 0;
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
  return on_device(config.compute, [&]<class T, class D> { return train<T, D>(config, paths, checkpoint, resumed); });
}

}  // namespace segnet::program
