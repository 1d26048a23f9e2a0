// Cityscapes: streets of 50 cities, 2048 x 1024, 19 classes: 2975 train, 500 val, 1525 test images. M. Cordts et al., "The Cityscapes
// dataset for semantic urban scene understanding", arXiv:1604.01685.
#pragma once

#include "segnet/data/folder.hpp"

namespace segnet::data {

[[nodiscard]] inline DatasetInfo cityscapes_info() {
  return {{"road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain", "sky",
           "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"},
          {{128, 64, 128},
           {244, 35, 232},
           {70, 70, 70},
           {102, 102, 156},
           {190, 153, 153},
           {153, 153, 153},
           {250, 170, 30},
           {220, 220, 0},
           {107, 142, 35},
           {152, 251, 152},
           {70, 130, 180},
           {220, 20, 60},
           {255, 0, 0},
           {0, 0, 142},
           {0, 0, 70},
           {0, 60, 100},
           {0, 80, 100},
           {0, 0, 230},
           {119, 11, 32}},
          255};
}

/// The class, "trainId", of each label in the files, "id"; 255 where evaluation ignores it.
inline constexpr std::int32_t cityscapes_train_ids[34] = {255, 255, 255, 255, 255, 255, 255, 0,  1,  255, 255, 2,  3,   4,   255, 255, 255,
                                                          5,   255, 6,   7,   8,   9,   10,  11, 12, 13,  14,  15, 255, 255, 16,  17,  18};

/// The class weights that HRNet and OCR are trained with (HRNet-Semantic-Segmentation).
inline constexpr float cityscapes_class_weights[19] = {0.8373f, 0.918f,  0.866f,  1.0345f, 1.0166f, 0.9969f, 0.9754f,
                                                       1.0489f, 0.8786f, 1.0023f, 0.9539f, 0.9843f, 1.1116f, 0.9037f,
                                                       1.0865f, 1.0955f, 1.0865f, 1.1529f, 1.0507f};

struct CityscapesOptions {
  std::string annotations = "gtFine";  ///< or "gtCoarse", which has train and val
};

/// `root`/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png, its labels in `root`/gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png; ordered by city and
/// name. The published labels of test are dummies.
/// @throws IoError: a folder is missing or has no cities; see FolderPairs
[[nodiscard]] inline FolderPairs cityscapes(const std::string& root, Split split, const CityscapesOptions& options = {}) {
  namespace fs = std::filesystem;
  const std::string images = concat(root, "/leftImg8bit/", to_string(split)),
                    labels = concat(root, "/", options.annotations, "/", to_string(split));
  const FolderOptions files{.image_suffix = "_leftImg8bit",
                            .mask_suffix = concat("_", options.annotations, "_labelIds"),
                            .remap = {std::begin(cityscapes_train_ids), std::end(cityscapes_train_ids)}};
  std::vector<std::string> cities;
  std::error_code error;
  for (fs::directory_iterator entry(images, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_directory()) cities.push_back(entry->path().filename().string());
  if (error) throw IoError(images, concat("cannot list the folder: ", error.message()));
  if (cities.empty()) throw IoError(images, "has no folders of cities");
  std::sort(cities.begin(), cities.end());
  std::vector<FolderPairs::Pair> pairs;
  for (const std::string& city : cities) {
    const FolderPairs there(concat(images, "/", city), concat(labels, "/", city), cityscapes_info(), files);
    pairs.insert(pairs.end(), there.pairs().begin(), there.pairs().end());
  }
  return {std::move(pairs), cityscapes_info(), files};
}

}  // namespace segnet::data
