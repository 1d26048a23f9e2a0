// Windows of pictures that somebody else proposed: their file, and the data set that they make of another.
#pragma once

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "segnet/data/geometry.hpp"
#include "segnet/io/file.hpp"
#include "segnet/models/window_scores.hpp"

namespace segnet::data {

/// Windows by the name of their picture, best first.
using Proposals = std::map<std::string, std::vector<models::Window>>;

/// Proposals from a text file: a line "LEFT TOP WIDTH HEIGHT NAME" for each window, in whole pixels, the upper left one of a picture being
/// 0 0. NAME, which may hold spaces, is that of a sample: of a picture file, without folder and extension. The windows of a picture stand
/// best first. Empty lines and lines that start with # are skipped.
/// @throws IoError: a line that is not understood, by its number; a file without windows
[[nodiscard]] inline Proposals read_proposals(const std::string& path) {
  Proposals proposals;
  for_each_line(read_file(path, std::size_t{1} << 30), [&](const std::string& line, std::size_t number) {
    long long left, top, width, height;
    int numbers = 0, name = 0;  // where the numbers end and the name begins
    const int read = std::sscanf(line.c_str(), "%lld %lld %lld %lld%n %n", &left, &top, &width, &height, &numbers, &name);
    if (read != 4 || name <= numbers || static_cast<std::size_t>(name) >= line.size() || left < 0 || top < 0 || width < 1 || height < 1)
      throw IoError(path, concat("line ", number, ": expected LEFT TOP WIDTH HEIGHT NAME, the first two at least 0, then at least 1, got '",
                                 line.substr(0, 100), "'"));
    proposals[line.substr(static_cast<std::size_t>(name))].push_back({top, left, height, width});
  });
  if (proposals.empty()) throw IoError(path, "holds no windows: lines LEFT TOP WIDTH HEIGHT NAME");
  return proposals;
}

/// The windows of a data set's samples as samples of their own, each resized to side x side pixels, as DeconvNet's second stage trains on
/// them: arXiv:1505.04366, section 4.2. All of the proposals are taken as they are; samples without any, and names that are of no sample,
/// add nothing.
class Windows {
 public:
  /// @throws ValueError: side is not positive, or there is no window of any sample
  Windows(Dataset dataset, const Proposals& proposals, index_t side) : dataset_(std::move(dataset)), side_(side) {
    if (side < 1) throw ValueError("data::Windows", "side", "at least 1 pixel", concat(side));
    for (index_t i = 0; i < dataset_.size(); ++i)
      if (const auto found = proposals.find(dataset_.name(i)); found != proposals.end()) {
        ++pictures_;
        for (const models::Window& window : found->second) windows_.push_back({i, window});
      }
    if (windows_.empty())
      throw ValueError("data::Windows", "proposals",
                       concat("windows of '", dataset_.size() ? dataset_.name(0) : "", "' or another of the ", dataset_.size(), " samples"),
                       proposals.empty() ? "none" : "those of others, such as '" + proposals.begin()->first + "'");
  }

  [[nodiscard]] index_t size() const { return static_cast<index_t>(windows_.size()); }
  /// Samples that have windows.
  [[nodiscard]] index_t pictures() const { return pictures_; }
  [[nodiscard]] const DatasetInfo& info() const { return dataset_.info(); }
  [[nodiscard]] std::string name(index_t i) const {
    const auto& [picture, window] = windows_.at(static_cast<std::size_t>(i));
    return concat(dataset_.name(picture), ", ", to_string(window));
  }
  /// @throws ValueError: the window is not inside of its picture; and what the data set throws
  [[nodiscard]] Sample get(index_t i) const {
    const auto& [picture, window] = windows_.at(static_cast<std::size_t>(i));
    const Sample sample = dataset_.get(picture);
    const index_t h = sample.image.dim(0), w = sample.image.dim(1);
    if (!window.lies_in(h, w))
      throw ValueError("data::Windows", "proposals",
                       concat("windows inside of the ", h, " x ", w, " pixels of '", dataset_.name(picture), "'"), to_string(window));
    Sample result = resized(cropped(sample, window.top, window.left, window.height, window.width, info().ignore_index, {}), side_, side_);
    result.name = name(i);
    return result;
  }

 private:
  Dataset dataset_;
  index_t side_, pictures_ = 0;
  std::vector<std::pair<index_t, models::Window>> windows_;  // and the sample that each is of
};

}  // namespace segnet::data
