// CamVid: video from a car, 480 x 360, 11 classes, as the SegNet tutorial splits it: 367 train, 101 val, 233 test frames.
// G. Brostow, J. Fauqueur, R. Cipolla, "Semantic object classes in video", Pattern Recognition Letters 2009.
#pragma once

#include "segnet/data/folder.hpp"

namespace segnet::data {

[[nodiscard]] inline DatasetInfo camvid_info() {
  return {{"sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist"},
          {{128, 128, 128},
           {128, 0, 0},
           {192, 192, 128},
           {128, 64, 128},
           {60, 40, 222},
           {128, 128, 0},
           {192, 128, 128},
           {64, 64, 128},
           {64, 0, 128},
           {64, 64, 0},
           {0, 128, 192}},
          11};
}

/// The class weights that SegNet was trained with (V. Badrinarayanan et al., arXiv:1511.00561): median frequencies, which cannot be
/// counted anew from the published labels (sign symbol differs by 2.5).
inline constexpr float camvid_class_weights[11] = {0.2595f, 0.1826f, 4.5640f, 0.1417f, 0.9051f, 0.3826f,
                                                   9.6446f, 1.8418f, 0.6823f, 6.2478f, 7.3614f};

/// `root`/train, trainannot, val, valannot, test, testannot: a PNG or JPEG frame and an 8-bit PNG mask each; 11 is void.
/// @throws IoError, see FolderPairs
[[nodiscard]] inline FolderPairs camvid(const std::string& root, Split split) {
  const std::string folder = root + "/" + to_string(split);
  return {folder, folder + "annot", camvid_info()};
}

}  // namespace segnet::data
