// The page that training and evaluation end with.
#pragma once

#include "evaluate.hpp"
#include "run_state.hpp"
#include "segnet/report/html.hpp"
#include "segnet/report/overlay.hpp"
#include "segnet/report/svg.hpp"

namespace segnet::program {

inline std::string percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * value);
  return text;
}

/// Curves (where there was a training run), scores, confusion matrix, and pictures: image | truth | prediction.
inline void write_report(const std::string& path, const CheckpointHeader& header, const RunState* run, const Evaluation& scores,
                         const std::string& split) {
  using namespace report;
  const auto& config = header.config;
  HtmlReport page(concat(config.model.name, " on ", config.data.kind));
  page.facts({{"mean IoU", percent(scores.confusion.mean_iou().value_or(0))},
              {"pixel accuracy", percent(scores.confusion.pixel_accuracy().value_or(0))},
              {"mean class accuracy", percent(scores.confusion.mean_accuracy().value_or(0))},
              {"images", split}});
  if (run && !run->losses.empty()) {
    Series loss{"training", run->losses}, val_loss{"held out"}, miou{"mean IoU"}, accuracy{"pixel accuracy"};
    for (std::size_t i = 0; i < run->losses.size(); ++i)
      loss.x.push_back(static_cast<double>((i + 1) * static_cast<std::size_t>(RunState::losses_every)));
    for (const auto& e : run->epochs) {
      if (e.val_miou < 0) continue;
      val_loss.x.push_back(static_cast<double>(e.step));
      val_loss.y.push_back(e.val_loss);
      miou.x.push_back(e.epoch);
      miou.y.push_back(e.val_miou);
      accuracy.x.push_back(e.epoch);
      accuracy.y.push_back(e.val_pixel_accuracy);
    }
    page.heading("Training");
    page.svg(line_chart({loss, val_loss}, {.title = "Cross entropy", .x_label = "step"}));
    page.svg(line_chart({miou, accuracy}, {.title = "Scores on the held-out images", .x_label = "epoch", .y_low = 0, .y_high = 1}));
  }
  page.heading("Classes");
  std::vector<Bar> bars;
  for (std::size_t c = 0; c < header.classes.size(); ++c)
    bars.push_back({header.classes[c], scores.confusion.iou(static_cast<index_t>(c)).value_or(NAN)});
  page.svg(bar_chart(bars, {.title = "IoU", .palette = header.palette, .mark = scores.confusion.mean_iou()}));
  page.svg(matrix_chart(scores.confusion.counts(), header.classes));
  if (!scores.pictures.empty()) {
    page.heading("Pictures").paragraph("Image, truth, prediction.").legend(header.classes, header.palette);
    for (const auto& [sample, prediction] : scores.pictures)
      page.image(
          beside({sample.image, overlay(sample.image, sample.label, header.palette), overlay(sample.image, prediction, header.palette)}),
          sample.name, sample.image.dim(1) < 160 ? 2 : 1);
  }
  page.heading("Settings").code(nlohmann::json(config).dump(2));
  page.save(path);
}

}  // namespace segnet::program
