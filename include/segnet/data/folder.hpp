// Data sets of files: pictures in one folder, label maps of the same names in another.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "segnet/data/sample.hpp"
#include "segnet/io/file.hpp"
#include "segnet/io/image.hpp"
#include "segnet/io/label_map.hpp"

namespace segnet::data {

struct FolderOptions {
  std::string image_suffix = {}, mask_suffix = {};  ///< cut off the stems before they are compared: "_leftImg8bit" and "_gtFine_labelIds"
  bool colour_masks = false;                        ///< masks are painted in the colours of the data set's palette
  std::vector<std::int32_t> remap = {};             ///< value in the file -> class id; values behind its end stay as they are
  ImageLimits limits = {};
};

/// Pairs of an image file (PNG, JPEG, BMP) and a label map (PNG), read when they are asked for.
class FolderPairs {
 public:
  struct Pair {
    std::string name, image, mask;
    std::string instance = {};  ///< a label map of object numbers (0 where the label is ignored), or "" for none
  };

  /// All images directly in `images`, each with the mask of the same name (without extension) in `masks`; ordered by name.
  /// @throws IoError when a folder is missing or empty, or when files are left over on either side: the first are named
  FolderPairs(const std::string& images, const std::string& masks, DatasetInfo info, FolderOptions options = {})
      : info_(std::move(info)), options_(std::move(options)) {
    const Stems image_of = stems(images, options_.image_suffix, {".png", ".jpg", ".jpeg", ".bmp"});
    const Stems mask_of = stems(masks, options_.mask_suffix, {".png"});
    refuse_unmatched(image_of, mask_of, images, "images", concat("mask (.png) in ", masks));
    refuse_unmatched(mask_of, image_of, masks, "masks", concat("image in ", images));
    for (const auto& [stem, image] : image_of) pairs_.push_back({stem, image, mask_of.at(stem)});
  }

  /// These files, in this order.
  FolderPairs(std::vector<Pair> pairs, DatasetInfo info, FolderOptions options = {})
      : pairs_(std::move(pairs)), info_(std::move(info)), options_(std::move(options)) {}

  [[nodiscard]] index_t size() const { return static_cast<index_t>(pairs_.size()); }
  [[nodiscard]] const DatasetInfo& info() const { return info_; }
  [[nodiscard]] const std::vector<Pair>& pairs() const { return pairs_; }
  [[nodiscard]] std::string name(index_t i) const { return pairs_.at(static_cast<std::size_t>(i)).name; }

  /// @throws IoError naming the file: it cannot be read, or the mask is of another size than its image
  [[nodiscard]] Sample get(index_t i) const {
    const Pair& pair = pairs_.at(static_cast<std::size_t>(i));
    Sample sample;
    sample.name = pair.name;
    sample.image = read_image(pair.image, options_.limits);
    sample.label = options_.colour_masks ? read_colour_labels(pair.mask, info_.palette, info_.ignore_index, options_.limits)
                                         : read_label_map(pair.mask, options_.limits);
    check_size(sample, sample.label, pair.mask, pair.image);
    for (index_t p = 0; !options_.remap.empty() && p < sample.label.numel(); ++p) {
      std::int32_t& label = sample.label.data()[p];
      if (static_cast<std::size_t>(label) < options_.remap.size()) label = options_.remap[static_cast<std::size_t>(label)];
    }
    if (!pair.instance.empty()) {
      sample.instance = read_label_map(pair.instance, options_.limits);
      check_size(sample, sample.instance, pair.instance, pair.image);
      for (index_t p = 0; p < sample.instance.numel(); ++p)
        if (sample.label.data()[p] == info_.ignore_index) sample.instance.data()[p] = 0;
    }
    return sample;
  }

 private:
  using Stems = std::map<std::string, std::string>;  // name -> path

  static Stems stems(const std::string& folder, const std::string& suffix, const std::vector<std::string>& extensions) {
    namespace fs = std::filesystem;
    std::error_code error;
    Stems found;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      std::string extension = entry->path().extension().string(), stem = entry->path().stem().string();
      std::transform(extension.begin(), extension.end(), extension.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
      if (stem.empty() || stem[0] == '.' || std::find(extensions.begin(), extensions.end(), extension) == extensions.end()) continue;
      if (!stem.ends_with(suffix)) continue;
      stem.resize(stem.size() - suffix.size());
      const auto [place, is_new] = found.emplace(stem, entry->path().string());
      if (!is_new) throw IoError(folder, concat("two files are called ", stem, ": ", place->second, " and ", entry->path().string()));
    }
    if (error) throw IoError(folder, concat("cannot list the folder: ", error.message()));
    std::string kinds;
    for (const std::string& extension : extensions) kinds += (kinds.empty() ? "*" : ", *") + suffix + extension;
    if (found.empty()) throw IoError(folder, concat("the folder has no files ", kinds));
    return found;
  }

  static void refuse_unmatched(const Stems& these, const Stems& those, const std::string& folder, const char* what,
                               const std::string& lack) {
    std::string names;
    int count = 0;
    for (const auto& [stem, path] : these)
      if (!those.contains(stem) && ++count <= 5) names += (names.empty() ? "" : ", ") + std::filesystem::path(path).filename().string();
    if (count)
      throw IoError(folder, concat(count, " of ", these.size(), " ", what, " have no ", lack, ": ", names, count > 5 ? ", ..." : ""));
  }

  static void check_size(const Sample& sample, const Tensor<std::int32_t>& map, const std::string& path, const std::string& image) {
    const Shape& a = sample.image.shape();
    const Shape& b = map.shape();
    if (a[0] != b[0] || a[1] != b[1])
      throw IoError(path, concat("has ", b[1], " x ", b[0], " pixels, but its image ", image, " has ", a[1], " x ", a[0]));
  }

  std::vector<Pair> pairs_;
  DatasetInfo info_;
  FolderOptions options_;
};

/// Classes from a text file: one a line, "name" or "name red green blue", in the order of their ids; lines that start with # and
/// empty lines are skipped. Classes without colours get those of PASCAL VOC. The ignored label is 255.
/// @throws IoError naming the line that is not understood
[[nodiscard]] inline DatasetInfo read_classes(const std::string& path) {
  DatasetInfo info;
  for_each_line(read_file(path, 1 << 20), [&](std::string line, std::size_t number) {
    const int id = static_cast<int>(info.classes.size());
    Rgb colour = id < 256 ? voc_palette()[static_cast<std::size_t>(id)] : Rgb{};
    int red, green, blue, used = 0;
    char name[256];
    if (std::sscanf(line.c_str(), "%255s %d %d %d%n", name, &red, &green, &blue, &used) == 4 &&
        static_cast<std::size_t>(used) == line.size()) {
      for (const int level : {red, green, blue})
        if (level < 0 || level > 255) throw IoError(path, concat("line ", number, ": ", level, " is not between 0 and 255"));
      colour = {static_cast<std::uint8_t>(red), static_cast<std::uint8_t>(green), static_cast<std::uint8_t>(blue)};
      line = name;
    }
    info.classes.push_back(line);
    info.palette.push_back(colour);
  });
  if (info.classes.empty()) throw IoError(path, "names no classes");
  return info;
}

}  // namespace segnet::data
