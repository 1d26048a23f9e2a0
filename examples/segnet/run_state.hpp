// A training run on disk: checkpoints that hold everything a bit-exact resume needs, and the log.
#pragma once

#include <nlohmann/json.hpp>

#include "config.hpp"
#include "segnet/core/random.hpp"
#include "segnet/io/weights.hpp"

namespace segnet::program {

/// One line of log.csv. Scores are -1 where the epoch was not evaluated.
struct EpochRecord {
  int epoch = 0;
  std::int64_t step = 0;
  double lr = 0, train_loss = 0, val_loss = -1, val_miou = -1, val_pixel_accuracy = -1, images_per_second = 0, minutes = 0;
};

/// Where a run is. Part of every checkpoint.
struct RunState {
  int epoch = 0;           ///< epochs finished
  std::int64_t batch = 0;  ///< batches of the current epoch that are done
  std::int64_t step = 0;   ///< optimiser steps done
  double loss_sum = 0;     ///< over the current epoch
  double best_miou = -1;
  int best_epoch = 0;
  double seconds = 0;                                ///< of all sessions of this run
  std::uint64_t random_seed = 0, random_offset = 0;  ///< of default_generator()
  std::vector<EpochRecord> epochs;
  std::vector<double> losses;     ///< mean training loss of each `losses_every` steps
  double loss_window = 0;         ///< sum of the window that is not full yet
  std::vector<std::string> head;  ///< parameters that learn TrainConfig::lr_head times as fast
  static constexpr std::int64_t losses_every = 10;
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EpochRecord, epoch, step, lr, train_loss, val_loss, val_miou, val_pixel_accuracy, images_per_second,
                                   minutes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(RunState, epoch, batch, step, loss_sum, best_miou, best_epoch, seconds, random_seed,
                                                random_offset, epochs, losses, loss_window, head)

/// What a checkpoint says about itself; its tensors are named model.*, ema.*, optimizer.*.
struct CheckpointHeader {
  TrainConfig config;
  RunState state;
  std::vector<std::string> classes;
  std::vector<std::array<std::uint8_t, 3>> palette;
};

inline CheckpointHeader read_header(const SafetensorsFile& file) {
  const auto& metadata = file.metadata();
  const auto part = [&](const char* key) -> nlohmann::json {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw IoError(file.path(), concat("is not a checkpoint of segnet train: its metadata have no '", key, "'"));
    return nlohmann::json::parse(found->second);
  };
  try {
    return {part("segnet.config").get<TrainConfig>(), part("segnet.state").get<RunState>(),
            part("segnet.classes").get<std::vector<std::string>>(), part("segnet.palette").get<std::vector<std::array<std::uint8_t, 3>>>()};
  } catch (const nlohmann::json::exception& e) {
    throw IoError(file.path(), concat("its metadata are damaged: ", e.what()));
  }
}

inline void write_checkpoint(const std::string& path, const CheckpointHeader& header, std::vector<TensorEntry> tensors) {
  save_safetensors(path, tensors,
                   {{"format", "pt"},
                    {"segnet.config", nlohmann::json(header.config).dump()},
                    {"segnet.state", nlohmann::json(header.state).dump()},
                    {"segnet.classes", nlohmann::json(header.classes).dump()},
                    {"segnet.palette", nlohmann::json(header.palette).dump()}});
}

inline void write_log(const std::string& path, const RunState& state) {
  std::string csv = "epoch,step,lr,train_loss,val_loss,val_miou,val_pixel_accuracy,images_per_second,minutes\n";
  char line[256];
  for (const auto& e : state.epochs) {
    std::snprintf(line, sizeof line, "%d,%lld,%.8g,%.6f,", e.epoch, static_cast<long long>(e.step), e.lr, e.train_loss);
    csv += line;
    if (e.val_miou >= 0) std::snprintf(line, sizeof line, "%.6f,%.6f,%.6f,", e.val_loss, e.val_miou, e.val_pixel_accuracy);
    else std::snprintf(line, sizeof line, ",,,");
    csv += line;
    std::snprintf(line, sizeof line, "%.2f,%.2f\n", e.images_per_second, e.minutes);
    csv += line;
  }
  write_file_atomically(path, csv);
}

}  // namespace segnet::program
