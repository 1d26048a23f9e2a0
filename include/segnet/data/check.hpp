// Looks through a data set before a network does: labels out of range, masks that do not fit, files that cannot be read.
#pragma once

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "segnet/data/class_weights.hpp"
#include "segnet/data/sample.hpp"

namespace segnet::data {

struct CheckReport {
  struct Problem {
    std::string name;  ///< of the sample
    std::string what;
  };
  std::vector<std::string> classes;
  LabelCounts counts;
  index_t ignored_pixels = 0;
  std::map<std::int32_t, index_t> unknown_labels;  ///< values that are neither a class nor ignored -> pixels
  index_t min_height = 0, max_height = 0, min_width = 0, max_width = 0;
  std::vector<Problem> problems;   ///< samples that training would stumble over, in order
  std::vector<std::string> hints;  ///< what looks odd but may be meant

  [[nodiscard]] bool ok() const { return problems.empty(); }
};

/// Reads every sample. A sample that cannot be read, whose mask has another size than its image, or that has labels which are neither a
/// class nor `ignore_index`, becomes a problem; the rest is counted.
[[nodiscard]] inline CheckReport check(const Dataset& dataset) {
  const DatasetInfo& info = dataset.info();
  const index_t classes = info.num_classes();
  CheckReport report;
  report.classes = info.classes;
  report.counts = LabelCounts(classes);
  index_t black_and_white = 0, usable = 0;
  for (index_t i = 0; i < dataset.size(); ++i) {
    Sample sample;
    try {
      sample = dataset.get(i);
    } catch (const std::exception& error) {
      report.problems.push_back({dataset.name(i), error.what()});
      continue;
    }
    const auto problem = [&](std::string what) {
      report.problems.push_back({sample.name.empty() ? dataset.name(i) : sample.name, std::move(what)});
    };
    const Shape& image = sample.image.shape();
    const Shape& label = sample.label.shape();
    if (image.rank() != 3 || image[2] != 3) {
      problem(concat("the image has shape ", image, ", not [H, W, 3]"));
      continue;
    }
    if (label.rank() != 2 || label[0] != image[0] || label[1] != image[1]) {
      problem(concat("the mask has shape ", label, ", the image ", image));
      continue;
    }
    const bool first = usable++ == 0;
    report.min_height = first ? image[0] : std::min(report.min_height, image[0]);
    report.max_height = std::max(report.max_height, image[0]);
    report.min_width = first ? image[1] : std::min(report.min_width, image[1]);
    report.max_width = std::max(report.max_width, image[1]);

    std::map<std::int32_t, index_t> unknown;
    bool only_0_and_255 = true, has_255 = false;
    for (index_t p = 0; p < sample.label.numel(); ++p) {
      const std::int32_t id = sample.label.data()[p];
      only_0_and_255 = only_0_and_255 && (id == 0 || id == 255);
      has_255 = has_255 || id == 255;
      if (id == info.ignore_index) ++report.ignored_pixels;
      else if (id < 0 || id >= classes) ++unknown[id];
    }
    if (only_0_and_255 && has_255) ++black_and_white;
    report.counts.add(sample.label);
    if (unknown.empty()) continue;
    std::string values;
    index_t shown = 0;
    for (const auto& [id, pixels] : unknown) {
      report.unknown_labels[id] += pixels;
      if (++shown <= 5) values += (shown > 1 ? ", " : "") + concat(id, " (", pixels, " pixels)");
    }
    problem(concat("labels that are neither a class, 0 to ", classes - 1, ", nor the ignored ", info.ignore_index, ": ", values,
                   shown > 5 ? ", ..." : ""));
  }

  if (usable > 0 && black_and_white == usable)
    report.hints.push_back("all masks hold only 0 and 255: black-and-white masks? A class id of 1 is needed for the white part, not 255");
  for (std::size_t c = 0; c < info.classes.size(); ++c)
    if (usable > 0 && report.counts.pixels[c] == 0) report.hints.push_back(concat("class ", c, " (", info.classes[c], ") does not occur"));
  if (usable > 0 && report.ignored_pixels == report.counts.all_pixels) report.hints.push_back("all pixels are ignored");
  return report;
}

/// A table of the classes, then problems (the first 20) and hints.
[[nodiscard]] inline std::string to_string(const CheckReport& report) {
  const LabelCounts& counts = report.counts;
  std::string text = concat(counts.all_images, " samples can be used, ", report.min_width, " x ", report.min_height);
  if (report.min_width != report.max_width || report.min_height != report.max_height)
    text += concat(" to ", report.max_width, " x ", report.max_height);
  text += " pixels (width x height)\n\n";
  const auto percent = [](index_t part, index_t all) { return all ? 100.0 * static_cast<double>(part) / static_cast<double>(all) : 0.0; };
  char line[160];
  text += "  id  class                     pixels    share   images\n";
  for (std::size_t c = 0; c < report.classes.size(); ++c) {
    std::snprintf(line, sizeof line, "%4zu  %-18.18s %13lld %7.3f%% %8lld\n", c, report.classes[c].c_str(),
                  static_cast<long long>(counts.pixels[c]), percent(counts.pixels[c], counts.all_pixels),
                  static_cast<long long>(counts.images[c]));
    text += line;
  }
  std::snprintf(line, sizeof line, "      %-18s %13lld %7.3f%%\n", "ignored", static_cast<long long>(report.ignored_pixels),
                percent(report.ignored_pixels, counts.all_pixels));
  text += line;
  if (!report.problems.empty()) text += concat("\n", report.problems.size(), report.problems.size() == 1 ? " problem:\n" : " problems:\n");
  for (std::size_t i = 0; i < report.problems.size() && i < 20; ++i)
    text += concat("  ", report.problems[i].name, ": ", report.problems[i].what, "\n");
  if (report.problems.size() > 20) text += concat("  ... and ", report.problems.size() - 20, " more\n");
  if (!report.hints.empty()) text += "\nWorth a look:\n";
  for (const std::string& hint : report.hints) text += concat("  ", hint, "\n");
  return text;
}

}  // namespace segnet::data
